"""The contracts: Task, Teacher, Completer, Method, Student, Metric.

Abstract here, final on the shelves: a shelf module holds one concrete thing and nothing subclasses it.
Teachers, methods and students are *specs*: frozen pydantic models whose fields are the recipe's keys
and whose `build` or `load` makes the live thing, so a recipe is validated without importing torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from understudy.types import (
    AnswerForm,
    Completion,
    Example,
    Exemplar,
    FinishReason,
    Judged,
    Question,
    Rationale,
    Request,
    Sampling,
    Score,
)

if TYPE_CHECKING:
    import torch


class Spec(BaseModel):
    """Base of every recipe-facing value: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# ---------------------------------------------------------------- tasks


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


# ---------------------------------------------------------------- teachers and completers


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers. All three enter the ledger's key, so another model never answers from cache."""

    endpoint: str
    model: str
    revision: str = ""


Landed = tuple[int, Completion]
"""(position of its request in the stream of requests, completion)."""


class Completer(Protocol):
    """Anything that continues text: a teacher, or a trained student."""

    @property
    def identity(self) -> Identity: ...

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """Yield what has landed, as it lands, in any order: one completion at a time, or several together
        that the ledger then commits together.

        `requests` is read only as fast as it can be worked on, so that memory stays flat however many
        there are. Every asked sample is yielded exactly once. A bad answer is yielded as data
        (`finish_reason` "error" with `error` set); a bad set-up (no server, bad key) raises TeacherError,
        and what was yielded before stays good.
        """
        ...

    def close(self) -> None: ...


class Teacher(Spec):
    """Spec of a teacher. `build` may import what it needs; validation may not."""

    name: str
    PACE: ClassVar[frozenset[str]] = frozenset()
    """Fields that change when and how fast it answers and never what, or that its identity speaks for: a step
    hangs on the identity, and changing one of these runs nothing again."""

    def decisive(self) -> dict[str, Any]:
        """The fields that decide what it says, as plain values."""
        return self.model_dump(mode="json", exclude=set(self.PACE))

    @abstractmethod
    def apprenticeship(self) -> Apprenticeship | None:
        """What must be trained before this teacher can speak; None for all but `student`."""

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Local files that decide what it says, to be hashed into the annotation step."""

    @abstractmethod
    def identity(self) -> Identity:
        """Who will answer, known before anything is built (the trained folder's hash is added later)."""

    @abstractmethod
    def build(self, model: Path | None) -> Completer:
        """The live teacher. `model` is the folder its apprenticeship produced, if it has one."""


@dataclass(frozen=True, slots=True)
class Apprenticeship:
    """A teacher that is itself trained first: on which split, as which student, by which method."""

    split: str
    student: Mapping[str, Any]
    method: Mapping[str, Any]
    train: Mapping[str, Any]


# ---------------------------------------------------------------- methods


@dataclass(frozen=True, slots=True)
class Stage:
    """One student of a method. `share` is its part of the method's training budget; shares sum to 1.

    `writes` says what its text is: "answer", "rationale", or "both" (rationale, then answer).
    """

    name: str
    writes: str
    share: float = 1.0
    start_from: str = ""
    """An earlier stage whose trained weights this one starts from; empty for the student's own start."""


class Method(Spec):
    """Which students there are, what each is trained on, and how each is asked. Text in, text out."""

    name: str

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]: ...

    @abstractmethod
    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """Training groups of one question. The examples of a group always share a batch."""

    @abstractmethod
    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        """The source text at test time; `written` maps earlier stages to what they wrote."""


# ---------------------------------------------------------------- students


@dataclass(frozen=True, slots=True)
class Generated:
    """Text that a student wrote: `tokens` counts what was generated, end of text included."""

    text: str
    finish_reason: FinishReason
    source_tokens: int
    tokens: int


class LiveStudent(Protocol):
    """A model and its tokenizer in memory. Token ids are Python lists until `collate`."""

    model: torch.nn.Module
    kind: str

    def encode(self, examples: Sequence[Example]) -> list[Mapping[str, Any]]:
        """Of each: `source` and `target` token ids (end of text included), `objective` and `weight`."""
        ...

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Model inputs plus `labels` (rows, positions), aligned with the logits that predict them and
        -100 wherever there is no target token."""
        ...

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each source has, to batch sources of like length."""
        ...

    def generate(self, sources: Sequence[str], sampling: Sampling) -> list[Generated]:
        """Continue every source; same order and length as `sources`."""
        ...

    def save(self, folder: Path) -> None: ...


class Student(Spec):
    """Spec of a student: from a checkpoint (hub id or folder), or from scratch."""

    name: str

    @abstractmethod
    def describe(self) -> str:
        """One plain phrase for the report: what it was before training."""

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Local files of the checkpoint, to be hashed into the training step."""

    @abstractmethod
    def create(self, texts: Sequence[str], seed: int) -> LiveStudent:
        """The untrained student. `texts` are all training sources and targets: a from-scratch
        student trains its tokenizer on them; a checkpoint ignores them."""

    @abstractmethod
    def load(self, folder: Path) -> LiveStudent:
        """The student that `LiveStudent.save` wrote."""


# ---------------------------------------------------------------- metrics


class Metric(Protocol):
    """Judged predictions of one method, student, seed and split -> one number with its interval."""

    def __call__(self, rows: Sequence[Judged]) -> Score: ...
