"""answer_first: question -> answer, then its explanation (post-thinking, arXiv 2404.09170).

The answer does not hang on a rationale that may go wrong, and the rationale still teaches: an answer that
cannot be explained costs loss in the explanation too. Decoding may stop after the answer, which then costs no
more than answer_only's. We have not seen the paper's own layout; the words are those with which C-W-D/CasCoD
explains an answer. The catch: the student answers before it reasons, so questions that need reasoning may
gain little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Prediction, Question, Rationale, Written

__all__ = ["AnswerFirst"]

CUE = "Explanation:"
"""Opens the explanation, and so ends the answer."""


class AnswerFirst(Method):
    """Fine-tuning on the answer followed by the rationale."""

    name: Literal["answer_first"] = "answer_first"
    SOURCE: ClassVar[str] = "Chen et al., Post-thinking and Adaptive Thinking, arXiv 2404.09170"
    stop_after_answer: bool = True
    """Whether decoding stops where the explanation would begin; what is judged is the same."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("answer", writes="answer", stop=(CUE,) if self.stop_after_answer else ()),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a rationale."""
        source = self.prompt(stage, question, {})
        return [
            (Example(question.id, source, f"{write(r.answer, form)} {CUE} {r.text}"),) for r in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return f"{render(question)} Answer:"

    def settle(
        self,
        question: Question,
        written: Sequence[Written],
        form: AnswerForm,
        tuned: Mapping[str, Any],
    ) -> Prediction:
        """What stands before the explanation, which may state other answers on its way."""
        del form, tuned
        before, cue, _ = written[-1].text.partition(CUE)
        return Prediction(question.id, tuple(written), before.rstrip() if cue else None)
