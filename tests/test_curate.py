"""Curation: every completion is kept or counted, for a reason one can check in the head."""

from __future__ import annotations

import json
import random
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.curate import CurateSpec, curate, random_subset
from understudy.curate._filters import CHECKS, CHOICES
from understudy.errors import DataError, RecipeError
from understudy.types import Completion, FinishReason, Question, Rationale

Q = Question("What is 2 + 2?", "4")
OTHER = Question("What is 1 + 1?", "2")
OFF = CurateSpec(right_answer=False, complete=False, distinct=False, loops=False)


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
        said("The answer is 4. It is", 3, finish="length"),  # cut off, but right
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
        right_steps=st.booleans(),
        unhinted=st.booleans(),
        trusted_gold=st.booleans(),
        near_duplicates=st.none() | st.just(0.5),
        pick=st.sampled_from(["first", "diverse"]),
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


# ---------------------------------------------------------------- filters that are asked for


def four(text: str, sample: int = 0) -> Completion:
    return said(f"{text} The answer is 4.", sample)


LOOP = "I add two and two. " * 8
SPELLED = "Man nimmt zwei Äpfel und noch einmal zwei Äpfel dazu, und so sind es zusammen vier Äpfel im Korb."

# The switch -> a text that it drops, the reason, and a text that it keeps.
FILTERS: dict[str, tuple[dict[str, object], str, str, str]] = {
    "loops": ({"loops": True}, LOOP, "loops", "I add two and two."),
    "min_words": ({"min_words": 3}, "Two twos.", "too short", "Two and two."),
    "max_words": ({"max_words": 3}, "Two and two more.", "too long", "Two and two."),
    "language": (
        {"language": "en"},
        SPELLED,
        "another language",
        "One takes two apples and two more of them.",
    ),
    "right_steps": ({"right_steps": True}, "2 + 2 = 5.", "wrong equation", "2 + 2 = 4."),
    "unhinted": ({"unhinted": True}, "The given answer is four.", "betrays the hint", "Two and two."),
    "t5_writable": ({"t5_writable": True}, "2 × 2.", "characters T5 lacks", "2 * 2."),
}


@pytest.mark.parametrize(("switch", "bad", "reason", "good"), FILTERS.values(), ids=FILTERS.keys())
def test_a_filter_drops_what_it_names(switch: dict[str, object], bad: str, reason: str, good: str) -> None:
    got = curate([Q], [four(bad), four(good, 1)], "number", CurateSpec.model_validate(switch), "toy")
    assert got.dropped == {reason: 1}
    assert [rationale.text for rationale in got.rationales] == [good]


@pytest.mark.parametrize(("switch", "bad", "reason", "good"), FILTERS.values(), ids=FILTERS.keys())
def test_a_filter_that_is_off_drops_nothing_but_is_counted(
    switch: dict[str, object], bad: str, reason: str, good: str
) -> None:
    spec = CurateSpec(loops=False)
    got = curate([Q], [four(bad), four(good, 1)], "number", spec, "toy")
    assert got.dropped == {}
    assert got.flagged.get(reason) == (None if reason in ("too short", "too long", "another language") else 1)


def test_the_answer_before_any_reasoning_betrays_the_hint() -> None:
    first = said("The answer is 4. That is because two and two make four.")
    got = curate([Q], [first], "number", CurateSpec(unhinted=True), "toy")
    assert got.dropped == {"betrays the hint": 1}


def test_every_key_of_a_filter_is_a_key_of_the_recipe() -> None:
    keys = {one.key for one in (*CHECKS, *CHOICES)} - {""}
    assert keys == set(CurateSpec.model_fields) - {"pick"}
    assert len({one.reason for one in (*CHECKS, *CHOICES)}) == len(CHECKS) + len(CHOICES)


def test_the_first_reason_of_the_table_counts_and_all_are_flagged() -> None:
    bad = said("The given answer is 5. 2 + 2 = 5. The answer is 5.")
    spec = CurateSpec(right_steps=True, unhinted=True)
    got = curate([Q], [bad], "number", spec, "toy")
    assert got.dropped == {"wrong answer": 1}
    caught = {reason for reason, count in got.flagged.items() if count}
    assert caught == {"wrong answer", "wrong equation", "betrays the hint"}


def test_near_duplicates_of_one_question_are_dropped() -> None:
    texts = [
        "We add two and two and get four.",
        "We add two and two, and get four!",
        "Count on: three, four.",
    ]
    completions = [four(text, place) for place, text in enumerate(texts)]
    got = curate([Q], completions, "number", CurateSpec(near_duplicates=0.9), "toy")
    assert [rationale.sample for rationale in got.rationales] == [0, 2]
    assert got.dropped == {"near duplicate": 1}
    assert got.flagged["near duplicate"] == 1


def test_a_diverse_pick_keeps_the_first_and_what_differs_most() -> None:
    texts = ["We add two and two.", "We add two and two now.", "Count on from there: three, four."]
    completions = [four(text, place) for place, text in enumerate(texts)]
    for pick, samples in (("first", [0, 1]), ("diverse", [0, 2])):
        spec = CurateSpec.model_validate({"per_question": 2, "pick": pick})
        got = curate([Q], completions, "number", spec, "toy")
        assert [rationale.sample for rationale in got.rationales] == samples
        assert got.dropped == {"over the limit per question": 1}


@pytest.mark.parametrize(
    ("answers", "doubted"),
    [
        (["5", "5", "4"], True),
        (["5", "5", "5", "4", "4"], True),
        (["5", "6", "4"], False),  # no majority
        (["5", "5", "4", "4"], False),  # half is no majority
        (["5", "5"], False),  # too few
        (["5", "5", ""], False),  # one cannot be read
        (["4", "4", "5"], False),  # the gold answer
    ],
)
def test_gold_is_doubted_when_most_samples_agree_on_another_answer(answers: list[str], doubted: bool) -> None:
    texts = [f"Step {place}. The answer is {a}." if a else "So." for place, a in enumerate(answers)]
    completions = [said(text, place) for place, text in enumerate(texts)]
    got = curate([Q], completions, "number", CurateSpec(trusted_gold=True), "toy")
    assert got.dropped.get("doubtful gold answer", 0) == (len(answers) if doubted else 0)
    assert (got.kept == 0) == (doubted or "4" not in answers)


def test_the_order_of_arrival_changes_nothing() -> None:
    texts = ["Two and two.", "Two and two!", "2 + 2 = 5.", "Count: three, four.", "Two and two."]
    completions = [four(text, place) for place, text in enumerate(texts)]
    completions += [Completion(OTHER.id, 0, "1 and 1. The answer is 2.", "stop")]
    completions += [said("", 9, finish="error", error="b"), said("", 8, finish="error", error="a")]
    spec = CurateSpec(near_duplicates=0.9, per_question=2, pick="diverse", right_steps=True)
    first = curate([Q, OTHER], completions, "number", spec, "toy")
    for seed in range(5):
        shuffled = random.Random(seed).sample(completions, len(completions))
        got = curate([Q, OTHER], shuffled, "number", spec, "toy")
        assert got == first
        assert list(got.dropped) == list(first.dropped)


def test_a_cut_off_answer_is_no_answer() -> None:
    got = curate([Q], [said("2 + 2. The answer is 4", finish="length")], "number", OFF, "toy")
    assert got.dropped == {"no answer": 1}


@pytest.mark.parametrize(
    "bad",
    [
        {"min_words": 5, "max_words": 4},
        {"near_duplicates": 0},
        {"near_duplicates": 1.5},
        {"language": "English"},
        {"pick": "last"},
        {"min_words": 0},
    ],
)
def test_impossible_bounds_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        CurateSpec.model_validate(bad)


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(RecipeError, match="'xq' is unknown"):
        curate([Q], [said(RIGHT)], "number", CurateSpec(language="xq"), "toy")


def test_a_random_subset_is_drawn_by_the_seed_and_keeps_the_order() -> None:
    rationales = [Rationale(Q.id, place, "", "4") for place in range(20)]
    drawn = random_subset(rationales, 5, seed=1)
    assert [one.sample for one in drawn] == sorted({one.sample for one in drawn})
    assert len(drawn) == 5
    assert drawn == random_subset(rationales, 5, seed=1)
    assert any(drawn != random_subset(rationales, 5, seed=seed) for seed in range(2, 5))
    assert random_subset(rationales, 99, seed=1) == tuple(rationales)
    assert random_subset([], 3, seed=1) == ()


def test_the_page_names_every_filter_in_its_order() -> None:
    page = (Path(__file__).parents[1] / "docs" / "curation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\S+)` \|([^|]*)\|", page, re.MULTILINE)
    assert {key: default for key, default, _ in rows} == {
        key: json.dumps(field.default).strip('"') for key, field in CurateSpec.model_fields.items()
    }
    always = re.findall(r"^\| – \| always \| (no [^|]*) \|", page, re.MULTILINE)
    named = [reason.strip() for _, _, reason in rows if reason.strip()]
    assert named == [one.reason for one in (*CHECKS, *CHOICES) if one.key]
    assert always == [one.reason for one in CHECKS if not one.key]
