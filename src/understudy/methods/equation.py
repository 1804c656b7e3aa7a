"""equation: question -> the rationale's equations as a program without results, which a calculator runs.

    12 / 2 = #1; #1 - 4 = #2; The answer is #2.

After Equation-of-Thought Distillation (Zhu et al., arXiv 2401.11864) and program-aided distillation: the
student plans and never calculates. Theirs are systems of equations or Python; ours is a chain of sums in a
layout of our own, made from the same rationales as every other method's, and nothing but sums is ever
calculated (`checks.program`).

The catch: not every rationale is a chain of sums. A question none of whose rationales has a program falls
back to `fallback`, so the student learns two kinds of answers and chooses between them at test time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from understudy.answers import write
from understudy.checks.program import program_of, run
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Prediction, Question, Rationale, Written

__all__ = ["Equation"]


class Equation(Method):
    """Fine-tuning on programs; the answer is what they come to."""

    name: Literal["equation"] = "equation"
    SOURCE: ClassVar[str] = "EoTD, Zhu et al., arXiv 2401.11864"
    fallback: Literal["rationale", "answer"] = "rationale"
    """What is learned for a question without a program, and for every one that asks for no number: the
    rationale and its answer, or the answer alone."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("program", writes="answer"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example for each distinct program; where there is none, for each rationale, or one answer."""
        source = self.prompt(stage, question, {})
        targets = self._programs(question, rationales, form)
        if not targets and self.fallback == "rationale":
            targets = [f"{rationale.text} {write(rationale.answer, form)}" for rationale in rationales]
        if not targets and rationales:
            targets = [write(rationales[0].answer, form)]
        return [(Example(question.id, source, target, "program"),) for target in targets]

    def _programs(self, question: Question, rationales: Sequence[Rationale], form: AnswerForm) -> list[str]:
        if form != "number":
            return []
        asked = f"{question.context} {question.text}"
        found = (program_of(rationale.text, rationale.answer, asked) for rationale in rationales)
        return list(dict.fromkeys(program for program in found if program is not None))

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"{render(question)} Program:"

    def settle(
        self,
        question: Question,
        written: Sequence[Written],
        form: AnswerForm,
        tuned: Mapping[str, Any],
    ) -> Prediction:
        """The program's result as the answer. A text that is no program is judged as it is written; a program
        that does not run has no answer, lest the digit of a reference be read as one."""
        del tuned
        outcome = run(written[-1].text) if form == "number" else None
        if outcome is None:
            return Prediction(question.id, tuple(written))
        if outcome.value is None:
            return Prediction(question.id, tuple(written), f"This program has no result: {outcome.fault}.")
        return Prediction(question.id, tuple(written), write(outcome.answer, form))
