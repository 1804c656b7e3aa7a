"""Length: tokens generated per question over all stages, the cost of an answer at test time.

Tokens are the student's own: a comparison across tokenizers is not one of characters or seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from understudy.errors import DataError
from understudy.types import Judged, Score

__all__ = ["length"]


def length(rows: Sequence[Judged]) -> Score:
    """Mean tokens per question with a 95 % Student-t interval; none for a single question."""
    if not rows:
        raise DataError("length cannot be measured on no answers: evaluate at least one question")
    tokens = [row.prediction.tokens for row in rows]
    return Score(
        "length", fmean(tokens), len(rows), _interval(tokens), "tokens", "tokens generated a question"
    )


def _interval(tokens: Sequence[int]) -> tuple[float, float] | None:
    from scipy.stats import t

    n = len(tokens)
    if n < 2:
        return None
    reach = float(t.ppf(0.975, n - 1)) * stdev(tokens) / sqrt(n)
    return fmean(tokens) - reach, fmean(tokens) + reach
