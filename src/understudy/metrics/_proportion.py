"""The share of rows for which something holds, with its Wilson interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy.errors import DataError
from understudy.statistics import wilson
from understudy.types import Judged, Score


def proportion(name: str, rows: Sequence[Judged], holds: Callable[[Judged], bool], explanation: str) -> Score:
    """Fraction of `rows` (0 to 1) that hold. Raises DataError when there is no row to measure."""
    if not rows:
        raise DataError(f"{name} cannot be measured on no answers: evaluate at least one question")
    count = sum(map(holds, rows))
    return Score(name, count / len(rows), len(rows), wilson(count, len(rows)), "fraction", explanation)
