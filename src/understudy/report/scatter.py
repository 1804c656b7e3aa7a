"""Accuracy against the tokens of an answer, drawn: who is on the frontier. Geometry only, no markup.

Tokens run on a logarithmic axis, accuracy from 0 to 100 %. A dot bears its rank, as in the table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from understudy.report.plots import Mark
from understudy.report.wording import mean_of, percent, percent_range

Report = dict[str, Any]
Row = dict[str, Any]

WIDTH, HEIGHT = 680, 300
LEFT, RIGHT, TOP, BOTTOM = 40, 26, 14, 40
LEAST = 1.0
"""Answers of fewer tokens on average stand at the left edge: a logarithm has no place for 0."""


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    mark: Mark
    """`at`, `low` and `high` are heights."""
    number: int
    role: str
    on_frontier: bool
    title: str


@dataclass(frozen=True, slots=True)
class Scatter:
    student: str
    dots: tuple[Dot, ...]
    """The most accurate first."""
    path: tuple[tuple[float, float], ...]
    """The corners of the frontier, from left to right."""
    ticks: tuple[tuple[float, str], ...]
    summary: str


def scatters(report: Report, split: str) -> list[Scatter]:
    """One for each student with at least two methods: tokens of different students do not compare."""
    rows = [row for row in report["costs"] if row["split"] == split and row["on_frontier"] is not None]
    students = dict.fromkeys(row["student"] for row in rows)
    found = [_scatter([row for row in rows if row["student"] == student]) for student in students]
    return [scatter for scatter in found if len(scatter.dots) > 1]


def _scatter(rows: Sequence[Row]) -> Scatter:
    ranked = sorted(rows, key=lambda row: int(row["rank"]))
    tokens = [max(LEAST, row["mean_tokens"]) for row in rows]
    span = (floor(3 * log10(min(tokens))) / 3, max(ceil(3 * log10(max(tokens))) / 3, 1 / 3))
    dots = tuple(
        Dot(
            across(row["mean_tokens"], span),
            Mark(*(up(value) for value in (row["accuracy"], *row["interval"]))),
            row["rank"],
            row["role"],
            bool(row["on_frontier"]),
            f"{row['method']}: {percent(row['accuracy'])} {percent_range(row['interval'])}, "
            f"{mean_of(row['mean_tokens'])} tokens an answer",
        )
        for row in ranked
    )
    front = sorted((row for row in ranked if row["on_frontier"]), key=lambda row: float(row["mean_tokens"]))
    names = ", ".join(dict.fromkeys(row["method"] for row in front))
    return Scatter(rows[0]["student"], dots, _steps(dots), _ticks(span), f"On the frontier: {names}.")


def _steps(dots: Sequence[Dot]) -> tuple[tuple[float, float], ...]:
    """Up at each dot of the frontier, level until the next: what so many tokens can buy."""
    corners: list[tuple[float, float]] = []
    for dot in sorted((dot for dot in dots if dot.on_frontier), key=lambda dot: (dot.x, -dot.mark.at)):
        if corners:
            corners.append((dot.x, corners[-1][1]))
        corners.append((dot.x, dot.mark.at))
    return (*corners, (WIDTH - RIGHT, corners[-1][1])) if corners else ()


def _ticks(span: tuple[float, float]) -> tuple[tuple[float, str], ...]:
    """1, 2, 5, 10, 20, ... as far as the axis reaches."""
    low, high = span
    values = [step * 10**power for power in range(floor(low), ceil(high) + 1) for step in (1, 2, 5)]
    return tuple((across(v, span), str(v)) for v in values if low - 1e-9 <= log10(v) <= high + 1e-9)


def across(tokens: float, span: tuple[float, float]) -> float:
    low, high = span
    share = (log10(max(LEAST, tokens)) - low) / (high - low) if high > low else 0.5
    return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)


def up(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)
