"""mix: long and short rationales, or a strong and a weak teacher's, by share (arXiv 2502.12143).

Small students learn worse from long or strong rationales alone than from a mix of about one to four. Which
kind a question is given is decided by a hash of it, so the choice hangs on nothing else and methods and seeds
agree on it. The catch: a question that has one kind only gives that kind, so draw several rationales a
question, or name two teachers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from statistics import median
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["Mix"]


class Mix(Method):
    """single_stage on one kind of rationale for each question."""

    name: Literal["mix"] = "mix"
    SOURCE: ClassVar[str] = (
        "Li et al., Small Models Struggle to Learn from Strong Reasoners, arXiv 2502.12143"
    )
    by: Literal["length", "teacher"] = "length"
    """What tells the kinds apart: whether a rationale is longer than the median of its question's, or who
    wrote it."""
    strong: str = ""
    """For `by: teacher`: which teacher's are the strong ones, by its label; all others are weak."""
    share: float = Field(0.2, ge=0, le=1)
    """Of the questions, those that give their long, or strong, rationales; the others give the rest."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if bool(self.strong) != (self.by == "teacher"):
            raise ValueError("'strong' names the strong teacher of 'by: teacher': give both, or neither")
        return self

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example for each rationale of the question's kind."""
        source = self.prompt(stage, question, {})
        return [
            (Example(question.id, source, f"{r.text} {write(r.answer, form)}", "rationale"),)
            for r in self._chosen(question, rationales)
        ]

    def _chosen(self, question: Question, rationales: Sequence[Rationale]) -> Sequence[Rationale]:
        middle = median([len(r.text) for r in rationales]) if rationales else 0
        much: list[Rationale] = []
        little: list[Rationale] = []
        for rationale in rationales:
            strong = (
                rationale.teacher == self.strong if self.by == "teacher" else len(rationale.text) > middle
            )
            (much if strong else little).append(rationale)
        wanted, other = (much, little) if _place(question) < self.share else (little, much)
        return wanted or other

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)


def _place(question: Question) -> float:
    """In [0, 1), by the question alone."""
    digest = hashlib.sha256(f"mix {question.id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
