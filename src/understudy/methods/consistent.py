"""consistent: two rationales of a question must lead to one answer distribution (MCC-KD, arXiv 2310.14747).

Of each question the two right rationales that are least alike share a group; the loss is their cross-entropy
plus the symmetric KL divergence between the student's distributions on the answer after either of them. A
question with one rationale is trained with cross-entropy alone.

Differences from the paper and its code (homzer/MCC-KD): the pair is chosen once, where the code draws two of
several at each step; the answer's span runs on to the end of the text. The catch: further rationales of a
question are not used, so next to single_stage this one sees fewer texts more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar, Literal

from pydantic import Field

from understudy.checks.likeness import SHINGLE, jaccard, ngrams, normal
from understudy.learners.agreement import Agreement
from understudy.methods._answers import closed
from understudy.prompts import render
from understudy.roles import Learner, Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["Consistent"]


class Consistent(Method):
    """single_stage on pairs of rationales whose answers must agree."""

    name: Literal["consistent"] = "consistent"
    SOURCE: ClassVar[str] = "Chen et al., MCC-KD, arXiv 2310.14747"
    agreement_weight: float = Field(0.1, ge=0)
    """Of the divergence, beside 1 for the cross-entropy; 0.1 is the default of the paper's code."""

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("rationale", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One group, of two where the question has two rationales whose words differ."""
        source = self.prompt(stage, question, {})
        group = []
        for rationale in _least_alike(rationales):
            target, cut = closed(rationale, form)
            group.append(Example(question.id, source, target, "rationale", cut=cut))
        return [tuple(group)] if group else []

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return render(question)

    def learner(self, stage: str) -> Learner:
        del stage
        return Agreement(weight=self.agreement_weight)


def _least_alike(rationales: Sequence[Rationale]) -> tuple[Rationale, ...]:
    """Two that share the fewest runs of three words, the earliest such samples; one where there are no two
    whose words differ."""
    different: dict[str, Rationale] = {}
    for rationale in sorted(rationales, key=lambda r: r.sample):
        different.setdefault(normal(rationale.text), rationale)
    if len(different) < 2:
        return tuple(different.values())
    shingles = {words: ngrams(words, SHINGLE) for words in different}
    one, other = min(combinations(different, 2), key=lambda pair: jaccard(*(shingles[w] for w in pair)))
    return different[one], different[other]
