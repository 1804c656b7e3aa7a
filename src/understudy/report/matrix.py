"""All methods of one student on one split against each other, the best first.

Right of the diagonal stands the difference, row minus column, with its interval; left of it the adjusted p of
the same pair. So a row is read to the right, and its evidence down its column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

from understudy.report.wording import SIGNIFICANCE, call, p_value, percent, points, points_range

Report = dict[str, Any]
Row = dict[str, Any]
Favours = Literal["row", "column", "neither"]

FAVOURS: Mapping[str, Favours] = {"a": "row", "b": "column", "neither": "neither"}

FEWEST = 3
"""Arms that make a matrix: two are one line of the list of pairs."""


@dataclass(frozen=True, slots=True)
class Cell:
    """`text` is a difference in points or an adjusted p; empty on the diagonal and where nothing pairs."""

    text: str = ""
    detail: str = ""
    """The interval, beside a difference."""
    favours: Favours = "neither"
    title: str = ""
    """The whole comparison in words."""

    @property
    def significant(self) -> bool:
        return self.favours != "neither"


@dataclass(frozen=True, slots=True)
class Standing:
    method: str
    role: str
    accuracy: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    student: str
    standings: tuple[Standing, ...]
    summary: str
    """How many pairs differ, by which test, and how small a difference could have been seen."""


def matrices(report: Report, split: str) -> list[Matrix]:
    """One for each student with at least three arms."""
    students = dict.fromkeys(
        row["student"] for row in report["rows"] if row["split"] == split and row["role"] != "teacher"
    )
    found = [_matrix(report, split, student) for student in students]
    return [matrix for matrix in found if len(matrix.standings) >= FEWEST]


def _matrix(report: Report, split: str, student: str) -> Matrix:
    rows = [
        row
        for row in report["rows"]
        if row["split"] == split and (row["student"] == student or row["role"] == "teacher")
    ]
    accuracy: dict[str, list[float]] = {}
    for row in rows:
        accuracy.setdefault(row["method"], []).append(row["accuracy"])
    ranked = sorted(accuracy, key=lambda method: -fmean(accuracy[method]))
    roles = {row["method"]: row["role"] for row in rows}
    pairs = {
        (pair["a"], pair["b"]): pair
        for pair in report["pooled"]
        if pair["split"] == split and _within(pair, student)
    }
    standings = tuple(
        Standing(
            method,
            roles[method],
            percent(fmean(accuracy[method])),
            tuple(_cell(pairs, method, other, column > place) for column, other in enumerate(ranked)),
        )
        for place, method in enumerate(ranked)
    )
    return Matrix(student, standings, _summary(list(pairs.values())))


def _within(pair: Row, student: str) -> bool:
    students = {
        name
        for name, role in zip((pair["student"], pair["student_b"]), pair["roles"], strict=True)
        if role != "teacher"
    }
    return students == {student}


def _cell(pairs: dict[tuple[str, str], Row], row: str, column: str, above: bool) -> Cell:
    pair, sign = (pairs[row, column], 1) if (row, column) in pairs else (pairs.get((column, row)), -1)
    if pair is None:
        return Cell()
    low, high = sorted(sign * end for end in pair["interval"])
    difference = sign * pair["difference"]
    favours = FAVOURS[call(difference, pair["p_adjusted"])]
    adjusted = p_value(pair["p_adjusted"])
    seeds = f", {len(pair['seeds'])} seeds" if len(pair["seeds"]) > 1 else ""
    title = (
        f"{row} − {column}: {points(difference)} points {points_range((low, high))}, adjusted p {adjusted}, "
        f"n = {pair['n']}{seeds}"
    )
    if above:
        return Cell(points(difference), points_range((low, high)), favours, title)
    return Cell(adjusted.removeprefix("= "), "", favours, title)


def _summary(pairs: Sequence[Row]) -> str:
    if not pairs:
        return "No pair shares a seed and a question."
    differ = sum(call(pair["difference"], pair["p_adjusted"]) != "neither" for pair in pairs)
    found = sorted(
        pair["minimum_detectable_difference"]
        for pair in pairs
        if pair["minimum_detectable_difference"] is not None
    )
    said = f"{differ} of {len(pairs)} pairs differ at an adjusted p below {SIGNIFICANCE}. "
    if not found:
        return f"{said}No pair could have shown any difference."
    low, middle, high = (f"{100 * value:.1f}" for value in (found[0], median(found), found[-1]))
    size = f"{middle} points" if low == high else f"{low} to {high} points by pair, {middle} in the middle"
    return f"{said}Smallest detectable difference: {size}."
