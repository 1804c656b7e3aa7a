"""Variants that have run, as curves of points: what is beside what, before any number is derived.

A curve is one method by one student on one split; its points are the variants. Neighbours on an axis are
two points of a curve with nothing between them, the other axis held at one value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from understudy.errors import DataError
from understudy.report import Arm
from understudy.sweep.axes import Axis, Variant
from understudy.sweep.costs import Cost

PARTIAL = ("upper_bound", "teacher")
"""Roles that may have answered only some of a split's questions."""

Row = dict[str, Any]
Curve = tuple[str, str, str]
"""(method, student, split)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A variant after its run."""

    variant: Variant
    folder: str
    """Of its own report, from the sweep's."""
    arms: tuple[Arm, ...]
    cost: Cost
    questions: Mapping[str, int]
    """Of each split."""
    report: Mapping[str, Any]
    """Its own report's content."""


@dataclass(frozen=True, slots=True)
class Point:
    """All seeds of one curve at one variant."""

    measured: Measured
    arms: tuple[Arm, ...]

    @property
    def accuracy(self) -> float:
        return fmean(fmean(right(arm).values()) for arm in self.arms)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two points of a curve with nothing between them, and the values that they are held at elsewhere."""

    axis: Axis
    values: tuple[str, str]
    at: Mapping[str, str]
    curve: Curve
    low: Point
    high: Point

    def record(self) -> Row:
        method, student, split = self.curve
        names = {"method": method, "student": student, "split": split, "role": self.low.arms[0].role}
        return {"axis": self.axis.name, "from": self.values[0], "to": self.values[1], "at": self.at, **names}


def right(arm: Arm) -> dict[str, bool]:
    return {row.question.id: row.verdict.name == "correct" for row in arm.rows}


def curves_of(measured: Sequence[Measured]) -> dict[Curve, list[Point]]:
    """In order of appearance, each with its points in the order of the variants."""
    names = _student_names(measured)
    curves: dict[Curve, list[Point]] = {}
    for part, students in zip(measured, names, strict=True):
        here: dict[Curve, list[Arm]] = {}
        for arm in part.arms:
            student = "" if arm.role == "teacher" else students.get(arm.student, arm.student)
            here.setdefault((arm.method, student, arm.split), []).append(arm)
        for curve, arms in here.items():
            curves.setdefault(curve, []).append(Point(part, tuple(arms)))
    return curves


def _student_names(measured: Sequence[Measured]) -> list[dict[str, str]]:
    """A student whose label changes along an axis is one curve, so it goes by its place in the recipe."""
    labels = [[entry.label for entry in part.variant.recipe.students] for part in measured]
    if len({len(own) for own in labels}) > 1:
        return [{} for _ in labels]
    same = [len(set(column)) == 1 for column in zip(*labels, strict=True)]
    return [
        {label: label if same[place] else f"student {place + 1}" for place, label in enumerate(own)}
        for own in labels
    ]


def check_same(curves: Mapping[Curve, Sequence[Point]]) -> None:
    known: dict[str, set[str]] = {}
    for (method, _, split), found in curves.items():
        for point in found:
            for arm in point.arms:
                asked = set(right(arm))
                if arm.role not in PARTIAL and known.setdefault(split, asked) != asked:
                    raise DataError(
                        f"'{method}' at {point.measured.variant.label} answered other questions of '{split}' "
                        "than the first variant: sweep a key that leaves the questions alone, or give "
                        "--other-questions"
                    )


def neighbours_of(axes: Sequence[Axis], curves: Mapping[Curve, Sequence[Point]]) -> Iterator[Neighbours]:
    for place, axis in enumerate(axes):
        for curve, found in curves.items():
            by_values = {point.measured.variant.values: point for point in found}
            for values in by_values:
                if values[place] != axis.values[0]:
                    continue
                others = {
                    other.name: value for other, value in zip(axes, values, strict=True) if other is not axis
                }
                line = [(*values[:place], value, *values[place + 1 :]) for value in axis.values]
                known = [at for at in line if at in by_values]
                for low, high in pairwise(known):
                    ends = (low[place], high[place])
                    yield Neighbours(axis, ends, others, curve, by_values[low], by_values[high])
