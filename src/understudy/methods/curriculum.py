"""curriculum: single_stage, trained on easy questions first (Bengio et al., ICML 2009).

Only the order differs, so whatever it gains over single_stage is the order's. The data grow from the easiest
on (competence-based, arXiv 1903.09848), within the same budget. The catch: what is easy for a person or short
to say need not be what is easy for a student.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["Curriculum"]

_SENTENCE = re.compile(r"[.!?](?=\s|$)|\n")


class Curriculum(Method):
    """Fine-tuning on rationale and answer, easy examples first."""

    name: Literal["curriculum"] = "curriculum"
    SOURCE: ClassVar[str] = (
        "Bengio et al., Curriculum Learning, ICML 2009; Platanios et al., arXiv 1903.09848"
    )
    by: Literal["steps", "length"] = "steps"
    """What makes a question hard: its number of steps, where the data set knows it, and else the sentences of
    its rationale; or how many characters its rationale has."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both", order="easy_first"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a rationale."""
        source = self.prompt(stage, question, {})
        return [
            (
                Example(
                    question.id,
                    source,
                    f"{r.text} {write(r.answer, form)}",
                    "rationale",
                    difficulty=self._difficulty(question, r),
                ),
            )
            for r in rationales
        ]

    def _difficulty(self, question: Question, rationale: Rationale) -> float:
        if self.by == "length":
            return float(len(rationale.text))
        sentences = len(_SENTENCE.findall(rationale.text.strip())) or 1
        return float(sentences if question.steps is None else question.steps)

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)
