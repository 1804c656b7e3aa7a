"""What an annotation will cost, before anything is spent: a bound, or from a pilot a mean with its interval.

Without a pilot nobody knows how long the answers will be, so their limit is counted and said to be one.
With completions of some of the questions, what the others will come to is predicted: the mean per sample
times the samples, with the t interval of a prediction, in which both what the pilot does not know of the
mean and the scatter of those still to come have their part. That is the finite-population correction for a
total: the more of the questions the pilot has answered, the narrower it is. The catch: the pilot must be
drawn like the rest (its first questions will do if their order means nothing), and fewer than ten questions
say little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from understudy.ledger import transient
from understudy.metering import dollars
from understudy.prices import Price
from understudy.types import Completion, Request, Sampling

BYTES_PER_TOKEN = 4
"""English has about a token for every four characters; other scripts have more bytes to a character."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A predicted sum. `at_most` marks a bound; `interval` is the 95 % interval where there is one."""

    value: float
    interval: tuple[float, float] | None = None
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to be bought."""

    requests: int
    """Completions."""
    prompt_tokens: Amount
    completion_tokens: Amount
    usd: Amount | None
    """None where the price is not known."""
    price: str
    """The price in words; empty where it is not known."""
    pilot: int
    """Questions of the pilot; 0 without one."""

    def lines(self) -> list[str]:
        """For the terminal."""
        rule = f" (one for every {BYTES_PER_TOKEN} bytes of prompt)"
        cost = "unknown: give 'price: {input: ..., output: ...}' in US dollars per million tokens"
        if self.usd:
            cost = f"{_phrase(self.usd, dollars)} at {self.price}"
        rows = {
            "requests": f"{self.requests:,}",
            "prompt tokens": _phrase(self.prompt_tokens, _whole) + ("" if self.pilot else rule),
            "completion tokens": _phrase(self.completion_tokens, _whole)
            + ("" if self.pilot else " (their limit)"),
            "cost": cost,
        }
        if self.pilot:
            rows["estimated from"] = f"the answers to {self.pilot:,} questions"
        return [f"{name:<19}{text}" for name, text in rows.items()]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file."""
        return asdict(self)


def estimate(
    streams: Iterable[tuple[Sampling, Iterable[Request]]],
    price: Price | None,
    pilot: Sequence[Completion] = (),
) -> Estimate:
    """`streams` are the requests that would have to be paid for, by how they are drawn; `pilot` is what
    other questions of the same kind were answered, not part of `streams`.

    Every sample is taken to pay for its prompt. A server that draws several for one request asks less.
    """
    ahead = _Ahead()
    for sampling, requests in streams:
        ahead.add(sampling, requests)
    words = price.describe() if price else ""
    rows = _per_sample([said for said in pilot if not transient(said)])
    if not rows:
        prompt, completion = Amount(ahead.prompt_tokens), Amount(ahead.limit, at_most=True)
        usd = Amount(price.usd(ahead.prompt_tokens, ahead.limit), at_most=True) if price else None
        return Estimate(ahead.samples, prompt, completion, usd, words, 0)
    total = [_predicted(values, ahead) for values in zip(*rows, strict=True)]
    costs = [price.usd(1, 0) * prompt + price.usd(0, 1) * said for prompt, said in rows] if price else []
    usd = _predicted(costs, ahead) if price else None
    return Estimate(ahead.samples, total[0], total[1], usd, words, len(rows))


class _Ahead:
    """What is still to be asked for, counted as it goes by."""

    def __init__(self) -> None:
        self.samples = 0
        self.questions = 0
        self.prompt_tokens = 0
        self.limit = 0

    def add(self, sampling: Sampling, requests: Iterable[Request]) -> None:
        count = 0
        for request in requests:
            count += 1
            samples = len(request.samples)
            size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
            self.samples += samples
            self.prompt_tokens += samples * math.ceil(size / BYTES_PER_TOKEN)
            self.limit += samples * sampling.max_tokens
        # The streams ask about the same questions, each drawn in its own way.
        self.questions = max(self.questions, count)


def _per_sample(pilot: Sequence[Completion]) -> list[tuple[float, float]]:
    """(prompt tokens, completion tokens) of a sample, for each question: samples of one are alike, so the
    questions are what is counted."""
    by_question: dict[str, list[Completion]] = {}
    for said in pilot:
        by_question.setdefault(said.question_id, []).append(said)
    return [
        (fmean(one.prompt_tokens for one in group), fmean(one.completion_tokens for one in group))
        for group in by_question.values()
    ]


def _predicted(values: Sequence[float], ahead: _Ahead) -> Amount:
    """The sum over all samples that are ahead, and the interval that holds it 95 times in 100."""
    value = ahead.samples * fmean(values)
    if len(values) < 2 or not ahead.questions:
        return Amount(value)
    from scipy.stats import t

    scatter = ahead.samples * stdev(values) * math.sqrt(1 / len(values) + 1 / ahead.questions)
    half = float(t.ppf(0.975, len(values) - 1)) * scatter
    return Amount(value, (max(0.0, value - half), value + half))


def _phrase(amount: Amount, write: Callable[[float], str]) -> str:
    if amount.interval:
        low, high = amount.interval
        return f"about {write(amount.value)} (95 %: {write(low)} to {write(high)})"
    return f"{'at most' if amount.at_most else 'about'} {write(amount.value)}"


def _whole(amount: float) -> str:
    return f"{amount:,.0f}"
