"""How questions are put: to students in one line, to teachers as few-shot or zero-shot messages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from understudy.roles import Spec
from understudy.types import LABELS, Question


class PromptSpec(Spec):
    """How the teacher is asked. `show_answer` puts the gold answer after the question and before the
    rationale, in the exemplars and in the query (Magister et al.)."""

    style: Literal["few_shot", "zero_shot", "bare"] = "few_shot"
    """"bare" is the student's own one-line form, for teachers that are trained students."""
    exemplars: int = Field(8, ge=0)
    show_answer: bool = False
    system: str = ""


def render(question: Question) -> str:
    """The question in one line, as students read it: T5's tokenizer has no newline to lose.

    The layout is that of Sci-CoT's closest public code (multimodal-CoT), with spaces for newlines.
    """
    parts = [f"Question: {question.text}"]
    if question.context:
        parts.append(f"Context: {question.context}")
    if question.choices:
        options = " ".join(f"({LABELS[i]}) {text}" for i, text in enumerate(question.choices))
        parts.append(f"Options: {options}")
    return " ".join(" ".join(part.split()) for part in parts)
