"""What a student that answers at once where it is sure costs and reaches: one section.

The curve is dev's, on which the threshold was chosen. The catch: its best point is too good, being the best
of many on one set; what the chosen threshold reaches on the test splits stands in the table of methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.audit.section import Section
from understudy.report.faithfulness import Which
from understudy.report.wording import percent

SHOWN = 10
"""Points of a curve that the table shows, evenly spaced; the report's numbers hold all."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What one student's threshold was chosen from."""

    which: Which
    n: int
    """Questions of dev."""
    threshold: float
    curve: Sequence[Mapping[str, float]]
    """{"threshold", "accuracy", "tokens", "at_once"} for each, the lowest first."""


def thresholds(fitted: Sequence[Fitted]) -> Section:
    """A few points of each curve, the chosen one among them."""
    return Section(
        "thresholds",
        "What does answering at once save?",
        tuple(_sentence(one) for one in fitted) or ("No threshold was fitted.",),
        (
            "method",
            "student",
            "seed",
            "sure at least",
            "answered at once",
            "accuracy on dev",
            "tokens an answer",
            "",
        ),
        tuple(row for one in fitted for row in _rows(one)),
        {"fitted": [_raw(one) for one in fitted]},
    )


def _sentence(one: Fitted) -> str:
    at = _chosen(one)
    never = one.curve[-1]
    saved = 1 - at["tokens"] / never["tokens"] if never["tokens"] else 0.0
    who = f"{one.which.method} ({one.which.student}, seed {one.which.seed})"
    return (
        f"{who} answers {percent(at['at_once'])} of dev's {one.n} questions at once, which saves "
        f"{percent(saved)} of the tokens of always reasoning; accuracy on dev is {percent(at['accuracy'])} "
        f"against {percent(never['accuracy'])}."
    )


def _chosen(one: Fitted) -> Mapping[str, float]:
    return next(point for point in one.curve if point["threshold"] == one.threshold)


def _rows(one: Fitted) -> list[tuple[str, ...]]:
    stride = max(1, len(one.curve) // SHOWN)
    shown = {*range(0, len(one.curve), stride), len(one.curve) - 1, one.curve.index(_chosen(one))}
    return [
        (
            one.which.method,
            one.which.student,
            str(one.which.seed),
            "never" if point["threshold"] > 1 else f"{point['threshold']:.3f}",
            percent(point["at_once"]),
            percent(point["accuracy"]),
            f"{point['tokens']:.1f}",
            "chosen" if point["threshold"] == one.threshold else "",
        )
        for place, point in enumerate(one.curve)
        if place in shown
    ]


def _raw(one: Fitted) -> dict[str, Any]:
    return {
        "method": one.which.method,
        "student": one.which.student,
        "seed": one.which.seed,
        "n": one.n,
        "threshold": one.threshold,
        "curve": [dict(point) for point in one.curve],
    }
