"""Completions -> rationales worth training on, every drop counted under its reason.

The catch: when the teacher was shown the answer, its accuracy here is not its own, and the caller must say so
beside the number.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from understudy.checks.language import known
from understudy.curate._authors import COUNTED, Authors, authors
from understudy.curate._filters import Sieve
from understudy.curate._spec import CurateSpec
from understudy.curate._texts import failed, failure, groups
from understudy.errors import RecipeError
from understudy.types import AnswerForm, Completion, Question, Rationale

__all__ = ["COUNTED", "CurateSpec", "Curated", "authors", "curate", "random_subset"]


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
    flagged: Mapping[str, int]
    """Reason -> completions, out of `n`, that a check catches whether it is switched on or not, whatever else
    is wrong with them. A check that needs a bound or much time is in it only when it is switched on."""
    teachers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of each of several teachers: `annotated`, `n`, `correct`, `kept` and `questions_kept` as above. Empty
    where there is one."""


def curate(
    questions: Sequence[Question],
    completions: Sequence[Completion],
    form: AnswerForm,
    spec: CurateSpec,
    teacher: str | Mapping[str, str],
) -> Curated:
    """Judge every completion and keep what `spec` asks for, by question and then by sample: the order in
    which completions arrived changes nothing. `teacher` is who wrote them, or of several, who answered each
    question, by its id. Raises DataError if a completion belongs to no question."""
    if spec.language and spec.language not in known():
        raise RecipeError(f"curate.language '{spec.language}' is unknown; write an ISO 639 code such as 'en'")
    sieve = Sieve(spec)
    sieve.dropped.update(failure(completion) for completion in completions if failed(completion))
    wrote = Authors(teacher)
    for completion in completions:
        wrote.count(completion.question_id, annotated=1, n=not failed(completion))
    for texts in groups(questions, completions, form):
        right, kept = sieve.correct, len(sieve.kept)
        sieve.put(texts)
        right, kept = sieve.correct - right, len(sieve.kept) - kept
        if texts:
            wrote.count(texts[0].question.id, correct=right, kept=kept, questions_kept=bool(kept))
    reasons = sorted(sieve.dropped.items(), key=lambda item: (-item[1], item[0]))
    return Curated(
        rationales=tuple(text.rationale(wrote.name(text.question.id)) for text in sieve.kept),
        annotated=len(completions),
        kept=len(sieve.kept),
        dropped={reason: count for reason, count in reasons if count},
        correct=sieve.correct,
        n=sum(not failed(completion) for completion in completions),
        questions_kept=len({text.question.id for text in sieve.kept}),
        flagged=sieve.flagged,
        teachers=wrote.counts(),
    )


def random_subset(rationales: Sequence[Rationale], n: int, seed: int) -> tuple[Rationale, ...]:
    """`n` of them drawn by lot, or all, in their order: a control that filtering is compared with."""
    drawn = random.Random(seed)  # noqa: S311 - not for secrets
    places = drawn.sample(range(len(rationales)), min(n, len(rationales)))
    return tuple(rationales[place] for place in sorted(places))
