"""The nouns: what makes two questions the same question, and what a prediction adds up to."""

from __future__ import annotations

import dataclasses
import json

import pytest

from understudy.types import Completion, Prediction, Question, Written

ONE = Question("How many  legs?", "4", ("two", "four"), "A dog.")

SAME = {
    "another answer": Question("How many  legs?", "2", ("two", "four"), "A dog."),
    "another source": Question("How many  legs?", "4", ("two", "four"), "A dog.", source="row 7"),
    "a rationale and steps": Question("How many  legs?", "4", ("two", "four"), "A dog.", "Count.", steps=3),
    "other white space": Question(" How\nmany\tlegs? ", "4", ("two ", " four"), "A  dog."),
}
OTHER = {
    "text": Question("How many legs!", "4", ("two", "four"), "A dog."),
    "letter case": Question("how many legs?", "4", ("two", "four"), "A dog."),
    "context": Question("How many legs?", "4", ("two", "four"), "A cat."),
    "no context": Question("How many legs?", "4", ("two", "four")),
    "order of choices": Question("How many legs?", "4", ("four", "two"), "A dog."),
    "fewer choices": Question("How many legs?", "4", ("two",), "A dog."),
    "choices cut elsewhere": Question("How many legs?", "4", ("two four",), "A dog."),
    "context as text": Question("How many legs? A dog.", "4", ("two", "four")),
}


@pytest.mark.parametrize("question", SAME.values(), ids=SAME.keys())
def test_the_id_does_not_depend_on(question: Question) -> None:
    assert question.id == ONE.id


@pytest.mark.parametrize("question", OTHER.values(), ids=OTHER.keys())
def test_the_id_depends_on(question: Question) -> None:
    assert question.id != ONE.id


def test_the_id_is_sixteen_hex_digits_and_the_same_tomorrow() -> None:
    # A changed id would orphan every ledger and every run folder out there.
    assert Question("What is 2 + 2?", "4").id == "df7365fa87681317"
    assert ONE.id == "1bf71cedd1234397"


def test_composed_and_decomposed_letters_are_one_text() -> None:
    assert Question("caf\u00e9", "1").id == Question("cafe\u0301", "1").id


def test_half_a_surrogate_pair_has_an_id() -> None:
    assert len(Question("\ud83d", "1").id) == 16


def test_a_question_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ONE.text = "changed"  # type: ignore[misc]


def test_a_prediction_is_read_in_its_last_stage_and_paid_for_in_all() -> None:
    first = Written("rationale", "2 + 3 = 5.", "length", 7)
    last = Written("answer", "The answer is 5.", "stop", 4)
    prediction = Prediction("q", (first, last))
    assert (prediction.text, prediction.tokens, prediction.truncated) == ("The answer is 5.", 11, True)
    assert not Prediction("q", (last,)).truncated


def test_a_record_survives_a_json_line() -> None:
    completion = Completion("q", 1, "2 + 2 = 4 \u2028 \N{GRINNING FACE}", "stop", 3, 4, reasoning="hm")
    assert Completion(**json.loads(json.dumps(dataclasses.asdict(completion)))) == completion
