"""Sampling in rounds: what is asked for next, in cases that one can go through in the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from understudy.policies import (
    AGAIN,
    HINTED,
    Ask,
    PolicySpec,
    Seen,
    ask,
    assign,
    contradictions,
    look,
    next_round,
)
from understudy.prompts import PromptSpec
from understudy.types import Completion, Question, Sampling

RETRY = PolicySpec(truncated="retry", retry_max_tokens=900)


def right(*samples: int) -> list[Seen]:
    return [Seen(sample, right=True) for sample in samples]


def wrong(*samples: int, answer: str = "7") -> list[Seen]:
    return [Seen(sample, wrong=answer) for sample in samples]


def cut(*samples: int) -> list[Seen]:
    return [Seen(sample, cut_off=True) for sample in samples]


def wanted(policy: PolicySpec, *parts: Sequence[Seen]) -> list[int]:
    return [one.sample for one in next_round(policy, [one for part in parts for one in part])]


# ---------------------------------------------------------------- rounds


def test_plainly_all_are_asked_for_at_once() -> None:
    assert wanted(PolicySpec(n=3)) == [0, 1, 2]
    assert wanted(PolicySpec(n=3), wrong(0, 1, 2)) == []
    assert wanted(PolicySpec(n=5), wrong(0, 1, 2)) == [3, 4]
    assert not PolicySpec(n=3).in_rounds


def test_until_so_many_are_right() -> None:
    policy = PolicySpec(n=5, until_correct=2)
    assert policy.in_rounds
    assert wanted(policy) == [0, 1]
    assert wanted(policy, right(0, 1)) == []
    assert wanted(policy, right(0), wrong(1)) == [2]
    assert wanted(policy, wrong(0, 1)) == [2, 3]
    assert wanted(policy, wrong(0, 1, 2), right(3)) == [4]
    assert wanted(policy, wrong(0, 1, 2, 3, 4)) == []


def test_until_an_answer_is_settled() -> None:
    policy = PolicySpec(n=5, settled=0.5)
    assert wanted(policy) == [0, 1, 2]
    assert wanted(policy, wrong(0, 1, 2)) == []
    assert wanted(policy, right(0, 1, 2)) == []
    assert wanted(policy, right(0, 1), wrong(2)) == [3]
    assert wanted(policy, right(0), wrong(1, answer="7"), wrong(2, answer="8")) == [3, 4]
    # 1 : 1 : 1 : 1 of 5 can no longer become 3, so all that were to be asked for are.
    four = (right(0), wrong(1, answer="7"), wrong(2, answer="8"), wrong(3, answer="9"))
    assert wanted(policy, *four) == [4]
    # An answer that could not be read speaks for none.
    assert wanted(policy, [Seen(0), Seen(1), Seen(2)]) == [3, 4]
    # 0.29 of 100 is 29, and 30 are more than that.
    assert len(wanted(PolicySpec(n=100, settled=0.29))) == 30


def test_the_nearer_of_two_ends_counts() -> None:
    policy = PolicySpec(n=9, until_correct=1, settled=0.5)
    assert wanted(policy) == [0]
    assert wanted(policy, wrong(0)) == [1]
    assert wanted(policy, wrong(0, 1, 2, 3)) == [4]
    assert wanted(policy, wrong(0, 1, 2, 3, 4)) == []


def test_the_answer_is_shown_only_where_all_failed_without() -> None:
    policy = PolicySpec(n=2, hint="failed")
    assert wanted(policy) == [0, 1]
    assert wanted(policy, wrong(0), right(1)) == []
    assert wanted(policy, wrong(0), [Seen(1)]) == [HINTED]
    assert wanted(policy, wrong(0, 1), right(HINTED)) == []
    assert wanted(policy, wrong(0, 1, HINTED)) == []
    assert next_round(policy, wrong(0, 1)) == [Ask(HINTED, hinted=True)]
    assert all(one.hinted for one in next_round(PolicySpec(n=2, hint="always"), []))


def test_what_was_cut_off_is_asked_for_again_once() -> None:
    policy = RETRY.model_copy(update={"n": 2})
    assert next_round(policy, [*right(0), *cut(1)]) == [Ask(AGAIN + 1, max_tokens=900)]
    assert wanted(policy, right(0), cut(1, AGAIN + 1)) == []
    assert wanted(PolicySpec(n=2), right(0), cut(1)) == []
    # It may still turn out right, so nothing else is asked for in its place.
    assert wanted(policy.model_copy(update={"until_correct": 1}), cut(0)) == [AGAIN]
    assert wanted(policy.model_copy(update={"until_correct": 1}), cut(0), wrong(AGAIN)) == [1]
    assert wanted(policy.model_copy(update={"until_correct": 2, "n": 3}), cut(0), wrong(1)) == [AGAIN, 2]
    hinted = policy.model_copy(update={"hint": "failed"})
    assert wanted(hinted, wrong(0), cut(1)) == [AGAIN + 1]
    assert wanted(hinted, wrong(0), cut(1), wrong(AGAIN + 1)) == [HINTED]
    assert next_round(hinted, [*wrong(0, 1), *cut(HINTED)]) == [
        Ask(HINTED + AGAIN, max_tokens=900, hinted=True)
    ]


def test_a_question_with_an_unanswered_sample_rests() -> None:
    policy = PolicySpec(n=5, until_correct=1, hint="failed")
    assert wanted(policy, [Seen(0, unanswered=True)]) == []
    assert wanted(PolicySpec(n=5), wrong(0), [Seen(1, unanswered=True)]) == []


def test_samples_go_through_the_schedules() -> None:
    policy = PolicySpec(
        n=5, temperatures=(0.2, 0.9), styles=("few_shot", "zero_shot", "few_shot"), hint="failed"
    )
    got = [(one.temperature, one.style) for one in next_round(policy, [])]
    assert got == [
        (0.2, "few_shot"),
        (0.9, "zero_shot"),
        (0.2, "few_shot"),
        (0.9, "few_shot"),
        (0.2, "zero_shot"),
    ]
    assert ask(policy, HINTED) == Ask(HINTED, 0.2, None, "few_shot", hinted=True)
    again = RETRY.model_copy(update={"temperatures": (0.2, 0.9)})
    assert ask(again, AGAIN + 3) == Ask(AGAIN + 3, 0.9, 900)


def test_an_ask_changes_only_what_it_names() -> None:
    base = Sampling(0.7, 0.9, 100, ("\n\n",), 5)
    assert Ask(0).sampling(base) == base
    assert Ask(0, temperature=0.0, max_tokens=900).sampling(base) == Sampling(0.0, 0.9, 900, ("\n\n",), 5)


QUESTION = Question("2 + 3?", "5")


@pytest.mark.parametrize(
    ("completion", "seen"),
    [
        (Completion("q", 3, "The answer is 5.", "stop"), Seen(3, right=True)),
        (Completion("q", 3, "The answer is 5.0.", "stop"), Seen(3, right=True)),
        (Completion("q", 3, "The answer is 6.", "stop"), Seen(3, wrong="6")),
        (Completion("q", 3, "I do not know.", "stop"), Seen(3)),
        (Completion("q", 3, "The answer is 5.", "length"), Seen(3, cut_off=True)),
        (Completion("q", 3, "", "error", error="context too long: 9000"), Seen(3)),
        (Completion("q", 3, "", "error", error="unanswered: busy"), Seen(3, unanswered=True)),
        (Completion("q", 3, "The answer is 5.", "content_filter"), Seen(3)),
    ],
)
def test_what_is_seen_of_a_completion(completion: Completion, seen: Seen) -> None:
    assert look(QUESTION, completion, "number") == seen


# ---------------------------------------------------------------- whatever the answers are

OUTCOMES: Sequence[Callable[[int], Seen]] = (
    lambda sample: Seen(sample, right=True),
    lambda sample: Seen(sample, wrong="7"),
    lambda sample: Seen(sample, wrong="8"),
    Seen,
    lambda sample: Seen(sample, cut_off=True),
)
POLICIES = st.builds(
    lambda n, k, settled, hint, retry: PolicySpec(
        n=n,
        until_correct=None if k is None else min(k, n),
        settled=settled,
        hint=hint,
        truncated="retry" if retry else "drop",
        retry_max_tokens=900 if retry else None,
    ),
    st.integers(1, 12),
    st.none() | st.integers(1, 12),
    st.none() | st.floats(0.05, 0.95),
    st.sampled_from(["never", "always", "failed"]),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(policy=POLICIES, teacher=st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_rounds_end_and_no_sample_is_asked_for_twice(policy: PolicySpec, teacher: list[int]) -> None:
    seen: list[Seen] = []
    for rounds in range(policy.n + 5):
        asks = next_round(policy, seen)
        if not asks:
            break
        seen += [OUTCOMES[teacher[len(seen) + i]](one.sample) for i, one in enumerate(asks)]
        assert rounds == 0 or policy.in_rounds
    else:
        pytest.fail("the rounds do not end")
    samples = [one.sample for one in seen]
    assert len(set(samples)) == len(samples)
    plain = [one for one in seen if one.sample < HINTED]
    assert len(plain) <= policy.n
    # It does not matter in which order the answers came.
    assert next_round(policy, seen[::-1]) == []
    unhinted = [one for one in seen if one.sample % AGAIN < HINTED]
    good = sum(one.right for one in unhinted)
    if policy.until_correct is None and policy.settled is None:
        assert len(plain) == policy.n
    if policy.settled is None and policy.until_correct is not None:
        assert good >= policy.until_correct or len(plain) == policy.n
    if policy.hint == "failed":
        assert (HINTED in samples) == (good == 0)
    for one in seen:
        assert (policy.truncated == "retry" and one.cut_off and one.sample < AGAIN) == (
            one.sample + AGAIN in samples
        )


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2, "until_correct": 3},
        {"truncated": "retry"},
        {"retry_max_tokens": 100},
        {"n": 20_000},
        {"temperatures": [-1.0]},
        {"settled": 1.0},
    ],
)
def test_policies_that_mean_nothing_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PolicySpec.model_validate(fields)


@pytest.mark.parametrize(
    ("policy", "prompt", "key"),
    [
        (PolicySpec(hint="failed"), PromptSpec(style="bare"), "hint"),
        (PolicySpec(hint="always", styles=("few_shot", "bare")), PromptSpec(), "hint"),
        (PolicySpec(hint="failed"), PromptSpec(show_answer=True), "hint"),
        (PolicySpec(styles=("few_shot",)), PromptSpec(style="zero_shot", exemplars=0), "styles"),
        (PolicySpec(truncated="retry", retry_max_tokens=512), PromptSpec(), "retry_max_tokens"),
        (PolicySpec(n=3, temperatures=(0.0, 0.7)), PromptSpec(), "n"),
        (PolicySpec(n=3, temperatures=(0.0,), styles=("few_shot", "zero_shot")), PromptSpec(), "n"),
    ],
)
def test_what_does_not_go_with_the_rest_is_named(policy: PolicySpec, prompt: PromptSpec, key: str) -> None:
    assert [found for found, _ in contradictions(policy, Sampling(0.7), prompt)] == [key]


def test_what_goes_together() -> None:
    fine = [
        PolicySpec(),
        PolicySpec(n=4, hint="failed"),
        PolicySpec(n=2, temperatures=(0.0, 0.7)),
        PolicySpec(n=2, temperatures=(0.0,), styles=("few_shot", "zero_shot")),
        PolicySpec(truncated="retry", retry_max_tokens=513),
    ]
    for policy in fine:
        assert list(contradictions(policy, Sampling(0.7), PromptSpec())) == []
    assert [key for key, _ in contradictions(PolicySpec(n=2), Sampling(0.0), PromptSpec())] == ["n"]


# ---------------------------------------------------------------- several teachers

MANY = [Question(f"{number}?", "1") for number in range(2000)]


def test_teachers_share_the_questions() -> None:
    first, second = assign(MANY, (3, 1))
    assert sorted([*first, *second], key=lambda q: q.id) == sorted(MANY, key=lambda q: q.id)
    assert [q for q in MANY if q in set(first)] == first
    # 1,500 are expected; four standard deviations are 77.
    assert abs(len(first) - 1500) < 77
    assert assign(MANY, (0.75, 0.25)) == [first, second]
    assert assign(MANY, (3, 1), seed=1) != [first, second]
    assert assign(MANY, (1,)) == [MANY]
    assert assign(MANY, (1, 0))[1] == []


def test_other_questions_and_other_shares_move_few() -> None:
    first, _ = assign(MANY, (3, 1))
    assert set(assign(MANY[::-1][:1000], (3, 1))[0]) == set(first) & set(MANY[1000:])
    assert set(assign(MANY, (1, 1))[0]) < set(first)
