"""GSM8K: grade-school word problems with human solutions. https://github.com/openai/grade-school-math, MIT.

    {"question": "Weng earns $12 an hour for babysitting. ...", "answer": "Weng earns 12/60 = ...\\n#### 10"}

The catch: the `<<12/60=0.2>>` marks in the solutions are calculator calls, not text; they are taken out.
There is no official dev split: the last 10 % of train serves (Magister et al.).
"""

from __future__ import annotations

import re

from understudy.roles import Hub, Task
from understudy.rows import Row
from understudy.tasks._exemplars import WORD_PROBLEMS
from understudy.tasks._original import Original, gold, text_of
from understudy.types import Question

__all__ = ["gsm8k"]

_CALCULATOR = re.compile(r"<<[^<>]*>>")


def _parse(row: Row) -> Question:
    solution, mark, answer = text_of(row, "answer").rpartition("####")
    if not mark:
        raise row.wrong("the answer has no '####' before its number")
    lines = [" ".join(line.split()) for line in _CALCULATOR.sub("", solution).splitlines() if line.strip()]
    return Question(
        text_of(row, "question"),
        gold(row, answer.strip(), "number"),
        rationale="\n".join(lines),
        source=f"line {row.line}",
        steps=len(lines),
    )


_original = Original(
    name="gsm8k",
    files={"train": ("train.jsonl",), "test": ("test.jsonl",)},
    parse=_parse,
    hub=Hub("openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", "main"),
    hub_splits={"train": "train", "test": "test"},
)

gsm8k = Task(
    name="gsm8k",
    title="GSM8K",
    form="number",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=WORD_PROBLEMS,
    licence="MIT",
    homepage="https://github.com/openai/grade-school-math",
    hub=_original.hub,
    counts={"train": 7473, "test": 1319},
    files=_original.paths,
)
