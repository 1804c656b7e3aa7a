"""Strict: accuracy when an answer counts only in the sentence that prompts ask for.

Accuracy itself reads every usual way of stating an answer. Where the two differ much, the student reasons
better than it keeps to the form, or the judge reads more into its texts than it should: look at the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.metrics._proportion import proportion
from understudy.types import Judged, Score

__all__ = ["strict"]


def strict(rows: Sequence[Judged]) -> Score:
    """Answers that are correct by the strict reading / all questions, with a 95 % Wilson interval."""
    differ = sum(row.verdict.strict != row.verdict.name for row in rows)
    return proportion(
        "strict",
        rows,
        lambda row: row.verdict.strict == "correct",
        f"questions answered correctly in the sentence that prompts ask for; on {differ} of {len(rows)} "
        "the two readings come to different verdicts",
    )
