"""agreement: two rationales of one question must come to their answer with the same certainty.

The loss is the plain objective plus `weight` times the symmetric KL divergence between the student's
next-token distributions on the answer, read after either rationale (MCC-KD, arXiv 2310.14747). The catch: two
students that are equally unsure agree too, so it says how much the answer hangs on the wording, not whether
it is right; the cross-entropy beside it does that.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from understudy.errors import TrainingError
from understudy.roles import Learner, Lesson

__all__ = ["Agreement"]


class Agreement(Learner):
    """Groups of two examples that end in one answer, marked by `cut`; groups of one are trained plainly."""

    name: Literal["agreement"] = "agreement"
    weight: float = Field(0.1, ge=0)
    """Of the divergence, beside 1 for the plain objective."""

    def fit(self, lesson: Lesson) -> float:
        from understudy.learners._pairs import Agreed
        from understudy.training import trainer

        if all(len(group) == 1 for group in lesson.groups):
            raise TrainingError(
                "no question has two different rationales that could agree: raise sampling.n and the "
                "temperature, or take single_stage"
            )
        return trainer.fit(
            lesson.live,
            lesson.encoded,
            lesson.plan,
            lesson.spec,
            lesson.learning_rate,
            lesson.seed,
            lesson.folder,
            lesson.progress,
            journal=lesson.journal,
            loss=Agreed(self.weight),
        )
