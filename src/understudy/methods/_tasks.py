"""What methods of two tasks share: one student, a group of two examples of one question."""

from __future__ import annotations

from understudy.types import Example, Question


def both(
    question: Question, asked: tuple[str, str], explained: tuple[str, str], weight: float
) -> tuple[Example, ...]:
    """One group, so that both losses come from the same questions: (source, target) of the answer, then of
    the explanation, which has `weight` of the loss."""
    return (
        Example(question.id, *asked, "answer", 1 - weight),
        Example(question.id, *explained, "rationale", weight),
    )
