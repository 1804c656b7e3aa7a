"""No answer: the share of outputs in which the judge found nothing to read as an answer.

A high share beside a low accuracy says that the student has not learned the form, or that its outputs
are cut off, rather than that it reasons badly.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.metrics._proportion import proportion
from understudy.types import Judged, Score

__all__ = ["no_answer"]


def no_answer(rows: Sequence[Judged]) -> Score:
    """Outputs without a readable answer / all questions, with a 95 % Wilson interval."""
    return proportion(
        "no_answer", rows, lambda row: row.verdict.name == "no_answer", "outputs without a readable answer"
    )
