"""rationalised: single_stage, and hinted rationales where the teacher fails (STaR, arXiv 2203.14465).

A question whose rationales were all wrong is asked again with the gold answer shown (`sampling.hint:
failed`), and what comes of it is used where there is no right rationale. So hard questions are not lost. STaR
lets a model teach itself in rounds; here a teacher does it once. The catch: a rationale that was made with
the answer in sight may argue for it without reaching it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale, RationaleKind

__all__ = ["Rationalised"]


class Rationalised(Method):
    """Right rationales where there are any, and hinted ones elsewhere."""

    name: Literal["rationalised"] = "rationalised"
    SOURCE: ClassVar[str] = "Zelikman et al., STaR, arXiv 2203.14465"
    WANTS: ClassVar[frozenset[RationaleKind]] = frozenset({"hinted"})
    weight: float | None = Field(None, gt=0)
    """Of the hinted rationales' mean loss in a batch, beside 1 for the others'. Without it a hinted rationale
    counts as any other, as in STaR."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example for each right rationale; for each hinted one where none is right."""
        source = self.prompt(stage, question, {})
        hinted = [r for r in rationales if r.kind == "hinted"]
        right = [r for r in rationales if r.kind == "right"]
        apart = not right and self.weight is not None
        objective, weight = ("hinted", self.weight or 1.0) if apart else ("rationale", 1.0)
        return [
            (Example(question.id, source, f"{r.text} {write(r.answer, form)}", objective, weight),)
            for r in right or hinted
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)
