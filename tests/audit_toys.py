"""Toys for the audits: materials that can be counted in the head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from understudy.audit.material import Material, gather
from understudy.types import AnswerForm, Completion, FinishReason, Question, Rationale

SKY = Question("Which is up?", "B", ("the sea", "the sky"))
STONE = Question("Which is hard?", "A", ("a stone", "the water"))


def said(question: Question, sample: int, text: str, finish: FinishReason = "stop") -> Completion:
    return Completion(question.id, sample, text, finish)


def numbers(*golds: str, text: str = "Question number {}?") -> tuple[Question, ...]:
    return tuple(Question(text.format(i), gold) for i, gold in enumerate(golds))


def material(
    questions: Sequence[Question],
    completions: Iterable[Completion],
    form: AnswerForm = "number",
    kept: Iterable[tuple[Question, int]] = (),
    shown_answer: bool | None = None,
) -> Material:
    rationales = [Rationale(question.id, sample, "", question.answer) for question, sample in kept]
    return gather({"train": tuple(questions)}, "train", completions, rationales, form, shown_answer)
