"""mt_ra: one student, two tasks: question -> answer, and -> answer, rationale (MT-Ra, arXiv 2210.06726).

The explanation rationalises an answer that is already given. Only the short task is asked at test time. The
words are those of its reproduction in C-W-D/CasCoD.
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

__all__ = ["MultiTaskRationalization"]


class MultiTaskRationalization(Method):
    """(1 - rationale_weight) x answer loss + rationale_weight x explanation loss."""

    name: Literal["mt_ra"] = "mt_ra"
    SOURCE: ClassVar[str] = (
        "Li et al., Explanations from Large Language Models Make Small Reasoners Better, arXiv 2210.06726"
    )
    rationale_weight: float = Field(0.5, gt=0, lt=1)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("answer", writes="answer"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """A group of two for each rationale."""
        asked, explain = self.prompt(stage, question, {}), f"{render(question)} [Explanation Generation]:"
        return [
            both(
                question,
                (asked, write(r.answer, form)),
                (explain, f"{write(r.answer, form)} Explanation: {r.text}"),
                self.rationale_weight,
            )
            for r in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"{render(question)} [Answer Prediction]:"
