"""Completions -> rationales worth training on, every drop counted under its reason."""

from __future__ import annotations

from pydantic import Field

from understudy.roles import Spec


class CurateSpec(Spec):
    """Which rationales are kept."""

    right_answer: bool = True
    """Drop a rationale whose answer is not the gold answer."""
    complete: bool = True
    """Drop a completion that was cut off by its length limit."""
    distinct: bool = True
    """Drop a rationale that repeats another of the same question word for word."""
    per_question: int | None = Field(None, gt=0)
    """Keep at most this many rationales of one question, the first sampled ones."""
