"""Ask a method's students on a split."""

from __future__ import annotations

from pydantic import Field

from understudy.roles import Spec


class EvaluateSpec(Spec):
    """What is measured."""

    splits: tuple[str, ...] = ("test",)
    max_new_tokens: int = Field(256, gt=0)
    batch_tokens: int = Field(16384, gt=0)
    teacher: bool = False
    """Also ask the teacher on the evaluation splits, greedily and without the answer: its accuracy
    there, and the rationales that a two-stage student's upper bound reads. Costs teacher tokens."""
