"""diverse: up to `degree` different rationales of each question (Fine-tune-CoT, arXiv 2212.10071).

Drawn at some temperature (`sampling.n`, 0.7 in the paper) and told apart by their words. One annotation
serves every smaller degree, at the same budget: more rationales mean fewer passes over each. The catch:
questions that the teacher finds hard keep few rationales, so a higher degree leans towards easy questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import CUE, write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["Diverse"]


class Diverse(Method):
    """single_stage on a fixed number of rationales a question."""

    name: Literal["diverse"] = "diverse"
    SOURCE: ClassVar[str] = "Ho et al., Large Language Models Are Reasoning Teachers, arXiv 2212.10071"
    degree: int = Field(8, gt=0)
    """Rationales of a question at most, from the first sample on; 1 is Fine-tune-CoT without diversity."""
    layout: Literal["sentence", "arrow"] = "sentence"
    """How the answer is stated: "The answer is 5.", or the paper's "--> 5". The judge reads both, but the
    strict reading only the sentence."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example for each of the chosen rationales."""
        source = self.prompt(stage, question, {})
        different: dict[str, Rationale] = {}
        for rationale in sorted(rationales, key=lambda r: r.sample):
            different.setdefault(" ".join(rationale.text.casefold().split()), rationale)
        return [
            (Example(question.id, source, f"{r.text} {self._stated(r.answer, form)}", "rationale"),)
            for r in list(different.values())[: self.degree]
        ]

    def _stated(self, answer: str, form: AnswerForm) -> str:
        sentence = write(answer, form)
        if self.layout == "sentence":
            return sentence
        return f"-->{sentence.removeprefix(CUE).removesuffix('.')}"

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)
