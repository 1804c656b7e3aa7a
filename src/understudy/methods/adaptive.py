"""adaptive: one student that answers at once where it is sure, and reasons first where it is not.

The idea is adaptive thinking's (arXiv 2404.09170), which trains a module to choose; the rule here is that of
certainty-based routing (CAR, arXiv 2505.15154): the quick answer's own probability decides. CAR models the
perplexities of right and of wrong answers; here a threshold is fitted on dev. Both tasks are trained in every
batch. The catch: a student is surest of what it knows by heart, so the threshold is fitted on questions that
it was not trained on, and holds as far as dev is like the test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from understudy.answers import judge, write
from understudy.errors import DataError, TrainingError
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Prediction, Question, Rationale, Written

__all__ = ["Adaptive"]

NEVER = 2.0
"""A threshold that no probability reaches: it always reasons."""
POINTS = 100
"""Thresholds that are tried at most, evenly spaced among the quick answers by their probability."""


class Adaptive(Method):
    """(1 - rationale_weight) x quick answer's loss + rationale_weight x reasoned answer's loss."""

    name: Literal["adaptive"] = "adaptive"
    SOURCE: ClassVar[str] = (
        "Chen et al., Adaptive Thinking, arXiv 2404.09170; Lu et al., Certainty-based Adaptive Routing, "
        "arXiv 2505.15154"
    )
    TUNED: ClassVar[bool] = True
    rationale_weight: float = Field(0.5, gt=0, lt=1)
    tolerance: float = Field(0.01, ge=0, lt=1)
    """How far the accuracy on dev may stay below the best, as a fraction, for the sake of fewer tokens."""

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("predict", writes="answer"),
            Stage("reason", writes="both", share=0, uses="predict"),
        )

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """A group of two for each rationale, both of the one training; the second stage has none of its
        own."""
        if stage != "predict":
            return []
        quick, slow = (self.prompt(name, question, {}) for name in ("predict", "reason"))
        weight = self.rationale_weight
        return [
            (
                Example(question.id, quick, write(r.answer, form), "answer", 1 - weight),
                Example(question.id, slow, f"{r.text} {write(r.answer, form)}", "rationale", weight),
            )
            for r in rationales
        ]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del written
        return f"{stage}: {render(question)}"

    def settle(
        self,
        question: Question,
        written: Sequence[Written],
        form: AnswerForm,
        tuned: Mapping[str, Any],
    ) -> Prediction:
        """The quick answer alone where it is sure; else both, of which the reasoned one counts. So the tokens
        are those of a student that stops there."""
        del form
        sure = bool(tuned) and _certainty(written[0]) >= tuned["threshold"]
        return Prediction(question.id, tuple(written[:1] if sure else written))

    def tune(self, rows: Sequence[tuple[Question, Sequence[Written]]], form: AnswerForm) -> dict[str, Any]:
        """`threshold`: of those whose accuracy is within `tolerance` of the best, the one that costs the
        fewest tokens. `curve`: what each threshold gives: accuracy, mean tokens, share of questions answered
        at once.

        Raises DataError without questions, TrainingError where no probability was measured.
        """
        if not rows:
            raise DataError("the method 'adaptive' fits its threshold on dev, which is empty: set 'data.dev'")
        if any(written[0].logprob is None for _, written in rows):
            raise TrainingError(
                "the method 'adaptive' needs the probabilities of quick answers, and some were not measured: "
                "ask its student again"
            )
        dev = [_Row(question, written, form) for question, written in rows]
        levels = sorted({row.certainty for row in dev})
        stride = math.ceil(len(levels) / POINTS)
        curve = [_point(dev, threshold) for threshold in [0.0, *levels[::stride], NEVER]]
        best = max(point["accuracy"] for point in curve)
        good = [point for point in curve if point["accuracy"] >= best - self.tolerance - 1e-12]
        chosen = min(good, key=lambda point: (point["tokens"], -point["accuracy"]))
        return {"threshold": chosen["threshold"], "curve": curve}


class _Row:
    """A dev question: how sure its quick answer is, and what each way gives and costs."""

    def __init__(self, question: Question, written: Sequence[Written], form: AnswerForm) -> None:
        quick, slow = written
        self.certainty = _certainty(quick)
        self.right = tuple(_is_right(question, text, form) for text in (quick, slow))
        self.tokens = (quick.tokens, quick.tokens + slow.tokens)


def _point(rows: Sequence[_Row], threshold: float) -> dict[str, float]:
    ways = [int(row.certainty < threshold) for row in rows]
    return {
        "threshold": threshold,
        "accuracy": sum(row.right[way] for row, way in zip(rows, ways, strict=True)) / len(rows),
        "tokens": sum(row.tokens[way] for row, way in zip(rows, ways, strict=True)) / len(rows),
        "at_once": ways.count(0) / len(rows),
    }


def _certainty(quick: Written) -> float:
    """The geometric mean of its tokens' probabilities; 0 where nobody measured them."""
    if quick.logprob is None or not quick.tokens:
        return 0.0
    return math.exp(quick.logprob / quick.tokens)


def _is_right(question: Question, written: Written, form: AnswerForm) -> bool:
    cut_off = written.finish_reason == "length"
    verdict = judge(written.text, question.answer, form, question.choices, cut_off=cut_off)
    return verdict.name == "correct"
