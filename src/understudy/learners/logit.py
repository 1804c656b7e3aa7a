"""logit: the teacher's next-token distributions on its own rationales as soft targets.

The loss is the forward KL divergence from the teacher's distributions (Hinton et al., arXiv 1503.02531)
mixed with the plain cross-entropy of the rationale's tokens. The catch: logits of two models can be compared
only over one vocabulary. Where the tokenizers differ, `cross_tokenizer` compares sorted probabilities at the
places where both cut the text (ULD, arXiv 2402.12030, as in `trl`'s GOLD): a weaker signal. The divergences
are TRL's; the training is the plain trainer's, for decoders and encoder-decoders alike.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from understudy.roles import Learner, Lesson

__all__ = ["LogitDistillation"]


class LogitDistillation(Learner):
    """Forward KL on the teacher's rationales. Needs a teacher that gives logits."""

    name: Literal["logit"] = "logit"
    NEEDS_TEACHER: ClassVar[bool] = True
    cross_entropy: float = Field(0.5, ge=0, lt=1)
    """Part of the loss that is plain cross-entropy on the rationale's own tokens."""
    temperature: float = Field(1.0, gt=0)
    """Of both distributions: above 1 they tell more about unlikely tokens."""
    cross_tokenizer: bool = False
    """Whether a teacher of another vocabulary or architecture will do, compared by sorted probabilities."""

    def fit(self, lesson: Lesson) -> float:
        from understudy.learners import _cross, _teacher, _trl
        from understudy.learners._losses import Distilled
        from understudy.training import trainer

        teacher = _teacher.load(lesson)
        encoded, loss = lesson.encoded, None
        if self.cross_tokenizer and not _teacher.comparable(lesson.live, teacher):
            encoded = _cross.beside(lesson, teacher)
            loss = _cross.Sorted(teacher, self.temperature, self.cross_entropy)
        else:
            _teacher.agree(lesson.live, teacher)
        return trainer.fit(
            lesson.live,
            encoded,
            lesson.plan,
            lesson.spec,
            lesson.learning_rate,
            lesson.seed,
            lesson.folder,
            lesson.progress,
            journal=lesson.journal,
            loss=loss or Distilled(teacher, _trl.divergence(), self.temperature, self.cross_entropy),
        )
