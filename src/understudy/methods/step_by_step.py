"""step_by_step: one student, two tasks told apart by a prefix (Hsieh et al., Distilling Step-by-Step).

`predict:` is answered with the answer, `explain:` with the rationale; the loss is a weighted sum of the
two mean token losses. Only `predict:` is asked at test time, so an answer costs no rationale tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import write
from understudy.methods._tasks import both
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["StepByStep"]


class StepByStep(Method):
    """Multi-task fine-tuning: (1 - rationale_weight) x answer loss + rationale_weight x rationale loss."""

    name: Literal["step_by_step"] = "step_by_step"
    SOURCE: ClassVar[str] = "Hsieh et al., Distilling Step-by-Step, arXiv 2305.02301"
    rationale_weight: float = Field(0.5, gt=0, lt=1)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("predict", writes="answer"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """A group of two for each rationale, so that both losses come from the same questions."""
        source = self.prompt(stage, question, {})
        explain = f"explain: {render(question)}"
        return [
            both(question, (source, write(r.answer, form)), (explain, r.text), self.rationale_weight)
            for r in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"predict: {render(question)}"
