"""Estimates: bounds without a pilot, and predictions that hold as often as they say with one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from understudy.estimate import Amount, estimate
from understudy.prices import Price
from understudy.types import Completion, Message, Question, Request, Sampling

PRICE = Price(input=1.0, output=10.0, source="a page")


def requests(count: int, samples: int = 1, text: str = "12345678") -> list[Request]:
    return [
        Request(Question(f"{number}?", "1"), (Message("user", text),), tuple(range(samples)))
        for number in range(count)
    ]


def pilot(tokens: Sequence[tuple[int, int]]) -> list[Completion]:
    """One answer to each of so many questions."""
    return [Completion(f"q{i}", 0, "text", "stop", *pair) for i, pair in enumerate(tokens)]


def test_without_a_pilot_it_is_a_bound() -> None:
    got = estimate([(Sampling(max_tokens=100), requests(50, samples=2))], PRICE)
    assert got.requests == 100
    assert got.prompt_tokens == Amount(200)
    assert got.completion_tokens == Amount(10_000, at_most=True)
    assert got.usd == Amount((200 * 1 + 10_000 * 10) / 1e6, at_most=True)
    assert got.lines() == [
        "requests           100",
        "prompt tokens      about 200 (one for every 4 bytes of prompt)",
        "completion tokens  at most 10,000 (their limit)",
        "cost               at most $0.10 at $1 in, $10 out per million tokens (a page)",
    ]


def test_every_stream_is_counted_with_its_own_limit() -> None:
    short, long = Sampling(max_tokens=10), Sampling(max_tokens=90)
    got = estimate([(short, requests(3)), (long, requests(2))], None)
    assert (got.requests, got.completion_tokens.value, got.usd) == (5, 3 * 10 + 2 * 90, None)
    assert got.lines()[-1].startswith("cost               unknown: give 'price:")


def test_bytes_are_counted_not_characters() -> None:
    assert estimate([(Sampling(), requests(1, text="日本語日本語"))], None).prompt_tokens.value == 5
    assert estimate([(Sampling(), requests(1, text="abcde\ud800"))], None).prompt_tokens.value == 2


def test_from_a_pilot() -> None:
    # Four questions: prompts of 20, answers of 8, 12, 8 and 12: mean 10, deviation 4 / sqrt(3).
    answered = pilot([(20, 8), (20, 12), (20, 8), (20, 12)])
    got = estimate([(Sampling(max_tokens=999), requests(12))], PRICE, answered)
    assert got.pilot == 4
    assert got.prompt_tokens == Amount(240, (240, 240))
    # t with 3 degrees of freedom is 3.18245; 12 x 2.3094 x sqrt(1/4 + 1/12) = 16.
    assert got.completion_tokens.value == 120
    assert got.completion_tokens.interval == pytest.approx((120 - 3.18245 * 16, 120 + 3.18245 * 16), abs=1e-3)
    assert got.usd is not None
    assert got.usd.value == pytest.approx((240 + 1200) / 1e6)
    assert got.usd.interval == pytest.approx(
        ((240 + 1200 - 509.19) / 1e6, (240 + 1200 + 509.19) / 1e6), abs=1e-8
    )
    assert got.lines()[2] == "completion tokens  about 120 (95 %: 69 to 171)"
    assert got.lines()[-1] == "estimated from     the answers to 4 questions"


def test_samples_of_one_question_are_not_independent() -> None:
    answered = [Completion("a", i, "", "stop", 0, 10) for i in range(50)]
    answered += [Completion("b", i, "", "stop", 0, 30) for i in range(50)]
    got = estimate([(Sampling(), requests(10, samples=3))], None, answered)
    assert got.pilot == 2
    assert got.completion_tokens.value == 30 * 20
    # Two questions say next to nothing, however many samples each has.
    assert got.completion_tokens.interval is not None
    assert got.completion_tokens.interval[0] == 0


def test_one_question_says_no_interval_and_what_passes_says_nothing() -> None:
    assert estimate([(Sampling(), requests(5))], None, pilot([(1, 7)])).completion_tokens == Amount(35)
    failed = [Completion("q", 0, "", "error", error="unanswered: busy")]
    assert estimate([(Sampling(), requests(5))], None, failed).pilot == 0


def test_nothing_left_costs_nothing() -> None:
    got = estimate([], PRICE, pilot([(1, 7), (2, 9)]))
    assert (got.requests, got.completion_tokens, got.usd) == (0, Amount(0), Amount(0))
    assert "cost               about $0.00 at" in got.lines()[3]


def test_it_is_plain_values() -> None:
    got = estimate([(Sampling(), requests(12))], PRICE, pilot([(20, 8), (20, 12)]))
    there = json.loads(json.dumps(got.as_json()))
    assert there["requests"] == 12
    assert there["completion_tokens"]["interval"][1] > 120
    assert there["price"] == "$1 in, $10 out per million tokens (a page)"


@pytest.mark.parametrize("answered", [20, 200])
def test_the_interval_holds_as_often_as_it_says(answered: int) -> None:
    """300 data sets of 400 answers of scattered lengths: the rest's sum lies inside about 95 times in 100,
    whether the pilot is a twentieth of them or half."""
    draw, inside = random.Random(0), 0
    for _ in range(300):
        lengths = [max(1, round(draw.gauss(200, 60))) for _ in range(400)]
        got = estimate(
            [(Sampling(), requests(400 - answered))],
            None,
            pilot([(10, length) for length in lengths[:answered]]),
        )
        assert got.completion_tokens.interval is not None
        low, high = got.completion_tokens.interval
        inside += low <= sum(lengths[answered:]) <= high
    # 285 are expected; four standard deviations are 15.
    assert 270 <= inside <= 299
