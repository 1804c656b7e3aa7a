"""Toys of the training side: questions whose answers one can see, and students that train in a second."""

from __future__ import annotations

from typing import Any

from understudy.roles import Budget, Student, TrainSpec
from understudy.students.causal import Causal
from understudy.students.seq2seq import Seq2Seq
from understudy.types import AnswerForm, Example, Question, Rationale

NUMBER = Question("Tom has 2 apples and buys 3 more. How many has he?", "5", source="toy-1")
CHOICE = Question("Which is a fruit?", "B", ("stone", "apple", "cloud"))
BOOLEAN = Question("Can a fish ride a bicycle?", "no", context="Fish have no legs.")
TEXT = Question('Take the last letters of "Ann Bob" and join them.', "nb")

RATIONALES: dict[str, str] = {
    NUMBER.id: "2 + 3 = 5.",
    CHOICE.id: "Apples grow on trees.",
    BOOLEAN.id: "Pedals need legs.",
    TEXT.id: "Ann ends in n, Bob in b.",
}
FORMS: list[tuple[AnswerForm, Question]] = [
    ("number", NUMBER),
    ("choice", CHOICE),
    ("boolean", BOOLEAN),
    ("text", TEXT),
]


def rationale(question: Question, sample: int = 0) -> Rationale:
    """The toy's reasoning; samples after the first say so."""
    text = RATIONALES[question.id] + (f" Again {sample}." if sample else "")
    return Rationale(question.id, sample, text, question.answer, "toy")


SUMS = [
    Example(f"sum{a}", f"Question: {a} + {b}? Answer:", f"The answer is {a + b}.")
    for a, b in ((1, 2), (3, 4), (5, 6), (7, 8))
]
TEXTS = [text for e in SUMS for text in (e.source, f" {e.target}")]
GROUPS = [(example,) for example in SUMS]

STUDENTS: dict[str, type[Causal] | type[Seq2Seq]] = {"causal": Causal, "seq2seq": Seq2Seq}


def scratch(name: str, tokenizer: str = "word") -> Student:
    """The smallest student of an architecture, from random weights."""
    return STUDENTS[name](config="tiny", tokenizer=tokenizer)


def spec(steps: float = 20, **changes: Any) -> TrainSpec:
    """A short training in fp32, so that its numbers are the same on every CPU."""
    settings: dict[str, Any] = {
        "budget": Budget(unit="steps", amount=steps),
        "batch_tokens": 64,
        "precision": "fp32",
        "schedule": "constant",
        **changes,
    }
    return TrainSpec(**settings)


def quiet(fraction: float, detail: str) -> None:
    """Progress that nobody watches."""
