"""mutual_information: step_by_step whose two tasks are tied (Chen et al., arXiv 2403.03348).

Beside the losses of `predict:` and `explain:` a term pulls the tokens that the rationale's task holds likely
towards those that the answer's task does; `learners/mutual_information.py` says how. Layout and prompts are
step_by_step's, so the two differ in that term alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import write
from understudy.learners.mutual_information import MutualInformation
from understudy.methods._tasks import both
from understudy.prompts import render
from understudy.roles import Learner, Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["MutuallyInformed"]


class MutuallyInformed(Method):
    """step_by_step's loss + information_weight x the term that ties the two tasks."""

    name: Literal["mutual_information"] = "mutual_information"
    SOURCE: ClassVar[str] = "Chen et al., Learning to Maximize Mutual Information, arXiv 2403.03348"
    rationale_weight: float = Field(0.5, gt=0, lt=1)
    """The paper's 1 - alpha; 0.5 is what its authors recommend."""
    information_weight: float = Field(0.1, ge=0)
    """The paper's beta; 0.1 is what its authors recommend, and 0 is step_by_step."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("predict", writes="answer"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """A group of two for each rationale, so that the two tasks of a question meet in one batch."""
        source = self.prompt(stage, question, {})
        explain = f"explain: {render(question)}"
        return [
            both(question, (source, write(r.answer, form)), (explain, r.text), self.rationale_weight)
            for r in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"predict: {render(question)}"

    def learner(self, stage: str) -> Learner:
        del stage
        return MutualInformation(weight=self.information_weight)
