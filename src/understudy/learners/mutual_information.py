"""mutual_information: what the answer's task holds likely, the rationale's task is to hold likely too.

Chen et al. (arXiv 2403.03348) maximise a variational bound on the information that the two tasks of
step_by_step share. What is minimised here is the term of their code (xinchen9/cot_distillation_ACL2024,
`TaskPrefixTrainer`): each task becomes one vector over the vocabulary, a token's highest probability at any
position, and the term is the cross-entropy of the softmax of the rationale's vector against the answer's,
through which no gradient flows:

    loss = plain objective - weight x mean over questions of sum_v z(v) log softmax(r)(v)

Unlike there, positions of padding take no part. The catch: both vectors are probabilities before the softmax,
and z does not sum to 1, so the value is no cross-entropy of distributions: its floor is far above 0, and only
its change says something.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from understudy.errors import TrainingError
from understudy.roles import Learner, Lesson

__all__ = ["MutualInformation"]


class MutualInformation(Learner):
    """Groups of an `answer` and a `rationale` example of one question."""

    name: Literal["mutual_information"] = "mutual_information"
    weight: float = Field(0.1, ge=0)
    """Of the term that ties the two tasks, beside 1 for the plain objective."""

    def fit(self, lesson: Lesson) -> float:
        from understudy.learners._pairs import Shared
        from understudy.training import trainer

        for group in lesson.groups:
            if sorted(example.objective for example in group) != ["answer", "rationale"]:
                names = ", ".join(example.objective for example in group)
                raise TrainingError(
                    "information is shared by pairs of an answer and a rationale example; a group has: "
                    f"{names}"
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
            loss=Shared(self.weight),
        )
