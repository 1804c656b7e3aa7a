"""The lexical reader: words, and nothing else."""

from __future__ import annotations

import time

import pytest

from understudy.answers import judge
from understudy.audit.reader import prompt
from understudy.prompts import render
from understudy.teachers.lexical import UNDECIDED, Lexical
from understudy.types import AnswerForm, Message, Question, Request, Sampling

PETS = Question("Which one barks?", "B", ("a grey cat", "a brown dog", "the sea"))


def reads(question: Question, passage: str, form: AnswerForm) -> str:
    request = Request(question, (Message("user", prompt(question, form, passage)),))
    (((position, completion),),) = Lexical().build(None).complete([request], Sampling())
    assert (position, completion.finish_reason, completion.question_id) == (0, "stop", question.id)
    return completion.text


@pytest.mark.parametrize(
    ("passage", "reply"),
    [
        ("Dogs do. A dog is brown.", "The answer is (B)."),
        ("The cat, the cat, the dog.", "The answer is (A)."),
        ("The sea is a sea.", "The answer is (C)."),
        ("A cat and a dog.", UNDECIDED),
        ("It is what it is, a or the.", UNDECIDED),
        ("DOG!", "The answer is (B)."),
    ],
)
def test_the_option_that_is_spoken_of_most_is_taken(passage: str, reply: str) -> None:
    assert reads(PETS, passage, "choice") == reply


def test_a_long_option_is_counted_per_word() -> None:
    """ "red" once in one word beats "big blue heavy" twice in three."""
    question = Question("Which?", "A", ("red", "big blue heavy"))
    assert reads(question, "red big blue", "choice") == "The answer is (A)."


def test_an_option_of_empty_words_is_still_read() -> None:
    question = Question("Which?", "A", ("all of them", "not more"))
    assert reads(question, "Not more than that.", "choice") == "The answer is (B)."


@pytest.mark.parametrize(
    ("gold", "passage", "form", "reply"),
    [
        ("7", "3 + 4 = 7, then 9 of 1,200.", "number", "The answer is 1200."),
        ("7", "No figure.", "number", UNDECIDED),
        ("yes", "It is true that ice does not burn.", "boolean", "The answer is no."),
        ("no", "It isn't so; yes it is.", "boolean", "The answer is yes."),
        ("no", "Ice is cold.", "boolean", UNDECIDED),
        ("ne", "They are n and e.", "letters", "The answer is e."),
        ("a; b", "First a, then b", "list", "The answer is b."),
        ("red", "...", "text", UNDECIDED),
    ],
)
def test_the_other_forms_take_the_last_that_fits(
    gold: str, passage: str, form: AnswerForm, reply: str
) -> None:
    assert reads(Question("What?", gold), passage, form) == reply


def test_only_the_reasoning_is_read_where_there_is_one_else_the_question() -> None:
    question = Question("Does a dog chase a cat or the dog the dog?", "A", ("cat", "dog"))
    assert reads(question, "cat", "choice") == "The answer is (A)."
    assert reads(question, "", "choice") == "The answer is (B)."
    bare = Request(question, (Message("user", render(question)),), (0, 2))
    got = list(Lexical().build(None).complete([bare], Sampling()))
    assert [(completion.sample, completion.text) for batch in got for _, completion in batch] == [
        (0, "The answer is (B)."),
        (2, "The answer is (B)."),
    ]


def test_the_gold_is_never_looked_at() -> None:
    replies = {reads(Question("What?", gold), "1 and 2.", "number") for gold in ("1", "2", "3")}
    assert replies == {"The answer is 2."}


def test_its_answers_are_read_back_by_the_judge() -> None:
    assert judge(reads(PETS, "dog", "choice"), "B", "choice", PETS.choices).name == "correct"
    assert judge(UNDECIDED, "B", "choice", PETS.choices).name == "no_answer"


def test_a_megabyte_is_read_in_a_second() -> None:
    for unit in ("dog ", "1", "n't ", "'"):
        for question, form in (
            (PETS, "choice"),
            (Question("?", "1"), "number"),
            (Question("?", "no"), "boolean"),
        ):
            started = time.process_time()
            reads(question, unit * (1_000_000 // len(unit)), form)  # type: ignore[arg-type]
            assert time.process_time() - started < 1
