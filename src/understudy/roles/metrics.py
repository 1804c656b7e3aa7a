"""The contract of a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from understudy.types import Judged, Score


class Metric(Protocol):
    """Judged predictions of one method, student, seed and split -> one number with its interval."""

    def __call__(self, rows: Sequence[Judged]) -> Score: ...
