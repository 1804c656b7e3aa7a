"""cascade: one student writes the rationale, then reads it and writes the answer (CasCoD, arXiv 2405.19842).

As two_stage, but with shared weights: question -> rationale and (question, rationale) -> answer are two
objectives of one training, so a rationale is learned without sight of an answer to aim at. The layout is
two_stage's, so the two differ in their weights alone. The catch: at test time the second text reads the first
as the student wrote it, while training shows it the teacher's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["Cascade"]


class Cascade(Method):
    """rationale_weight x rationale loss + (1 - rationale_weight) x answer loss, by one student."""

    name: Literal["cascade"] = "cascade"
    SOURCE: ClassVar[str] = "Dai et al., Cascading Decomposed CoTs Distillation, arXiv 2405.19842"
    rationale_weight: float = Field(0.5, gt=0, lt=1)
    """The paper's 1 - alpha; 0.5 is the default of its code."""

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("rationale", writes="rationale"),
            Stage("answer", writes="answer", share=0, uses="rationale"),
        )

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """A group of two for each rationale, both of the one training; the second stage has none of its
        own."""
        if stage != "rationale":
            return []
        weight = self.rationale_weight
        reason = self.prompt("rationale", question, {})
        return [
            (
                Example(question.id, reason, r.text, "rationale", weight),
                Example(
                    question.id,
                    self.prompt("answer", question, {"rationale": r.text}),
                    write(r.answer, form),
                    "answer",
                    1 - weight,
                ),
            )
            for r in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        if stage == "rationale":
            return f"{render(question)} Solution:"
        return f"{render(question)} Solution: {written['rationale']} Answer:"
