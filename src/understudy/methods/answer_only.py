"""answer_only: question -> answer, no rationale. The control that is never optional.

Small students often lose with plain chain-of-thought (Ho et al., Fine-tune-CoT), so every claim of a
gain is a claim against this method, tuned as carefully and given the same budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["AnswerOnly"]


class AnswerOnly(Method):
    """Fine-tuning on the gold answer alone."""

    name: Literal["answer_only"] = "answer_only"

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("answer", writes="answer"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a question, however many rationales it has."""
        del stage, rationales
        source = self.prompt("answer", question, {})
        return [(Example(question.id, source, write(question.answer, form)),)]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"{render(question)} Answer:"
