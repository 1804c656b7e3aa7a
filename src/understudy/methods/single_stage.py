"""single_stage: question -> rationale, then answer, by one student (Magister et al., arXiv 2212.08410).

The student sees no exemplars, at training or test time. The source is the bare question, so a student
trained this way can itself be asked as a teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["SingleStage"]


class SingleStage(Method):
    """Fine-tuning on the rationale followed by the answer it reaches."""

    name: Literal["single_stage"] = "single_stage"
    SOURCE: ClassVar[str] = "Magister et al., Teaching Small Language Models to Reason, arXiv 2212.08410"

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a rationale. The answer is the rationale's own: the gold one after filtering."""
        source = self.prompt(stage, question, {})
        return [
            (Example(question.id, source, f"{rationale.text} {write(rationale.answer, form)}", "rationale"),)
            for rationale in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)
