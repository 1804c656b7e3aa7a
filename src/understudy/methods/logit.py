"""logit: single_stage whose targets are the teacher's next-token distributions (arXiv 1503.02531).

For teachers whose weights are at hand: a `student` or a `transformers` one. A student from scratch takes the
teacher's tokenizer; one from a checkpoint must have it, unless `cross_tokenizer` is set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from understudy.answers import write
from understudy.learners.logit import LogitDistillation
from understudy.prompts import render
from understudy.roles import Learner, Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["Logit"]


class Logit(Method):
    """Distillation of distributions on the rationales that were kept."""

    name: Literal["logit"] = "logit"
    SOURCE: ClassVar[str] = "Hinton et al., Distilling the Knowledge in a Neural Network, arXiv 1503.02531"
    cross_entropy: float = Field(0.5, ge=0, lt=1)
    """Part of the loss that is plain cross-entropy on the rationale's own tokens."""
    temperature: float = Field(1.0, gt=0)
    """Of both distributions: above 1 they tell more about unlikely tokens."""
    cross_tokenizer: bool = False
    """Whether a teacher of another vocabulary or architecture will do: Universal Logit Distillation
    (arXiv 2402.12030), a weaker signal."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.cross_tokenizer and not self.cross_entropy:
            raise ValueError(
                "sorted probabilities do not say which tokens they are of: with cross_tokenizer, give a "
                "cross_entropy above 0"
            )
        return self

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a rationale, as in single_stage."""
        source = self.prompt(stage, question, {})
        return [
            (Example(question.id, source, f"{rationale.text} {write(rationale.answer, form)}", "rationale"),)
            for rationale in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)

    def learner(self, stage: str) -> Learner:
        del stage
        return LogitDistillation(
            cross_entropy=self.cross_entropy,
            temperature=self.temperature,
            cross_tokenizer=self.cross_tokenizer,
        )
