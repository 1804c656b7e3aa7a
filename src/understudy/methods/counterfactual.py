"""counterfactual: the answer must follow the rationale, even a wrong one (SCOTT, arXiv 2305.01879).

A prefix tells two tasks apart, as in the paper's code (wangpf3/consistent-CoT-distillation). Under
[Factual] the student learns rationale and answer, as in single_stage. Under [Counterfactual] it reads a
rationale that argues for a wrong answer and learns that answer alone: no loss falls on the rationale. Only
[Factual] is asked at test time.

Differences: the paper's teacher is asked for counterfactual rationales and decodes them contrastively; here
`of: asked` asks without that, and `of: wrong` takes what the teacher wrote by itself and got wrong. The
prefix stands in the source alone, not in the target too. The catch: with `wrong` the easy questions have
none, and a rationale with a slip may well argue for the right answer until its last line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.methods._answers import closed
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale, RationaleKind

__all__ = ["Counterfactual"]


class Counterfactual(Method):
    """(1 - counterfactual_weight) x factual loss + counterfactual_weight x counterfactual answer loss."""

    name: Literal["counterfactual"] = "counterfactual"
    SOURCE: ClassVar[str] = "Wang et al., SCOTT, arXiv 2305.01879"
    of: Literal["wrong", "asked"] = "wrong"
    """Whose wrong answers: "wrong" takes the teacher's own, which are free; "asked" has the teacher argue for
    a wrong answer, which is paid for and there for every question."""
    counterfactual_weight: float = Field(0.5, gt=0, lt=1)
    """Of the answers' mean loss after wrong rationales; 0.5 is that of the paper's script."""

    def wants(self) -> frozenset[RationaleKind]:
        return frozenset({self._kind})

    @property
    def _kind(self) -> RationaleKind:
        return "wrong" if self.of == "wrong" else "counterfactual"

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """A group for each right rationale, over which the wrong ones are dealt out, each used once."""
        right = [r for r in rationales if r.kind not in ("wrong", "counterfactual")]
        wrong = [r for r in rationales if r.kind == self._kind and r.text]
        source = self.prompt(stage, question, {})
        asked = f"[Counterfactual] {render(question)}"
        weight = self.counterfactual_weight
        groups: list[tuple[Example, ...]] = []
        for place, rationale in enumerate(right):
            target, _ = closed(rationale, form)
            group = [Example(question.id, source, target, "rationale", 1 - weight)]
            for other in wrong[place :: len(right)]:
                target, cut = closed(other, form)
                group.append(
                    Example(question.id, asked, target, "counterfactual", weight, cut=cut, silent=True)
                )
            groups.append(tuple(group))
        return groups

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"[Factual] {render(question)}"
