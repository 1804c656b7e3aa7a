"""two_stage: one student writes the rationale, another infers the answer from it (Sci-CoT, arXiv 2308.04679).

At test time stage 2 reads the rationale that stage 1 *generated*; its accuracy with the teacher's rationale
is an upper bound and is reported apart. Trained on the teacher's rationales alone, stage 2 has never seen a
rationale as bad as those it will read; `reads: student` trains it on stage 1's own, written for questions
that stage 1 was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["TwoStage"]


class TwoStage(Method):
    """Rationale student, then answer student; the two share one training budget."""

    name: Literal["two_stage"] = "two_stage"
    SOURCE: ClassVar[str] = "Ma et al., Sci-CoT, arXiv 2308.04679"
    rationale_share: float = Field(0.75, gt=0, lt=1)
    """Part of the budget that trains stage 1: reading an answer out of a rationale is the easier job."""
    warm_start: bool = False
    """Start stage 2 from stage 1's weights, for students from scratch: a checkpoint can read already, and
    random weights would spend the budget of stage 2 on learning to."""
    reads: Literal["teacher", "student", "both"] = "teacher"
    """Whose rationales stage 2 is trained on: the teacher's; stage 1's own, each written by a student that
    was not trained on its question (cross-fitting); or both. The last two train stage 1 `folds` more times,
    which the report counts apart from the budget."""
    folds: int = Field(2, ge=2)
    """Parts that the questions are cut into for cross-fitting."""

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("rationale", writes="rationale", share=self.rationale_share),
            Stage(
                "answer",
                writes="answer",
                share=1 - self.rationale_share,
                start_from="rationale" if self.warm_start else "",
                reads=self.reads,
                folds=self.folds,
            ),
        )

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        return [(self._example(stage, question, rationale, form),) for rationale in rationales]

    def _example(self, stage: str, question: Question, rationale: Rationale, form: AnswerForm) -> Example:
        source = self.prompt(stage, question, {"rationale": rationale.text})
        if stage == "rationale":
            return Example(question.id, source, rationale.text, "rationale")
        return Example(question.id, source, write(rationale.answer, form))

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        if stage == "rationale":
            return f"{render(question)} Solution:"
        return f"{render(question)} Solution: {written['rationale']} Answer:"
