"""What an answer's accuracy costs: over seeds, by the tokens of an answer, and by method.

Three budgets stand side by side, because a method that is equal by one is not by another: optimiser steps,
tokens, and floating-point operations. What helper trainings cost on top, as for cross-fitting, is apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, quantiles, stdev
from typing import Any

from understudy.report.study import Arm
from understudy.statistics import Pooled, crossed_accuracy, wilson
from understudy.types import Judged

Row = dict[str, Any]

BUDGETS = ("steps", "tokens", "target_tokens", "flops", "extra_tokens", "extra_flops", "seconds")
"""Keys of a training record that can be averaged over seeds."""

QUARTERS = 4


def over_seeds(arms: Sequence[Arm], rows: Sequence[Row]) -> list[Row]:
    """Mean, spread and interval over seeds, for arms that were trained more than once."""
    found = []
    for group in _groups(arms, rows):
        if len(group) == 1:
            continue
        own = [row for _, row in group]
        pooled = _pooled([arm for arm, _ in group])
        found.append(
            {
                **{name: own[0][name] for name in ("method", "student", "split", "role")},
                "seeds": [row["seed"] for row in own],
                "n": own[0]["n"],
                "mean": fmean(row["accuracy"] for row in own),
                "interval": [pooled.low, pooled.high] if pooled else None,
                "standard_deviation": stdev(row["accuracy"] for row in own),
                "standard_error": {
                    "seeds": pooled.error_of_seeds if pooled else None,
                    "questions": pooled.error_of_questions if pooled else None,
                },
                "lowest": min(row["accuracy"] for row in own),
                "highest": max(row["accuracy"] for row in own),
            }
        )
    return found


def costs(arms: Sequence[Arm], rows: Sequence[Row]) -> list[Row]:
    """One entry for each method, student and split, seeds taken together.

    `on_frontier`: no other method or control of the same student and split is at least as accurate for no
    more tokens an answer. It goes by the measured means, without a test. None for upper bounds, which were
    given what others write, and for the teacher, whose tokens are of another kind. `rank` goes by accuracy
    among the rest.
    """
    entries = []
    for group in _groups(arms, rows):
        own = [row for _, row in group]
        pooled = _pooled([arm for arm, _ in group]) if len(group) > 1 else None
        entries.append(
            {
                **{name: own[0][name] for name in ("method", "student", "split", "role")},
                "seeds": len(own),
                "accuracy": fmean(row["accuracy"] for row in own),
                "interval": [pooled.low, pooled.high] if pooled else own[0]["interval"],
                "mean_tokens": fmean(row["mean_tokens"] for row in own),
                "training": _means([row["training"] for row in own]),
            }
        )
    return [{**entry, **_place(entry, _rivals(entry, entries))} for entry in entries]


def by_length(rows: Sequence[Judged]) -> dict[str, Row]:
    """Accuracy by quarter of the tokens that an answer took: "1" holds the shortest.

    Answers of one length stay together, so a quarter may be larger than another, or missing. Nothing where
    all are of one length.
    """
    tokens = [row.prediction.tokens for row in rows]
    if len(rows) < QUARTERS or len(set(tokens)) == 1:
        return {}
    edges = [*quantiles(tokens, n=QUARTERS, method="inclusive"), max(tokens)]
    quarters: dict[int, list[Judged]] = {}
    for row in rows:
        quarter = next(place for place, edge in enumerate(edges, 1) if row.prediction.tokens <= edge)
        quarters.setdefault(quarter, []).append(row)
    return {str(quarter): _quarter(quarters[quarter]) for quarter in sorted(quarters)}


def _quarter(rows: Sequence[Judged]) -> Row:
    tokens = [row.prediction.tokens for row in rows]
    correct = sum(row.verdict.name == "correct" for row in rows)
    return {
        "shortest": min(tokens),
        "longest": max(tokens),
        "n": len(rows),
        "correct": correct,
        "accuracy": correct / len(rows),
        "interval": wilson(correct, len(rows)),
    }


def _groups(arms: Sequence[Arm], rows: Sequence[Row]) -> list[list[tuple[Arm, Row]]]:
    groups: dict[tuple[str, str, str], list[tuple[Arm, Row]]] = {}
    for arm, row in zip(arms, rows, strict=True):
        groups.setdefault((arm.method, arm.student, arm.split), []).append((arm, row))
    return list(groups.values())


def _pooled(arms: Sequence[Arm]) -> Pooled | None:
    """Over the questions that every seed answered; None where there is none."""
    right = [{row.question.id: row.verdict.name == "correct" for row in arm.rows} for arm in arms]
    shared = [id_ for id_ in right[0] if all(id_ in own for own in right)]
    return crossed_accuracy([[own[id_] for id_ in shared] for own in right]) if shared else None


def _means(records: Sequence[Mapping[str, Any]]) -> Row:
    """Of every budget that each record states as a number."""
    return {
        name: fmean(record[name] for record in records)
        for name in BUDGETS
        if all(_is_number(record.get(name)) for record in records)
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rivals(entry: Row, entries: Sequence[Row]) -> list[Row]:
    """Whom it is measured against, itself among them, the most accurate first."""
    found = [
        other
        for other in entries
        if (other["student"], other["split"]) == (entry["student"], entry["split"])
        and other["role"] in ("method", "control")
    ]
    return sorted(found, key=lambda other: -float(other["accuracy"]))


def _place(entry: Row, rivals: Sequence[Row]) -> Row:
    if entry not in rivals:
        return {"rank": None, "on_frontier": None}
    beaten = any(_dominates(other, entry) for other in rivals)
    return {"rank": rivals.index(entry) + 1, "on_frontier": not beaten}


def _dominates(other: Row, entry: Row) -> bool:
    theirs, own = ((row["accuracy"], -row["mean_tokens"]) for row in (other, entry))
    return theirs != own and all(x >= y for x, y in zip(theirs, own, strict=True))
