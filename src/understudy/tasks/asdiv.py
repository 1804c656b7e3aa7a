"""ASDiv V1.0: 2,305 diverse word problems. https://github.com/chaochun/nlu-asdiv-dataset, CC BY-NC 4.0.

    <Problem ID="nluds-0001"><Body>..</Body><Question>..</Question><Answer>9 (apples)</Answer></Problem>

The catch: about one answer in ten is no single number ("5:6", "3:30 p.m.", "12; 6", "Monday"), so the form
is "text": the judge then reads each gold by its own form. The authors publish five folds of the whole set and
no split: "test" is their fold 0 (444 problems), "train" the other four, "all" everything. The Hub copy is one
split, taken to be in the order of the file and cut the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.roles import Hub, Task
from understudy.rows import Row
from understudy.tasks._exemplars import WORD_PROBLEMS
from understudy.tasks._original import Original, gold, text_of
from understudy.types import Question

__all__ = ["asdiv"]

# Bit n - 1 is set when problem n ("nluds-n") is in the authors' fold 0 of the whole set (asdiv-w).
_FOLD_0 = int(
    "008040200a00820402004200822114480600480401010100282100020004021220c118820240001040404011420440080080"
    "1804040060038428824802a04160205814800891101420500001018802028218180202022201111110004410009042220000"
    "004801010100900888800000020082210208888181ffbe400000000481108000004440000200000008088448848000000014"
    "10004000001a2000304284500040040211fa110001020040014702cb383fc00ff000000000900000000a0000280000000000"
    "0006220004000050802111040040000a01400418812c0000026cccd0000fff80000000000000000007f4d10ffdff00000000"
    "0000000000000008000000000000410b43e896dc1004203e0001ff60288007fffffffffffffff",
    16,
)
_PROBLEMS = ("ASDiv.xml", "dataset/ASDiv.xml")


def _select(split: str, rows: Sequence[Row]) -> Sequence[Row]:
    if split == "all":
        return rows
    return [row for n, row in enumerate(rows) if bool(_FOLD_0 >> n & 1) == (split == "test")]


def _parse(row: Row) -> Question:
    text = f"{text_of(row, 'Body', 'body')} {text_of(row, 'Question', 'question')}"
    answer = gold(row, text_of(row, "Answer", "answer"), "text")
    return Question(text, answer, source=str(row.fields.get("ID") or f"line {row.line}"))


_original = Original(
    name="asdiv",
    files={"train": _PROBLEMS, "test": _PROBLEMS, "all": _PROBLEMS},
    parse=_parse,
    hub=Hub("EleutherAI/asdiv", "8f95807222d87b4c688c3c22a6ba2801e1fa03e2"),
    hub_splits={"train": "validation", "test": "validation", "all": "validation"},
    select=_select,
    hub_select=_select,
    element="Problem",
)

asdiv = Task(
    name="asdiv",
    title="ASDiv",
    form="text",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=WORD_PROBLEMS,
    licence="CC BY-NC 4.0",
    homepage="https://github.com/chaochun/nlu-asdiv-dataset",
    hub=_original.hub,
    counts={"train": 1861, "test": 444, "all": 2305},
    files=_original.paths,
)
