"""on_policy: the student writes, the teacher's distribution corrects each token: GKD (arXiv 2306.13649).

A share of the batches is answered by the student as it is at that moment, the others are the teacher's own
rationales; on both, the loss is the generalized Jensen-Shannon divergence between the two models' next-token
distributions. The catch: a step that writes costs many times one that only reads, and the plan's tokens
count what was read; methods with the same number of steps do not take the same time. Decoders are trained by
`trl`'s GKDTrainer, encoder-decoders, which it does not know, with its loss in the plain trainer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from understudy.roles import Learner, Lesson, LiveStudent

__all__ = ["OnPolicyDistillation"]


class OnPolicyDistillation(Learner):
    """GKD. Needs a teacher of the student's architecture and vocabulary that gives logits."""

    name: Literal["on_policy"] = "on_policy"
    NEEDS_TEACHER: ClassVar[bool] = True
    on_policy: float = Field(0.5, ge=0, le=1)
    """The paper's lambda: share of the batches that the student answers itself."""
    beta: float = Field(1.0, ge=0, le=1)
    """Which divergence: 0 is the forward KL, 1 the reverse one, which forgives a small student what it cannot
    say; between them lies the Jensen-Shannon divergence."""
    temperature: float = Field(1.0, gt=0)
    """Of the student's own writing. The divergence is always at 1."""
    max_new_tokens: int = Field(128, gt=0)
    """Where the student's own writing is cut off in training."""

    def fit(self, lesson: Lesson) -> float:
        from understudy.learners import _teacher, _trl

        teacher = _teacher.load(lesson)
        _teacher.agree(lesson.live, teacher)
        if lesson.live.kind == "causal":
            return self._trl(lesson, teacher)
        from understudy.learners._losses import OnPolicy
        from understudy.training import trainer

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
            loss=OnPolicy(
                lesson.live,
                teacher,
                _trl.divergence(),
                share=self.on_policy,
                beta=self.beta,
                temperature=self.temperature,
                max_new_tokens=self.max_new_tokens,
            ),
        )

    def _trl(self, lesson: Lesson, teacher: LiveStudent) -> float:
        from understudy.learners import _trl

        settings = _trl.part("trl.experimental.gkd", "GKDConfig")

        def config(**plain: Any) -> Any:
            return settings(
                **plain,
                lmbda=self.on_policy,
                beta=self.beta,
                temperature=self.temperature,
                max_new_tokens=self.max_new_tokens,
                max_length=None,
            )

        kind = _flushed(_trl.part("trl.experimental.gkd", "GKDTrainer"))
        return _trl.fit(lesson, kind, config, _Collate(lesson.live), teacher_model=teacher.model)


def _flushed(kind: Any) -> Any:
    """The trainer, but what the student wrote is moved to the left edge: padding before the prompt would move
    positions that are absolute."""
    from understudy.learners import _trl

    flush_left = _trl.part("trl.trainer.utils", "flush_left")

    class Flushed(kind):  # type: ignore[misc]
        @staticmethod
        def generate_on_policy_outputs(model: Any, inputs: Any, generation_config: Any) -> Any:
            written, mask, labels = kind.generate_on_policy_outputs(model, inputs, generation_config)
            mask, written, labels = flush_left(mask, written, labels)
            return written, mask, labels.masked_fill(mask == 0, -100)

    return Flushed


class _Collate:
    """Groups -> what GKDTrainer reads: whole texts, padded on the right, and their prompts, on the left."""

    def __init__(self, live: LiveStudent) -> None:
        self.pad: int = live.pad  # type: ignore[attr-defined]

    def __call__(self, groups: Sequence[tuple[Mapping[str, Any], ...]]) -> dict[str, Any]:
        from understudy.students._live import IGNORED, pad

        rows = [row for group in groups for row in group]
        whole = [[*row["source"], *row["target"]] for row in rows]
        sources = [row["source"] for row in rows]
        labels = [[IGNORED] * len(row["source"]) + list(row["target"]) for row in rows]
        return {
            "input_ids": pad(whole, self.pad),
            "attention_mask": pad([[1] * len(row) for row in whole], 0),
            "labels": pad(labels, IGNORED),
            "prompts": pad(sources, self.pad, left=True),
            "prompt_attention_mask": pad([[1] * len(row) for row in sources], 0, left=True),
        }
