"""Completions -> rationales worth training on, every drop counted under its reason.

The catch: when the teacher was shown the answer, its accuracy here is not its own, and the caller must
say so beside the number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from understudy import answers
from understudy.errors import DataError
from understudy.roles import Spec
from understudy.types import AnswerForm, Completion, Question, Rationale, Verdict


class CurateSpec(Spec):
    """Which rationales are kept."""

    right_answer: bool = True
    """Drop a rationale whose answer is not the gold answer. Off, it keeps the answer that its teacher
    gave; one without any readable answer is dropped all the same, for there is nothing to train towards."""
    complete: bool = True
    """Drop a completion that was cut off by its length limit."""
    distinct: bool = True
    """Drop a rationale that repeats another of the same question word for word."""
    per_question: int | None = Field(None, gt=0)
    """Keep at most this many rationales of one question, the first sampled ones."""


@dataclass(frozen=True, slots=True)
class Curated:
    """What was kept and why the rest was not: `annotated` is `kept` plus the sum of `dropped`."""

    rationales: tuple[Rationale, ...]
    annotated: int
    kept: int
    dropped: Mapping[str, int]
    """Reason -> completions; each completion is counted once, under the first reason that applies."""
    correct: int
    """Completions whose answer is the gold answer, judged before any filter."""
    n: int
    """Completions that hold text at all, cut off or not; `correct / n` is the teacher's accuracy."""
    questions_kept: int
    """Questions that have at least one rationale left."""


def curate(
    questions: Sequence[Question],
    completions: Sequence[Completion],
    form: AnswerForm,
    spec: CurateSpec,
    teacher: str,
) -> Curated:
    """Judge every completion, keep what `spec` asks for, in the order of `completions`.

    Raises DataError if a completion belongs to no question.
    """
    by_id = {question.id: question for question in questions}
    sieve = _Sieve(spec, teacher)
    for completion in completions:
        if completion.question_id not in by_id:
            raise DataError(f"a completion answers question {completion.question_id}, which was not asked")
        sieve.add(by_id[completion.question_id], completion, form)
    return Curated(
        rationales=tuple(sieve.kept),
        annotated=len(completions),
        kept=len(sieve.kept),
        dropped=dict(sieve.dropped.most_common()),
        correct=sieve.correct,
        n=sieve.answered,
        questions_kept=len(sieve.per_question),
    )


class _Sieve:
    def __init__(self, spec: CurateSpec, teacher: str) -> None:
        self.spec = spec
        self.teacher = teacher
        self.kept: list[Rationale] = []
        self.dropped: Counter[str] = Counter()
        self.per_question: Counter[str] = Counter()
        self.seen: set[tuple[str, str]] = set()
        self.correct = 0
        self.answered = 0

    def add(self, question: Question, completion: Completion, form: AnswerForm) -> None:
        if completion.finish_reason in ("error", "content_filter"):
            self.dropped[_failure(completion)] += 1
            return
        verdict = answers.judge(completion.text, question.answer, form, question.choices)
        self.answered += 1
        self.correct += verdict.name == "correct"
        text = answers.reasoning(completion.text, form, question.choices)
        fault = self._fault(completion, verdict, text)
        if fault:
            self.dropped[fault] += 1
            return
        answer = question.answer if verdict.name == "correct" else verdict.extracted or ""
        self.kept.append(Rationale(question.id, completion.sample, text, answer, self.teacher))
        self.per_question[question.id] += 1
        self.seen.add((question.id, _words(text)))

    def _fault(self, completion: Completion, verdict: Verdict, text: str) -> str:
        """Why this one is dropped, or nothing. A cut-off text rarely holds an answer, so that reason
        comes before the answer's; an exhausted limit comes last, so that it counts good ones only."""
        spec = self.spec
        question_id = completion.question_id
        if spec.complete and completion.finish_reason == "length":
            return "cut off"
        if verdict.name == "no_answer":
            return "no answer"
        if spec.right_answer and verdict.name == "wrong":
            return "wrong answer"
        if not text.strip():
            return "no rationale"
        if spec.distinct and (question_id, _words(text)) in self.seen:
            return "repeated"
        if spec.per_question is not None and self.per_question[question_id] >= spec.per_question:
            return "over the limit per question"
        return ""


def _failure(completion: Completion) -> str:
    """The kind of failure, without its detail: a reason must be one that several completions share."""
    if completion.finish_reason == "content_filter":
        return "content filter"
    return completion.error.partition(":")[0].strip() or "not answered"


def _words(text: str) -> str:
    return " ".join(text.split())
