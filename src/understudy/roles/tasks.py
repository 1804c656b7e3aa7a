"""The contract of a task, and where its rows come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from understudy.types import AnswerForm, Exemplar, Question


@dataclass(frozen=True, slots=True)
class Source:
    """Where a task's rows come from: the Hub (`path` empty) or local files in the original format.

    `path` is one file, a folder holding one file per split, or a split -> file mapping.
    """

    path: str | Mapping[str, str] | None = None
    revision: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    form: AnswerForm | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set on the Hugging Face Hub, pinned."""

    id: str
    revision: str
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A question set: a value made of functions, not a class to inherit.

    `load(split, source)` returns the split's questions in file order. `counts` are the official sizes
    of the splits, checked after loading from an original source. `generated` tasks need no file.
    """

    name: str
    title: str
    form: AnswerForm
    splits: tuple[str, ...]
    load: Callable[[str, Source], list[Question]]
    exemplars: tuple[Exemplar, ...]
    licence: str
    homepage: str
    hub: Hub | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    generated: bool = False
    files: Callable[[Source], tuple[Path, ...]] | None = None
    """The local files that `load` would read, for content hashes; None when it reads none."""
