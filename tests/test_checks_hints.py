"""Words that betray a shown answer, and answers that stand before any reasoning."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_data import shared_data
from understudy.checks.hints import answer_first, betrays
from understudy.rows import read
from understudy.types import AnswerForm

BETRAYING = (
    "However, the given answer is A.",
    "In line with the provided answer, it is True.",
    "The answer provided is B, so we accept it.",
    "Since the answer is given as 8, we stop.",
    "We are told the answer is D.",
    "Since we know the answer is 5, we go back.",
    "It is stated that the answer is True.",
    "Given that the answer is False, tourists prefer Niue.",
    "According to the answer given, 3 are left.",
    "To arrive at the answer of 12, multiply by 3.",
    "This matches the given correct answer.",
    "But the answer is 14, so I made a mistake.",
    "The answer is 144, so there might be a mistake in the question.",
    "The answer key says C.",
)
INNOCENT = (
    "Among the given answer choices, only B fits.",
    "Evaluate each given answer: A is wet.",
    "Given that he has 5 apples, the answer is 5.",
    "As given in the problem, she buys 3.",
    "The given information suffices.",
    "A definitive answer cannot be given.",
    "The answer is not given in the options.",
    "The answer is known to be hard.",
    "So we know the answer is in hours.",
    "Subtract 3 to get the answer.",
    "None of the options match the correct answer.",
    "Compare the answer choices provided.",
    "The provided answers differ.",
    "The answer is 12. The tree is 12 years old.",
    "",
)


@pytest.mark.parametrize("text", BETRAYING)
def test_words_that_betray(text: str) -> None:
    span = betrays(text)
    assert span is not None
    assert "answer" in text[slice(*span)].casefold()


@pytest.mark.parametrize("text", INNOCENT)
def test_words_that_only_sound_like_it(text: str) -> None:
    assert betrays(text) is None


ICE = ("ice", "sand", "salt")
FIRST: tuple[tuple[str, str, AnswerForm, bool], ...] = (
    ("The answer is (B). Sand is dry and does not melt.", "B", "choice", True),
    ("The answer is (B) because sand is dry.", "B", "choice", True),
    ("The correct answer is sand. It does not melt in water.", "B", "choice", True),
    ("B is correct. Sand is dry and does not melt.", "B", "choice", True),
    ("1. The answer is (B). 2. Sand is dry and does not melt.", "B", "choice", True),
    ("The answer is (A). Ice is cold and it melts.", "B", "choice", False),
    ("Sand is dry. It does not melt. The answer is (B).", "B", "choice", False),
    ("Sand is dry, so the answer is (B). It does not melt.", "B", "choice", False),
    ("Consider each answer choice: B: sand is dry. A: ice melts. The answer is (B).", "B", "choice", False),
    ("The answer is (B).", "B", "choice", False),
    ("The answer is (B). The answer is (B).", "B", "choice", False),
    ("Yes, because cats have four legs.", "yes", "boolean", True),
    ("No. Cats cannot fly at all.", "no", "boolean", True),
    ("Cats have legs. So yes.", "yes", "boolean", False),
    ("The answer is 18. She sells 9 eggs for 2 dollars.", "18", "number", True),
    ("She has 18 eggs. She eats none. The answer is 18.", "18", "number", False),
    ("9 * 2 = 18. The answer is 18.", "18", "number", False),
    ("The answer is 7. She sells 9 eggs for 2 dollars.", "18", "number", False),
    ("", "18", "number", False),
    ("The answer is 18. She sells 9 eggs.", "not a number", "number", False),
)


@pytest.mark.parametrize(("text", "answer", "form", "first"), FIRST)
def test_an_answer_that_stands_first(text: str, answer: str, form: AnswerForm, first: bool) -> None:
    assert answer_first(text, answer, form, ICE if form == "choice" else ()) is first


@given(st.text(max_size=200), st.sampled_from(["number", "boolean", "text"]))
def test_any_text_is_looked_at(text: str, form: AnswerForm) -> None:
    answer_first(text, "yes" if form == "boolean" else "5", form)
    span = betrays(text)
    assert span is None or 0 <= span[0] < span[1] <= len(text)


@pytest.mark.parametrize(
    "piece", ["the given ", "answer is ", "the answer ", "given ", "a", " ", "answer is 1, "]
)
def test_a_hostile_megabyte_takes_less_than_a_second(piece: str) -> None:
    text = piece * (10**6 // len(piece))
    start = time.process_time()
    betrays(text)
    answer_first(text, "5", "number")
    assert time.process_time() - start < 1


def test_teachers_who_saw_the_answer_speak_of_it_and_others_do_not() -> None:
    folder = shared_data("eit_cot_distill")

    def betraying(name: str) -> int:
        rows = read(folder / f"openbookQA_ChatGPT_0_shot_{name}_gt_ranked.json.gz")
        return sum(betrays(str(row.fields["output"])) is not None for row in rows)

    assert betraying("with") >= 10
    assert betraying("without") == 0
