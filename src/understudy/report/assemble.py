"""A study becomes the content of report.json: every number of the report is derived here, once.

The result is plain JSON: raw fractions, lists and strings; a number that is not finite becomes null.
The HTML page and the Markdown file only format what stands in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from understudy import shelves
from understudy.errors import DataError
from understudy.report.comparisons import compare
from understudy.report.costs import by_length, costs, over_seeds
from understudy.report.headline import sentences
from understudy.report.samples import describe, samples
from understudy.report.study import Arm, Study
from understudy.statistics import minimum_detectable_difference, wilson
from understudy.types import Judged, Question

SCHEMA = 2
"""Raised when a key of report.json is renamed, removed or changes its meaning."""

DISCORDANCE = 0.5
"""Assumed disagreement of two arms for a split's smallest detectable difference: a cautious value."""


def assemble(study: Study) -> dict[str, Any]:
    """Everything the report says. Raises DataError when the study lacks rows or repeats an arm."""
    _check(study)
    rows = [_row(arm) for arm in study.arms]
    comparisons, pooled = compare(study.arms)
    headline, *findings = sentences(rows, pooled)
    content = {
        "schema": SCHEMA,
        "title": study.title,
        "task": study.task,
        "task_title": study.task_title,
        "form": study.form,
        "headline": headline,
        "findings": findings,
        "rows": rows,
        "seeds": over_seeds(study.arms, rows),
        "comparisons": comparisons,
        "pooled": pooled,
        "costs": costs(study.arms, rows),
        "minimum_detectable_difference": _detectable(rows),
        "curation": _curation(study.curation),
        "teacher": _teacher(study.teacher, rows),
        "audit": study.audit,
        "spending": study.spending,
        "students": study.students,
        "samples": samples(study.arms, study.rationales),
        "rationales": _rationales(study),
        "notes": [*study.notes, *_doubts(study.curation)],
        "recipe": study.recipe,
        "manifest": study.manifest,
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def _check(study: Study) -> None:
    if not study.arms:
        raise DataError(f"the study '{study.title}' has no arm to report: evaluate at least one method")
    seen = set()
    for arm in study.arms:
        name = f"'{arm.method}' by '{arm.student}', seed {arm.seed}, on '{arm.split}'"
        key = (arm.method, arm.student, arm.seed, arm.split)
        if key in seen:
            raise DataError(f"the arm {name} is in the study twice: give each arm its own label")
        seen.add(key)
        if not arm.rows:
            raise DataError(f"the arm {name} has no answers to report: evaluate it again")
        twice = [id_ for id_, times in Counter(row.question.id for row in arm.rows).items() if times > 1]
        if twice:
            raise DataError(
                f"the arm {name} answered question {twice[0]} more than once: remove the duplicate"
            )


def _row(arm: Arm) -> dict[str, Any]:
    scores = {name: asdict(shelves.load("metrics", name)(arm.rows)) for name in shelves.names("metrics")}
    return {
        "method": arm.method,
        "student": arm.student,
        "seed": arm.seed,
        "split": arm.split,
        "role": arm.role,
        "note": arm.note,
        **_accuracy(arm.rows),
        "no_answer": sum(row.verdict.name == "no_answer" for row in arm.rows),
        "truncated": sum(row.prediction.truncated for row in arm.rows),
        "mean_tokens": scores["length"]["value"],
        "metrics": scores,
        "training": arm.training,
        "by_steps": _by_steps(arm.rows),
        "by_length": by_length(arm.rows),
    }


def _accuracy(rows: Sequence[Judged]) -> dict[str, Any]:
    correct = sum(row.verdict.name == "correct" for row in rows)
    return {
        "n": len(rows),
        "correct": correct,
        "accuracy": correct / len(rows),
        "interval": wilson(correct, len(rows)),
    }


def _by_steps(rows: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy by the number of steps, where the data set knows it; empty where it does not."""
    known = sorted({row.question.steps for row in rows if row.question.steps is not None})
    return {str(steps): _accuracy([row for row in rows if row.question.steps == steps]) for steps in known}


def _detectable(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a split of this size can tell apart, before any pair's own disagreement is known."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row["split"]] = max(row["n"], sizes.get(row["split"], 0))
    return {
        split: {
            "n": n,
            "discordance": DISCORDANCE,
            "power": 0.8,
            "alpha": 0.05,
            "difference": minimum_detectable_difference(n, DISCORDANCE, power=0.8, alpha=0.05),
        }
        for split, n in sizes.items()
    }


def _curation(curation: Mapping[str, Any]) -> dict[str, Any]:
    annotated, kept = curation.get("annotated", 0), curation.get("kept", 0)
    return {
        "annotated": annotated,
        "kept": kept,
        "dropped": {},
        "keep_rate": kept / annotated if annotated else None,
        **curation,
    }


def _doubts(curation: Mapping[str, Any]) -> list[str]:
    """A sentence when the counts of the curation do not add up: a number nobody should trust silently."""
    annotated, kept = curation.get("annotated", 0), curation.get("kept", 0)
    dropped = sum(curation.get("dropped", {}).values())
    if annotated == kept + dropped:
        return []
    return [f"The curation counts do not add up: {annotated} annotated, {kept} kept, {dropped} dropped."]


def _teacher(teacher: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The teacher's record; its own arm fills in an accuracy that the record does not state."""
    known: dict[str, Any] = {"name": "", "model": "", "accuracy": None, **teacher}
    arm = next((row for row in rows if row["role"] == "teacher"), None)
    if known["accuracy"] is None and arm is not None:
        known |= {key: arm[key] for key in ("accuracy", "n", "correct", "interval")} | {"on": arm["split"]}
    if known.get("interval") is None and known.get("n") and known.get("correct") is not None:
        known["interval"] = wilson(known["correct"], known["n"])
    return known


def _rationales(study: Study) -> list[dict[str, Any]]:
    """The teacher's rationales beside their questions, where those are known."""
    known: dict[str, Question] = {question.id: question for question in study.questions}
    for arm in study.arms:
        known |= {row.question.id: row.question for row in arm.rows if row.question.id in study.rationales}
    return [
        {
            "question_id": id_,
            "question": describe(known[id_]) if id_ in known else None,
            "text": rationale.text,
            "answer": rationale.answer,
            "teacher": rationale.teacher,
        }
        for id_, rationales in study.rationales.items()
        for rationale in rationales
    ]


def _plain(value: Any) -> Any:
    """The value as JSON knows it: string keys, lists, null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    return str(value)
