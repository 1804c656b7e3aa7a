"""mt_re: one student, two tasks: question -> answer, and -> rationale (MT-Re, arXiv 2210.06726).

Only the answer is asked for at test time, so it costs no rationale tokens. It is step_by_step with the task
named after the question, where a decoder reads it last. The words are those of its reproduction in
C-W-D/CasCoD.
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

__all__ = ["MultiTaskReasoning"]


class MultiTaskReasoning(Method):
    """(1 - rationale_weight) x answer loss + rationale_weight x rationale loss."""

    name: Literal["mt_re"] = "mt_re"
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
        asked, explain = self.prompt(stage, question, {}), f"{render(question)} Rationale:"
        return [
            both(
                question,
                (asked, write(r.answer, form)),
                (explain, r.text),
                self.rationale_weight,
            )
            for r in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"{render(question)} Answer:"
