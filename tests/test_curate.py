"""Curation: every completion is kept or counted, for a reason one can check in the head."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.curate import CurateSpec, curate
from understudy.errors import DataError
from understudy.types import Completion, FinishReason, Question, Rationale

Q = Question("What is 2 + 2?", "4")
OTHER = Question("What is 1 + 1?", "2")
OFF = CurateSpec(right_answer=False, complete=False, distinct=False)


def said(text: str, sample: int = 0, finish: FinishReason = "stop", error: str = "") -> Completion:
    return Completion(Q.id, sample, text, finish, error=error)


RIGHT = "2 and 2 make 4. The answer is 4."

# One completion -> the reason it is dropped for, or "" when it is kept.
CASES = {
    "right": (said(RIGHT), ""),
    "wrong": (said("2 and 2 make 5. The answer is 5."), "wrong answer"),
    "no answer": (said("I do not know."), "no answer"),
    "empty": (said(""), "no answer"),
    "cut off": (said(RIGHT, finish="length"), "cut off"),
    "only an answer": (said("The answer is 4."), "no rationale"),
    "refused": (said("", finish="content_filter"), "content filter"),
    "not recorded": (said("", finish="error", error="not recorded"), "not recorded"),
    "with a detail": (said("", finish="error", error="context too long: HTTP 400"), "context too long"),
    "error without a word": (said("", finish="error"), "not answered"),
}


@pytest.mark.parametrize(("completion", "reason"), CASES.values(), ids=CASES.keys())
def test_one_completion(completion: Completion, reason: str) -> None:
    got = curate([Q], [completion], "number", CurateSpec(), "toy")
    assert got.dropped == ({reason: 1} if reason else {})
    assert (got.annotated, got.kept, got.questions_kept) == ((1, 0, 0) if reason else (1, 1, 1))


def test_a_rationale_ends_before_its_answer() -> None:
    (rationale,) = curate([Q], [said(RIGHT, 3)], "number", CurateSpec(), "toy").rationales
    assert rationale == Rationale(Q.id, 3, "2 and 2 make 4.", "4", "toy")


def test_the_answer_of_a_right_rationale_is_the_gold_as_written() -> None:
    (rationale,) = curate([Q], [said("2 + 2. The answer is 4.00.")], "number", CurateSpec(), "toy").rationales
    assert rationale.answer == "4"


def test_a_choice_is_judged_by_label_or_text() -> None:
    sky = Question("Which is up?", "B", ("the sea", "the sky"))
    texts = ["Look. The answer is (B).", "Look up. The answer is the sky.", "Look. The answer is (A)."]
    completions = [Completion(sky.id, i, text, "stop") for i, text in enumerate(texts)]
    got = curate([sky], completions, "choice", CurateSpec(), "toy")
    assert [(r.text, r.answer) for r in got.rationales] == [("Look.", "B"), ("Look up.", "B")]


def test_repeats_of_one_question_are_dropped_but_not_of_another() -> None:
    same = [
        said("2 and 2  make\n4. The answer is 4."),
        said(RIGHT, 1),
        said("4 = 2 + 2. The answer is 4.", 2),
    ]
    other = Completion(OTHER.id, 0, "2 and 2 make 4. The answer is 2.", "stop")
    got = curate([Q, OTHER], [*same, other], "number", CurateSpec(), "toy")
    assert got.dropped == {"repeated": 1}
    assert [(r.question_id, r.sample) for r in got.rationales] == [(Q.id, 0), (Q.id, 2), (OTHER.id, 0)]
    assert got.questions_kept == 2


def test_the_limit_counts_good_ones_only() -> None:
    completions = [said(f"{i} steps. The answer is {4 if i else 5}.", i) for i in range(4)]
    got = curate([Q], completions, "number", CurateSpec(per_question=2), "toy")
    assert [r.sample for r in got.rationales] == [1, 2]
    assert got.dropped == {"wrong answer": 1, "over the limit per question": 1}


def test_filters_that_are_off_are_off() -> None:
    wrong = said("2 and 2 make 5. The answer is 5.", 1)
    cut = said("2 and 2 make 4. The answer is 4.", 2, finish="length")
    got = curate([Q], [said(RIGHT), wrong, cut, said(RIGHT, 3)], "number", OFF, "toy")
    assert got.dropped == {}
    assert [r.answer for r in got.rationales] == ["4", "5", "4", "4"]


def test_a_text_without_an_answer_is_never_a_rationale() -> None:
    assert curate([Q], [said("I do not know.")], "number", OFF, "toy").dropped == {"no answer": 1}


def test_the_teachers_accuracy_is_judged_before_the_filters() -> None:
    completions = [
        said(RIGHT),
        said(RIGHT, 1),  # repeated, but right
        said("The answer is 4.", 2),  # no rationale, but right
        said("Cut: the answer is 4", 3, finish="length"),  # cut off, but right
        said("The answer is 5.", 4),
        said("I do not know.", 5),
        said("", 6, finish="error", error="not recorded"),  # the teacher never spoke: not in n
        said("", 7, finish="content_filter"),
    ]
    got = curate([Q], completions, "number", CurateSpec(), "toy")
    assert (got.correct, got.n) == (4, 6)


def test_reasons_come_most_frequent_first() -> None:
    completions = [said("x"), said("The answer is 5.", 1), said("The answer is 6.", 2)]
    got = curate([Q], completions, "number", CurateSpec(), "toy")
    assert list(got.dropped.items()) == [("wrong answer", 2), ("no answer", 1)]


def test_the_result_is_plain() -> None:
    assert asdict(curate([Q], [said("x")], "number", CurateSpec(), "toy"))["dropped"] == {"no answer": 1}


def test_a_stray_completion_is_an_error() -> None:
    with pytest.raises(DataError, match="was not asked"):
        curate([OTHER], [said(RIGHT)], "number", CurateSpec(), "toy")


@given(
    texts=st.lists(st.sampled_from([RIGHT, "The answer is 4.", "5", "", "no", "It is 4. The answer is 4."])),
    finish=st.sampled_from(["stop", "length", "error", "content_filter"]),
    spec=st.builds(
        CurateSpec,
        right_answer=st.booleans(),
        complete=st.booleans(),
        distinct=st.booleans(),
        per_question=st.none() | st.integers(1, 3),
    ),
)
def test_nothing_is_lost_and_nothing_counted_twice(
    texts: list[str], finish: FinishReason, spec: CurateSpec
) -> None:
    completions = [said(text, i, finish) for i, text in enumerate(texts)]
    got = curate([Q], completions, "number", spec, "toy")
    assert got.annotated == len(texts) == got.kept + sum(got.dropped.values())
    assert got.kept == len(got.rationales)
    assert got.correct <= got.n <= got.annotated
