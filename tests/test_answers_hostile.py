"""The judge against texts made to stall it: a model may write anything, and at any length."""

from __future__ import annotations

import time

import pytest

from understudy import answers
from understudy.types import AnswerForm

FORMS: tuple[AnswerForm, ...] = ("number", "choice", "boolean", "text", "letters", "list")
MEGABYTE = 1_000_000

HOSTILE = [
    "9", "1,", "1/", "1:", "0.", "-", ".", ". ", " ", "\n", "**", "$", "½", "{", "<", "=", "1e999 ",
    "(A", "A or ", "A) ", "option ", "(A) is ", "yes no ", "not ", "one hundred ", "\\boxed{", "\\frac{1",
    "the answer is ", "The answer is 5. ", "answer to ", "answer: -", "#### ", "-->", "<answer>", "\nQ: a",
    "dr. ", "A: ", "é", "İ", "\u0663", "l r ", "- a\n", "a;", "\\", "^", "[", "<think>", "</think>", "</s>",
    "\nuser\n", "minus ", "10 000 ", "5 or ", "the *", "ab ", "\\boxed{x+", "I add 3 and 4. ", "z",
]  # fmt: skip


def _seconds(text: str, form: AnswerForm) -> float:
    choices = ("cat", "dog") if form == "choice" else ()
    began = time.process_time()
    answers.read(text, form, choices)
    return time.process_time() - began


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """Timed at 25 000 and 100 000 characters: 4 times as long is linear, 16 times quadratic, and 10
    leaves room for a busy machine."""
    form = FORMS[HOSTILE.index(unit) % len(FORMS)]
    for opening in ("", "The answer is "):
        short = max(_seconds(opening + unit * (25_000 // len(unit)), form), 0.005)
        long = _seconds(opening + unit * (100_000 // len(unit)), form)
        assert long < 10 * short or long < 0.2, f"{short:.3f} s, then {long:.3f} s"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "unit",
    ["The answer is ", "\\boxed{", "{", "7", "q", "漢", "I add 3 and 4. ", "The answer is 5. ", "1 - "],
)
def test_a_megabyte_takes_less_than_a_second(unit: str, form: AnswerForm) -> None:
    text = unit * (MEGABYTE // len(unit))
    assert any(_seconds(text, form) < 1 for _ in range(2))


@pytest.mark.parametrize("form", FORMS)
def test_the_reasoning_of_a_megabyte_too(form: AnswerForm) -> None:
    text = "The answer is 5. " * (MEGABYTE // 17)
    began = time.process_time()
    answers.reasoning(text, form)
    assert time.process_time() - began < 2
