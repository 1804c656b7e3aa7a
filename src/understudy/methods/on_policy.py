"""on_policy: fine-tuning on rationales, then on the student's own, corrected (GKD, arXiv 2306.13649).

For teachers whose weights are at hand: a `student` or a `transformers` one, of the student's architecture and
vocabulary. A student from scratch takes the teacher's tokenizer. The first stage is single_stage: a student
that cannot write yet has nothing that is worth correcting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.answers import write
from understudy.learners.on_policy import OnPolicyDistillation
from understudy.prompts import render
from understudy.roles import Learner, Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["OnPolicy"]


class OnPolicy(Method):
    """Generalized Knowledge Distillation; the two stages share one budget."""

    name: Literal["on_policy"] = "on_policy"
    SOURCE: ClassVar[str] = "Agarwal et al., On-Policy Distillation of Language Models, arXiv 2306.13649"
    policy_share: float = Field(0.25, gt=0, lt=1)
    """Part of the budget that is spent on the student's own texts, after fine-tuning."""
    on_policy: float = Field(0.5, ge=0, le=1)
    """The paper's lambda: share of that stage's batches that the student answers itself; the others are the
    teacher's rationales."""
    beta: float = Field(1.0, ge=0, le=1)
    """Which divergence: 0 is the forward KL, 1 the reverse one."""
    temperature: float = Field(1.0, gt=0)
    """Of the student's own writing in training."""
    max_new_tokens: int = Field(128, gt=0)
    """Where the student's own writing is cut off in training."""

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("rationale", writes="both", share=1 - self.policy_share, asked=False),
            Stage("policy", writes="both", share=self.policy_share, start_from="rationale"),
        )

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a rationale, in both stages."""
        source = self.prompt(stage, question, {})
        return [
            (Example(question.id, source, f"{rationale.text} {write(rationale.answer, form)}", "rationale"),)
            for rationale in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)

    def learner(self, stage: str) -> Learner | None:
        if stage == "rationale":
            return None
        return OnPolicyDistillation(
            on_policy=self.on_policy,
            beta=self.beta,
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
        )
