"""Votes over answers small enough to count on one hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from small import QUESTIONS
from understudy.errors import DataError
from understudy.records import load_predictions, save
from understudy.report.votes import votes
from understudy.types import AnswerForm, FinishReason, Judged, Prediction, Question, Verdict, Written
from understudy.voting import parties, vote

NUMBER, CHOICE = QUESTIONS["number"], QUESTIONS["choice"]


def drawn(
    *texts: str, question: Question = NUMBER, logprobs: tuple[float | None, ...] = ()
) -> list[Prediction]:
    known = logprobs or (None,) * len(texts)
    return [
        Prediction(question.id, (Written("rationale", text, "stop", 3, logprob),))
        for text, logprob in zip(texts, known, strict=True)
    ]


@pytest.mark.parametrize(
    ("texts", "winner", "share"),
    [
        (["The answer is 4.", "The answer is 5.", "2 + 3 = 5. The answer is 5."], 1, 2 / 3),
        (["The answer is 5.0.", "The answer is 6.", "The answer is 5."], 0, 2 / 3),
        (["The answer is 6.", "The answer is 0.5.", "The answer is 1/2."], 1, 2 / 3),
        (
            ["The answer is 0.33.", "The answer is 0.333.", "The answer is 7."],
            0,
            1 / 3,
        ),  # rounding is no match
        (["I cannot say.", "Who knows?", "The answer is 7."], 2, 1 / 3),
        (["The answer is 4.", "The answer is 5."], 0, 1 / 2),  # a tie: the first
        (["The answer is 8."], 0, 1.0),
        (["I cannot say.", "Who knows?"], 0, 0.0),
    ],
)
def test_the_majority_of_answers_decides(texts: list[str], winner: int, share: float) -> None:
    result = vote(NUMBER, drawn(*texts), "number")
    assert result.text == texts[winner]
    assert result.share == pytest.approx(share)
    assert result.tokens == 3 * len(texts)
    assert sorted(part.text for part in result.written) == sorted(texts)


def test_the_gold_answer_takes_no_part() -> None:
    predictions = drawn("The answer is 4.", "The answer is 4.", "The answer is 5.")
    for gold in ("4", "5", "6"):
        assert vote(replace(NUMBER, answer=gold), predictions, "number").text == "The answer is 4."


@pytest.mark.parametrize(
    ("logprobs", "winner"),
    [
        ((-3.0, -1.0, -1.0, -9.0), "The answer is 4."),  # -4 beats -10
        ((-3.0, -9.0, -9.0, -1.0), "The answer is 5."),
        ((-3.0, -9.0, None, -1.0), "The answer is 4."),  # one is not known, so none is asked
    ],
)
def test_of_equal_votes_the_more_probable_answer_wins(
    logprobs: tuple[float | None, ...], winner: str
) -> None:
    texts = ("The answer is 4.", "The answer is 5.", "The answer is 4.", "The answer is 5.")
    assert vote(NUMBER, drawn(*texts, logprobs=logprobs), "number").text == winner


def test_probability_does_not_outvote_a_majority() -> None:
    texts = ("The answer is 4.", "The answer is 4.", "The answer is 5.")
    assert vote(NUMBER, drawn(*texts, logprobs=(-9.0, -9.0, -0.1)), "number").text == "The answer is 4."


@pytest.mark.parametrize(
    ("form", "texts", "winner"),
    [
        ("choice", ("The answer is (A).", "It is the sky.", "The answer is (B)."), 1),
        ("boolean", ("The answer is no.", "Yes, it is.", "The answer is yes."), 1),
        ("list", ("The answer is pear; fig.", "The answer is fig; pear.", "The answer is Fig; pear."), 1),
        ("letters", ("The answer is oua.", "The answer is o-u-a.", "The answer is x."), 0),
    ],
)
def test_votes_of_other_forms(form: AnswerForm, texts: tuple[str, ...], winner: int) -> None:
    question = QUESTIONS[form]
    assert vote(question, drawn(*texts, question=question), form).text == texts[winner]


def test_a_settled_answer_is_what_votes_and_what_is_kept() -> None:
    program = Prediction(NUMBER.id, (Written("rationale", "2 + 3 = #1; #1", "stop", 4),), "The answer is 5.")
    result = vote(NUMBER, [*drawn("The answer is 4."), program, replace(program)], "number")
    assert (result.settled, result.text, result.tokens) == ("The answer is 5.", "The answer is 5.", 11)


def test_the_texts_of_the_winner_stand_last_and_together() -> None:
    def two(rationale: str, answer: str) -> Prediction:
        stages = (Written("rationale", rationale, "stop", 5), Written("answer", answer, "stop", 2))
        return Prediction(NUMBER.id, stages)

    chains = [two("a", "The answer is 4."), two("b", "The answer is 5."), two("c", "The answer is 5.")]
    result = vote(NUMBER, chains, "number")
    assert [part.text for part in result.written[-2:]] == ["b", "The answer is 5."]
    assert (len(result.written), result.tokens) == (6, 21)


def test_the_same_prediction_may_come_several_times() -> None:
    (one,) = drawn("The answer is 5.")
    assert vote(NUMBER, [one, one, one], "number").tokens == 9


def test_a_text_that_was_cut_off_votes_only_if_it_states_its_answer() -> None:
    cut = [
        Prediction(NUMBER.id, (Written("rationale", text, "length", 3),))
        for text in ("2 + 3 = 9", "so 9 and")
    ]
    result = vote(NUMBER, [*cut, *drawn("The answer is 5.")], "number")
    assert result.text == "The answer is 5."
    assert result.share == pytest.approx(1 / 3)
    assert result.truncated  # one of those who were asked was cut off


def test_parties_stand_in_the_order_in_which_they_came() -> None:
    found = parties(NUMBER, drawn("The answer is 7.", "The answer is 5.", "The answer is 7."), "number")
    assert [(party.answer, len(party.voters)) for party in found] == [("7", 2), ("5", 1)]


def test_votes_on_nothing_or_on_another_question_are_refused() -> None:
    for predictions in ([], drawn("The answer is (B).", question=CHOICE)):
        with pytest.raises(DataError, match="of that question alone"):
            vote(NUMBER, predictions, "number")


def test_the_share_is_kept_on_disk(tmp_path: Path) -> None:
    result = vote(NUMBER, drawn("The answer is 5.", "The answer is 4."), "number")
    save(tmp_path / "predictions.jsonl", [result])
    assert load_predictions(tmp_path) == [result]


# ---------------------------------------------------------------- calibration


def judged(number: int, share: float | None, right: bool, finish: FinishReason = "stop") -> Judged:
    question = Question(f"{number}?", "5")
    prediction = Prediction(question.id, (Written("rationale", "", finish, 1),), share=share)
    return Judged(question, prediction, Verdict("correct" if right else "wrong", "5"))


def test_calibration_of_shares_by_hand() -> None:
    # unanimous: 2 of 2 right. At 0.5: 1 of 4 right, 0.25 away. No votes at all: not counted.
    rows = [judged(n, 1.0, True) for n in range(2)] + [judged(n, 0.5, n == 2) for n in range(2, 6)]
    section = votes({"single_stage": [*rows, judged(6, 0.0, False), judged(7, None, False)]})
    numbers = section.numbers["single_stage"]
    assert (numbers["n"], numbers["unread"]) == (6, 2)
    assert numbers["calibration_error"] == pytest.approx(4 * 0.25 / 6)
    assert [(part["votes"], part["n"], part["correct"]) for part in numbers["bins"]] == [
        ("over 25.0 % to 50.0 %", 4, 1),
        ("unanimous", 2, 2),
    ]
    assert [row[:4] for row in section.rows] == [
        ("single_stage", "over 25.0 % to 50.0 %", "4", "50.0 %"),
        ("single_stage", "unanimous", "2", "100.0 %"),
    ]
    assert "2 of 2" in section.sentences[0]
    assert "2 questions got no readable answer" in section.sentences[0]


def test_votes_on_nothing_say_so() -> None:
    assert votes({"single_stage": []}).sentences == ("No answer was voted on.",)
