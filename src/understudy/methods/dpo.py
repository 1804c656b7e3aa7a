"""dpo: fine-tuning on right rationales, then preference of right over wrong ones (arXiv 2305.18290).

The wrong rationales are those that curation drops because they miss the gold answer: they are paid for, and
tell what to avoid. The catch: questions that the teacher always or never gets right give no pair, so sample
several rationales a question (`sampling.n`) and look at how many pairs there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import write
from understudy.learners.preference import Preference
from understudy.prompts import render
from understudy.roles import Learner, Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale, RationaleKind

__all__ = ["DirectPreference"]


class DirectPreference(Method):
    """single_stage, whose student then learns to prefer right rationales; the two share one budget."""

    name: Literal["dpo"] = "dpo"
    SOURCE: ClassVar[str] = "Rafailov et al., Direct Preference Optimization, arXiv 2305.18290"
    WANTS: ClassVar[frozenset[RationaleKind]] = frozenset({"wrong"})
    preference_share: float = Field(0.25, gt=0, lt=1)
    """Part of the budget that is spent on preferences, after fine-tuning."""
    preference_rate: float = Field(0.1, gt=0)
    """Multiple of the learning rate that preferences are learned with. Fine-tuning's own is far too high for
    them; a tenth or less is the custom."""
    beta: float = Field(0.1, gt=0)
    """How closely the student is held to the fine-tuned one: the lower, the further it may go."""
    likelihood: float = Field(1.0, ge=0)
    """Weight of the right rationale's cross-entropy in the loss, as in iterative RPO (arXiv 2404.19733).
    It holds up what plain DPO, which is 0, may let fall."""

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("rationale", writes="both", share=1 - self.preference_share, asked=False),
            Stage(
                "preference",
                writes="both",
                share=self.preference_share,
                start_from="rationale",
                rate=self.preference_rate,
            ),
        )

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a right rationale; then pairs of a right and a wrong one, each used at least once."""
        right = [self._target(r, form) for r in rationales if r.kind != "wrong"]
        source = self.prompt(stage, question, {})
        if stage == "rationale":
            return [(Example(question.id, source, target, "rationale"),) for target in right]
        wrong = [self._target(r, form) for r in rationales if r.kind == "wrong"]
        if not right or not wrong:
            return []
        return [
            (
                Example(question.id, source, right[at % len(right)], "chosen"),
                # Without weight: a mean loss, such as that on dev, is the chosen one's.
                Example(question.id, source, wrong[at % len(wrong)], "rejected", 0.0),
            )
            for at in range(max(len(right), len(wrong)))
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)

    def learner(self, stage: str) -> Learner | None:
        if stage == "rationale":
            return None
        return Preference(beta=self.beta, likelihood=self.likelihood)

    @staticmethod
    def _target(rationale: Rationale, form: AnswerForm) -> str:
        return f"{rationale.text} {write(rationale.answer, form)}"
