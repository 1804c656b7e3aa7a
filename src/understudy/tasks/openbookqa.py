"""OpenBookQA, main: science facts in new situations. https://allenai.org/data/open-book-qa, Apache-2.0.

    7-980 <TAB> The sun is responsible for <TAB> (A) puppies learning new tricks (B) .. <TAB> .. <TAB> D

The catch: the TSV files hold the options in one cell, "(A) .. (B) ..", and lack the core fact that the JSON
Lines files have (`fact1`); the fact is a hint of the answer, so it is kept as rationale, never as context.
"""

from __future__ import annotations

from understudy.roles import Hub, Task
from understudy.rows import Row
from understudy.tasks._exemplars import SCIENCE
from understudy.tasks._original import Original, multiple_choice, optional
from understudy.types import Question

__all__ = ["openbookqa"]


def _parse(row: Row) -> Question:
    return multiple_choice(row, optional(row, "fact1"))


def _names(split: str) -> tuple[str, ...]:
    return tuple(f"{folder}{split}.{ending}" for folder in ("", "Main/") for ending in ("jsonl", "tsv"))


_original = Original(
    name="openbookqa",
    files={split: _names(split) for split in ("train", "dev", "test")},
    parse=_parse,
    hub=Hub("allenai/openbookqa", "388097ea7776314e93a529163e0fea805b8a6454", "main"),
    hub_splits={"train": "train", "dev": "validation", "test": "test"},
)

openbookqa = Task(
    name="openbookqa",
    title="OpenBookQA",
    form="choice",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=SCIENCE,
    licence="Apache-2.0",
    homepage="https://allenai.org/data/open-book-qa",
    hub=_original.hub,
    counts={"train": 4957, "dev": 500, "test": 500},
    files=_original.paths,
)
