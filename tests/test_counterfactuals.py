"""Counterfactuals: every question with a wrong answer of its own kind, and always the same one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tiny import BOOLEAN, CHOICE
from understudy.answers import judge, write
from understudy.counterfactuals import mistaken, reaches
from understudy.types import AnswerForm, Question

SUMS = [Question(f"What is {n} + 1?", str(n + 1)) for n in range(5)]


def test_a_question_with_options_gets_another_of_them() -> None:
    (wrong,) = mistaken([CHOICE], "choice")
    assert wrong.answer in {"A", "C"}
    assert wrong.id == CHOICE.id
    assert replace(wrong, answer=CHOICE.answer) == CHOICE


@pytest.mark.parametrize(("gold", "other"), [("yes", "no"), ("no", "yes")])
def test_yes_becomes_no_and_no_becomes_yes(gold: str, other: str) -> None:
    (wrong,) = mistaken([replace(BOOLEAN, answer=gold)], "boolean")
    assert wrong.answer == other


def test_a_number_becomes_that_of_another_question() -> None:
    changed = mistaken(SUMS, "number")
    golds = {question.answer for question in SUMS}
    assert [question.id for question in changed] == [question.id for question in SUMS]
    for question, wrong in zip(SUMS, changed, strict=True):
        assert wrong.answer in golds - {question.answer}
    assert len({wrong.answer for wrong in changed}) > 1, "not everybody gets the same one"


@pytest.mark.parametrize(
    ("form", "questions"),
    [
        ("text", [Question("Who?", "Ann"), Question("Who else?", "Bob")]),
        ("letters", [Question("Join them.", "nb"), Question("Join those.", "xy")]),
        ("list", [Question("Sort: b, a.", "a; b"), Question("Sort: d, c.", "c; d")]),
    ],
)
def test_of_two_questions_each_gets_the_other_answer(form: AnswerForm, questions: list[Question]) -> None:
    one, other = (question.answer for question in questions)
    assert [wrong.answer for wrong in mistaken(questions, form)] == [other, one]


def test_the_wrong_answer_is_wrong_by_the_judge_and_not_by_its_letters() -> None:
    """5 and 5.0 are one answer, so the two questions have no other one between them."""
    same = [Question("2 + 3?", "5"), Question("1 + 4?", "5.0")]
    assert mistaken(same, "number") == []
    third = Question("4 + 4?", "8")
    changed = mistaken([*same, third], "number")
    assert [wrong.answer for wrong in changed[:2]] == ["8", "8"]
    assert changed[2].answer in {"5", "5.0"}
    for question, wrong in zip([*same, third], changed, strict=True):
        assert judge(write(wrong.answer, "number"), question.answer, "number").name == "wrong"


def test_a_set_without_another_answer_gives_nothing() -> None:
    assert mistaken([], "number") == []
    assert mistaken([SUMS[0]], "number") == []


def test_the_wrong_answer_depends_on_the_question_and_not_on_its_place() -> None:
    options = [Question(f"Which is {n}?", "A", ("one", "two", "three")) for n in range(20)]
    drawn = {wrong.answer for wrong in mistaken(options, "choice")}
    assert drawn == {"B", "C"}, "over many questions every other option is drawn"
    assert mistaken(options[::-1], "choice") == mistaken(options, "choice")[::-1]


def test_reaching_is_what_the_judge_says() -> None:
    assert reaches("5.0", Question("2 + 3?", "5"), "number")
    assert not reaches("6", Question("2 + 3?", "5"), "number")
    assert reaches("B", CHOICE, "choice")
    assert not reaches("C", CHOICE, "choice")
    assert not reaches("", CHOICE, "choice")
