"""Every pair of arms that can be compared question by question.

Compared are arms of one split and seed: all methods of one student, and one method across students.
The teacher has no seed and stands against every arm. The catch: the more pairs, the more chance
findings, so p-values are adjusted over all pairs of the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from understudy.errors import DataError
from understudy.report.study import Arm
from understudy.statistics import (
    benjamini_hochberg,
    mcnemar_exact,
    minimum_detectable_difference,
    paired_bootstrap,
)

PARTIAL = ("upper_bound", "teacher")
"""Roles that may have answered only some of a split's questions."""


def compare(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """One record per pair; `difference` is a minus b. Raises DataError on unequal question sets."""
    pairs = (sorted(pair, key=_place) for pair in combinations(arms, 2))
    records = [
        record for a, b in pairs if _comparable(a, b) and (record := _pair(a, b, _common(a, b))) is not None
    ]
    adjusted = benjamini_hochberg([record["p_value"] for record in records])
    return [{**record, "p_adjusted": p} for record, p in zip(records, adjusted, strict=True)]


def _place(arm: Arm) -> int:
    """What is asked about stands first: a method minus its control, a method minus the teacher."""
    return ("method", "upper_bound", "teacher", "control").index(arm.role)


def _comparable(a: Arm, b: Arm) -> bool:
    if a.split != b.split:
        return False
    if "teacher" in (a.role, b.role):
        return True
    return a.seed == b.seed and (a.student == b.student or a.method == b.method)


def _common(a: Arm, b: Arm) -> Iterator[tuple[bool, bool]]:
    """Whether a and b have each common question right, in a's order."""
    right_a, right_b = _right(a), _right(b)
    if right_a.keys() != right_b.keys() and a.role not in PARTIAL and b.role not in PARTIAL:
        shared = len(right_a.keys() & right_b.keys())
        raise DataError(
            f"'{a.method}' and '{b.method}' answered different questions of '{a.split}' ({len(right_a)} and "
            f"{len(right_b)}, {shared} in common): evaluate both on the same questions"
        )
    return ((right, right_b[question]) for question, right in right_a.items() if question in right_b)


def _right(arm: Arm) -> dict[str, bool]:
    return {row.question.id: row.verdict.name == "correct" for row in arm.rows}


def _pair(a: Arm, b: Arm, common: Iterator[tuple[bool, bool]]) -> dict[str, Any] | None:
    """The record of one pair; None when a partial arm shares no question with the other."""
    answers = list(common)
    if not answers:
        return None
    right_a, right_b = [x for x, _ in answers], [y for _, y in answers]
    test = mcnemar_exact(right_a, right_b)
    difference, low, high = paired_bootstrap(right_a, right_b)
    discordance = (test.only_a + test.only_b) / len(answers)
    return {
        "a": a.method,
        "b": b.method,
        "student": a.student,
        "student_b": b.student,
        "seed": b.seed if a.role == "teacher" else a.seed,
        "split": a.split,
        "roles": [a.role, b.role],
        "n": len(answers),
        "difference": difference,
        "interval": [low, high],
        "p_value": test.p_value,
        "only_a": test.only_a,
        "only_b": test.only_b,
        "both": test.both,
        "neither": test.neither,
        "minimum_detectable_difference": minimum_detectable_difference(len(answers), discordance),
    }
