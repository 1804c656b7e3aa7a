"""MAWPS: a collection of older word problems, as split by LLM-Adapters. https://github.com/sroy9/mawps, MIT.

    {"id": 1007, "original_text": "Benny worked 3 hours for 6 days . How many ..", "ans": 18.0, ..}

The catch: the splits share problems (27 texts of test also stand in train), and train repeats some, so set
data.duplicates and data.overlap. Its problems come from MultiArith, AddSub and SingleEq: do not train here
and test there. The pinned Hub copy has another cut of the data and train only. The five folds of the SVAMP
paper, whose numbers are masked as number0, number1, are read too: name them in a split -> file mapping.
"""

from __future__ import annotations

import re

from understudy.roles import Hub, Task
from understudy.rows import Row
from understudy.tasks._exemplars import WORD_PROBLEMS
from understudy.tasks._original import Original, gold, text_of
from understudy.types import Question

__all__ = ["mawps"]

_MASK = re.compile(r"\b(?:number|N_0?)(\d+)\b")


def _unmasked(row: Row) -> str:
    """The question with its numbers put back, written as 3 rather than 3.0."""
    numbers = [number.removesuffix(".0") for number in text_of(row, "Numbers").split()]

    def fill(mask: re.Match[str]) -> str:
        position = int(mask[1])
        if position >= len(numbers):
            raise row.wrong(f"the question speaks of {mask[0]}, but there are {len(numbers)} numbers")
        return numbers[position]

    return _MASK.sub(fill, text_of(row, "Question"))


def _parse(row: Row) -> Question:
    text = _unmasked(row) if "Numbers" in row.fields else text_of(row, "original_text", "sQuestion")
    answer = gold(row, text_of(row, "ans", "Answer"), "number")
    return Question(text, answer, source=str(row.fields.get("id", f"line {row.line}")))


_original = Original(
    name="mawps",
    files={
        "train": ("trainset.json", "train.json", "train.csv"),
        "dev": ("validset.json", "valid.json", "dev.csv"),
        "test": ("testset.json", "test.json", "test.csv"),
    },
    parse=_parse,
    hub=Hub("mwpt5/MAWPS", "5769dc9a31ea36eaeaab1f1e0aa1a54b6c08d804"),
    hub_splits={"train": "train"},
)

mawps = Task(
    name="mawps",
    title="MAWPS",
    form="number",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=WORD_PROBLEMS,
    licence="MIT (the split: ODC-By 1.0)",
    homepage="https://github.com/sroy9/mawps",
    hub=_original.hub,
    counts={"train": 1898, "dev": 237, "test": 238},
    files=_original.paths,
)
