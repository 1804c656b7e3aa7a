"""What the audits look at: a teacher's answers to a question set, judged once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from understudy import answers
from understudy.types import AnswerForm, Completion, Question, Rationale, Verdict


@dataclass(frozen=True, slots=True)
class Answered:
    """One completion of the teacher beside its question, its verdict and its reasoning."""

    question: Question
    completion: Completion
    verdict: Verdict
    text: str
    """The rationale: the completion without the final statement of its answer."""
    kept: bool


@dataclass(frozen=True, slots=True)
class Material:
    form: AnswerForm
    splits: Mapping[str, tuple[Question, ...]]
    """Every split that the run uses; the annotated questions are among them."""
    split: str
    """The one that was annotated."""
    answered: tuple[Answered, ...]
    """What the teacher could be read on: failed requests are left out."""
    rationales: tuple[Rationale, ...]
    """What curation kept."""
    shown_answer: bool | None = None
    """Whether the teacher saw the gold answer; None where that is not known."""

    @property
    def questions(self) -> tuple[Question, ...]:
        return self.splits[self.split]


def gather(
    splits: Mapping[str, tuple[Question, ...]],
    split: str,
    completions: Iterable[Completion],
    rationales: Iterable[Rationale],
    form: AnswerForm,
    shown_answer: bool | None = None,
) -> Material:
    """Judge every completion of `split`. Raises DataError when a gold cannot be read."""
    kept = tuple(rationales)
    keys = {(rationale.question_id, rationale.sample) for rationale in kept}
    by_id = {question.id: question for question in splits[split]}
    answered = []
    for completion in completions:
        if completion.finish_reason in ("error", "content_filter"):
            continue
        question = by_id[completion.question_id]
        cut_off = completion.finish_reason == "length"
        verdict = answers.judge(completion.text, question.answer, form, question.choices, cut_off=cut_off)
        text = answers.reasoning(completion.text, form, question.choices)
        key = (completion.question_id, completion.sample)
        answered.append(Answered(question, completion, verdict, text, key in keys))
    return Material(form, splits, split, tuple(answered), kept, shown_answer)
