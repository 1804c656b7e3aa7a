"""One training each: what a sample of questions says about a proportion, and about a difference of two.

Two arms that answered the same questions are *paired*: only the questions on which they disagree say
which is better. The catch: everything here is about the sampling of questions. It does not contain
the variation between training seeds: `seeds` does, where more than one was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class McNemar:
    """The exact paired test and the four counts it stands on."""

    p_value: float
    only_a: int
    """Questions that a has right and b has not."""
    only_b: int
    both: int
    neither: int


class Difference(NamedTuple):
    """Accuracy of a minus accuracy of b, with its 95 % interval."""

    difference: float
    low: float
    high: float


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927); unlike the textbook one it is right near 0 and 1.

    Raises ValueError when there is nothing to measure or the counts are impossible.
    """
    from scipy.stats import binomtest

    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"a proportion needs 0 <= correct <= n and n >= 1, not {correct} of {n}")
    interval = binomtest(correct, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_exact(a: Sequence[bool], b: Sequence[bool]) -> McNemar:
    """Exact two-sided McNemar test (1947): are the disagreements a fair coin?

    `a[i]` and `b[i]` say whether each arm has question i right. Without a disagreement p is 1.
    """
    from scipy.stats import binomtest

    both, only_a, only_b, neither = _cross(a, b)
    disagreements = only_a + only_b
    p_value = float(binomtest(only_a, disagreements, 0.5).pvalue) if disagreements else 1.0
    return McNemar(min(p_value, 1.0), only_a, only_b, both, neither)


def paired_bootstrap(
    a: Sequence[bool], b: Sequence[bool], resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Accuracy of a minus accuracy of b with a 95 % percentile interval over resampled questions.

    A question contributes -1, 0 or 1, so resampling questions is drawing three counts from a
    multinomial: the same bootstrap (Efron 1979), at once. Where every question contributes the same,
    the interval has no width: the sample shows no variation, which is not proof that there is none.
    """
    import numpy

    _, only_a, only_b, _ = _cross(a, b)
    n = len(a)
    shares = [only_a / n, only_b / n, (n - only_a - only_b) / n]
    counts = numpy.random.default_rng(seed).multinomial(n, shares, size=resamples)
    low, high = numpy.quantile((counts[:, 0] - counts[:, 1]) / n, [0.025, 0.975])
    return Difference((only_a - only_b) / n, float(low), float(high))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given (Benjamini and Hochberg 1995).

    Calling everything at or below q significant keeps the expected share of false calls at q.
    """
    from scipy.stats import false_discovery_control

    if not p_values:
        return []
    return [float(p) for p in false_discovery_control(list(p_values), method="bh")]


def minimum_detectable_difference(
    n: int, discordance: float = 0.5, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Smallest true difference that a paired test on n questions finds with the given power.

    `discordance` is the share of questions on which the two arms disagree. One half is what two
    unrelated arms show at 50 % accuracy; arms of one student agree more. It cannot be below the
    difference itself, so a lower one is raised to it. None means that n is too small for any: even if
    every question favoured the same arm, the exact test could not call it.

    Solves n d^2 = (z_alpha/2 sqrt(p) + z_power sqrt(p - d^2))^2 for d, p being the discordance
    (Miettinen 1968; Connor 1987, Biometrics 43:207). The formula is for the large-sample test; the
    exact test needs slightly more.
    """
    from scipy.stats import norm

    if n < 1 or not 0 <= discordance <= 1:
        raise ValueError(f"power needs n >= 1 and a discordance in [0, 1], not {n} and {discordance}")
    if 2 * 0.5**n > alpha:
        return None
    size, strength = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    inner = size**2 * n - (n + strength**2) * (size**2 - strength**2)
    difference = sqrt(discordance) * (size * sqrt(n) + sqrt(max(inner, 0.0))) / (n + strength**2)
    return difference if 0 < difference <= discordance else _one_sided_disagreement(n, size, strength)


def _one_sided_disagreement(n: int, size: float, strength: float) -> float | None:
    """The detectable difference when every disagreement favours the same arm (discordance = d)."""
    from scipy.optimize import brentq

    def excess(d: float) -> float:
        return n * d - (size + strength * sqrt(1 - d)) ** 2

    return float(brentq(excess, 0.0, 1.0)) if excess(1.0) >= 0 else None


def _cross(a: Sequence[bool], b: Sequence[bool]) -> tuple[int, int, int, int]:
    """Counts of questions right in both, only in a, only in b, in neither."""
    if len(a) != len(b) or not a:
        raise ValueError(f"a paired comparison needs the same questions twice, not {len(a)} and {len(b)}")
    both = sum(1 for x, y in zip(a, b, strict=True) if x and y)
    only_a = sum(1 for x, y in zip(a, b, strict=True) if x and not y)
    only_b = sum(1 for x, y in zip(a, b, strict=True) if y and not x)
    return both, only_a, only_b, len(a) - both - only_a - only_b
