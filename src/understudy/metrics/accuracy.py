"""Accuracy: the share of questions answered correctly. No answer counts against it, like a wrong one."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.metrics._proportion import proportion
from understudy.types import Judged, Score

__all__ = ["accuracy"]


def accuracy(rows: Sequence[Judged]) -> Score:
    """Correct answers / all questions, with a 95 % Wilson interval."""
    return proportion(
        "accuracy", rows, lambda row: row.verdict.name == "correct", "questions answered correctly"
    )
