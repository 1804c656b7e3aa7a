"""Where things are drawn: geometry for the page's SVG, no markup.

Strips run across the page and are measured in per cent of their width, so they fit any screen; step
panels have a fixed box that scales. Accuracy axes always run from 0 to 100 %: a cut axis makes small
differences look large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean
from typing import Any

from understudy.report.wording import percent, percent_range, points

Report = dict[str, Any]
Row = dict[str, Any]

MARGIN = 2.0
"""Per cent of a strip's width kept free on both sides, so that a dot at 0 or 100 % is whole."""

WIDTH, HEIGHT = 240, 150
LEFT, RIGHT, TOP, BOTTOM = 36, 10, 10, 24
"""The box of a step panel and the room around its axes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot with its interval along one axis; `y` is its line within the strip, in pixels."""

    at: float
    low: float
    high: float
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Strip:
    """One method by one student on one split, a mark per seed."""

    method: str
    student: str
    role: str
    note: str
    value: str
    interval: str
    n: int
    height: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One seed's points on one split in a step panel: (x, mark) with y positions in the mark."""

    split: int
    points: tuple[tuple[float, Mark], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    method: str
    student: str
    role: str
    series: tuple[Series, ...]
    summary: str


def strips(rows: Sequence[Row]) -> list[Strip]:
    """The rows of one split as strips, seeds of one arm together, in order of appearance."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["student"]), []).append(row)
    return [_strip(group) for group in groups.values()]


def _strip(group: Sequence[Row]) -> Strip:
    first, step = group[0], 12
    height = 16 + step * len(group)
    marks = tuple(
        Mark(across(row["accuracy"]), *_ends(row["interval"]), y=14 + step * place)
        for place, row in enumerate(group)
    )
    mean = percent(fmean(row["accuracy"] for row in group))
    interval = percent_range(first["interval"]) if len(group) == 1 else f"mean of {len(group)} seeds"
    return Strip(
        first["method"],
        first["student"],
        first["role"],
        first["note"],
        mean,
        interval,
        first["n"],
        height,
        marks,
    )


def _ends(interval: Sequence[float], half: float | None = None) -> tuple[float, float]:
    low, high = interval
    return (
        (across(low), across(high)) if half is None else (across(low, -half, half), across(high, -half, half))
    )


def across(value: float, low: float = 0.0, high: float = 1.0) -> float:
    """The position of `value` on a strip whose axis runs from `low` to `high`, in per cent."""
    return round(MARGIN + (100 - 2 * MARGIN) * (value - low) / (high - low), 2)


def accuracy_ticks() -> list[tuple[float, str]]:
    return [(across(tick / 100), str(tick)) for tick in (0, 25, 50, 75, 100)]


def reach(pairs: Sequence[Row]) -> float:
    """The half-width of a difference axis that holds every interval: a multiple of 5 points."""
    widest = max((abs(end) for pair in pairs for end in pair["interval"]), default=0.0)
    return max(0.05, ceil(round(widest * 20, 9)) / 20)


def difference_ticks(half: float) -> list[tuple[float, str]]:
    return [(across(value, -half, half), points(value).removesuffix(".0")) for value in (-half, 0.0, half)]


def difference_mark(pair: Row, half: float) -> Mark:
    return Mark(across(pair["difference"], -half, half), *_ends(pair["interval"], half), y=11)


def panels(report: Report) -> list[Panel]:
    """Accuracy against the number of steps, a panel per arm over all splits; empty if unknown."""
    rows = [row for row in report["rows"] if row["by_steps"]]
    order = {
        split: place for place, split in enumerate(dict.fromkeys(row["split"] for row in report["rows"]))
    }
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["student"]), []).append(row)
    span = step_span(report)
    return [
        Panel(
            method, student, group[0]["role"], tuple(_series(row, order, span) for row in group), _said(group)
        )
        for (method, student), group in groups.items()
    ]


def _series(row: Row, order: dict[str, int], span: tuple[int, int]) -> Series:
    marks = []
    for steps, part in row["by_steps"].items():
        mark = Mark(*(up(value) for value in (part["accuracy"], *part["interval"])))
        marks.append((along(int(steps), span), mark))
    return Series(order[row["split"]], tuple(marks))


def _said(group: Sequence[Row]) -> str:
    """The panel in words, for readers who do not see it."""
    return "; ".join(
        f"{row['split']}, {steps} steps: {percent(part['accuracy'])} (n = {part['n']})"
        for row in group
        for steps, part in row["by_steps"].items()
    )


def step_span(report: Report) -> tuple[int, int]:
    known = [int(steps) for row in report["rows"] for steps in row["by_steps"]]
    return (min(known), max(known)) if known else (0, 0)


def step_ticks(report: Report) -> list[tuple[float, str]]:
    """Every number of steps, or about six of them where there are many."""
    low, high = span = step_span(report)
    stride = max(1, ceil((high - low) / 6))
    return [(along(steps, span), str(steps)) for steps in range(low, high + 1, stride)]


def along(steps: int, span: tuple[int, int]) -> float:
    low, high = span
    room = WIDTH - LEFT - RIGHT - 24
    return round(LEFT + 12 + room * ((steps - low) / (high - low) if high > low else 0.5), 1)


def up(value: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value), 1)
