"""SVAMP: one-step word problems made by varying older ones. https://github.com/arkilpatel/SVAMP, MIT.

    {"ID": "chal-1", "Body": "Each pack of dvds costs 76 dollars. ..", "Question": "..", "Answer": 51.0, ..}

The catch: the authors' file of 1,000 has no split. The usual one, 700 train and 300 test, is that of the Hub
copy; the 300 are listed here by number, so the original file gives the same split. Another split of 700/300
is in print (Fine-tune-CoT); it shares only 101 test problems with this one. Body and question are joined by
one space, as elsewhere in print, though some bodies end without a full stop: rationales from other
files then find their question.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.roles import Hub, Task
from understudy.rows import Row
from understudy.tasks._exemplars import WORD_PROBLEMS
from understudy.tasks._original import Original, gold, text_of
from understudy.types import Question

__all__ = ["svamp"]

# Bit n - 1 is set when "chal-n" is a test problem.
_TEST = int(
    "c544c46c985c0c052c20021c0844860d0e80c21204df000900548d322194c62c0de51244252d10e02c8285c44d0200a5241c"
    "60c11044e441a6b00242a182120050826148012243200105200478482c8c011504180c840211003216e00235684e539b4028"
    "14004082ea9004608988251189e28303ea1a0150014a2808c9",
    16,
)


def _is_test(row: Row) -> bool:
    prefix, _, number = text_of(row, "ID").partition("-")
    if prefix != "chal" or not number.isdecimal() or not 1 <= int(number) <= 1000:
        raise row.wrong("the ID is not one of chal-1 to chal-1000")
    return bool(_TEST >> (int(number) - 1) & 1)


def _select(split: str, rows: Sequence[Row]) -> Sequence[Row]:
    if split == "all":
        return rows
    return [row for row in rows if _is_test(row) == (split == "test")]


def _parse(row: Row) -> Question:
    text = f"{text_of(row, 'Body')} {text_of(row, 'Question')}"
    return Question(text, gold(row, text_of(row, "Answer"), "number"), source=text_of(row, "ID"))


_original = Original(
    name="svamp",
    files={
        "train": ("SVAMP.json",),
        "test": ("SVAMP.json",),
        "all": ("SVAMP.json",),
    },
    parse=_parse,
    hub=Hub("ChilleD/SVAMP", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef"),
    hub_splits={"train": "train", "test": "test"},
    select=_select,
)

svamp = Task(
    name="svamp",
    title="SVAMP",
    form="number",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=WORD_PROBLEMS,
    licence="MIT",
    homepage="https://github.com/arkilpatel/SVAMP",
    hub=_original.hub,
    counts={"train": 700, "test": 300, "all": 1000},
    files=_original.paths,
)
