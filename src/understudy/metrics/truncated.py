"""Truncated: the share of outputs that ran into the length limit in any stage.

A truncated rationale has usually lost its answer, so a high share asks for a larger `max_new_tokens`.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.metrics._proportion import proportion
from understudy.types import Judged, Score

__all__ = ["truncated"]


def truncated(rows: Sequence[Judged]) -> Score:
    """Outputs cut off by the length limit / all questions, with a 95 % Wilson interval."""
    return proportion(
        "truncated", rows, lambda row: row.prediction.truncated, "outputs cut off by the length limit"
    )
