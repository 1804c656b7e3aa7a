"""Which questions the report shows side by side: chosen by a fixed draw, never by hand.

Half are drawn from the questions on which methods disagree, because there one sees what a method is
worth; half from all questions, because the first half is not what a typical question looks like. Each
says which it is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.report.study import Arm
from understudy.types import LABELS, Judged, Question, Rationale

EACH = 4
"""Questions drawn per split for each of the two reasons."""


def samples(arms: Sequence[Arm], rationales: Mapping[str, tuple[Rationale, ...]]) -> list[dict[str, Any]]:
    """The chosen questions of every split with every arm's answer of the split's lowest seed."""
    chosen = []
    for split in dict.fromkeys(arm.split for arm in arms):
        here = [arm for arm in arms if arm.split == split]
        seed = min((arm.seed for arm in here if arm.role != "teacher"), default=0)
        shown = [arm for arm in here if arm.role == "teacher" or arm.seed == seed]
        chosen += _of_split(split, shown, rationales)
    return chosen


def _of_split(
    split: str, arms: Sequence[Arm], rationales: Mapping[str, tuple[Rationale, ...]]
) -> list[dict[str, Any]]:
    answers: dict[str, list[tuple[Arm, Judged]]] = {}
    for arm in arms:
        for row in arm.rows:
            answers.setdefault(row.question.id, []).append((arm, row))
    draw = random.Random(0)  # noqa: S311 - a repeatable draw, not a secret
    ids = sorted(answers)
    differ = [id_ for id_ in ids if len({row.verdict.name == "correct" for _, row in answers[id_]}) > 1]
    disputed = draw.sample(differ, min(EACH, len(differ)))
    others = [id_ for id_ in draw.sample(ids, len(ids)) if id_ not in disputed][:EACH]
    reasons = [(id_, "verdicts differ") for id_ in disputed] + [(id_, "drawn at random") for id_ in others]
    return [
        {
            "split": split,
            "why": why,
            **describe(answers[id_][0][1].question),
            "rationale": rationales[id_][0].text if rationales.get(id_) else None,
            "answers": [_answer(arm, row) for arm, row in answers[id_]],
        }
        for id_, why in reasons
    ]


def describe(question: Question) -> dict[str, Any]:
    return {
        "question_id": question.id,
        "question": question.text,
        "context": question.context,
        "choices": [f"({LABELS[i]}) {text}" for i, text in enumerate(question.choices)],
        "gold": question.answer,
        "steps": question.steps,
    }


def _answer(arm: Arm, row: Judged) -> dict[str, Any]:
    return {
        "method": arm.method,
        "student": arm.student,
        "seed": arm.seed,
        "role": arm.role,
        "verdict": row.verdict.name,
        "extracted": row.verdict.extracted,
        "reason": row.verdict.reason,
        "written": [
            {
                "stage": part.stage,
                "text": part.text,
                "finish_reason": part.finish_reason,
                "tokens": part.tokens,
            }
            for part in row.prediction.written
        ],
    }
