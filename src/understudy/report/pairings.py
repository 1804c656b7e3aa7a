"""The tables of pairs: each over all its seeds, and each seed by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.report.tables import (
    Columns,
    Report,
    Row,
    Table,
    labelled,
    several_seeds,
    several_students,
    table_of,
)
from understudy.report.wording import call, count, p_value, points, points_range

CAPTION = (
    "Differences are in percentage points, first minus second, on the questions both answered. Only one "
    "right: questions that only the first or only the second has right, which decide the test. Smallest "
    "detectable: the true difference that this would show four times in five, given how often the two "
    "disagreed."
)

SEVERAL = (
    " Over several seeds the difference is their mean, and its interval and p hold for other seeds and other "
    "questions; two seeds say little about seeds, so the interval is then wide."
)


def caption(report: Report) -> str:
    return CAPTION + (SEVERAL if any(len(pair["seeds"]) > 1 for pair in report["pooled"]) else "")


def comparisons(report: Report, pairs: Sequence[Row]) -> Table:
    """One line per pair; the difference is the first arm minus the second. Pooled pairs, or single seeds."""
    columns: Columns = [
        ("difference", lambda pair: points(pair["difference"])),
        ("95 % interval", lambda pair: points_range(pair["interval"])),
        ("by seed", _by_seed),
        ("only one right", lambda pair: f"{count(pair['only_a'])} : {count(pair['only_b'])}"),
        ("n", lambda pair: count(pair["n"])),
        ("p", lambda pair: p_value(pair["p_value"]).removeprefix("= ")),
        ("adjusted p", lambda pair: p_value(pair["p_adjusted"]).removeprefix("= ")),
        ("smallest detectable", lambda pair: _detectable(pair["minimum_detectable_difference"])),
        ("reading", _reading),
    ]
    return table_of("first − second", pairs, columns, lambda pair: pair_label(report, pair))


def against_controls(report: Report, split: str) -> list[Row]:
    """Method against control over all seeds: the comparisons the report is made for."""
    return [pair for pair in _of_split(report, split, "pooled") if _is_main(pair)]


def other_pairs(report: Report, split: str) -> list[Row]:
    return [pair for pair in _of_split(report, split, "pooled") if not _is_main(pair)]


def single_seeds(report: Report, split: str) -> list[Row]:
    """Method against control, seed by seed, where there are several seeds."""
    several = {_key(pair) for pair in _of_split(report, split, "pooled") if len(pair["seeds"]) > 1}
    return [p for p in _of_split(report, split, "comparisons") if _is_main(p) and _key(p) in several]


def pair_label(report: Report, pair: Row) -> str:
    """ "single_stage − answer_only", with the student where the report has several, and seeds if not all."""
    across_students = pair["a"] == pair["b"] and pair["student"] != pair["student_b"]
    student = pair["student_b"] if pair["roles"][0] == "teacher" else pair["student"]
    extra = [student] if several_students(report) and not across_students else []
    seeds = pair["seeds"] if "seeds" in pair else [pair["seed"]]
    if several_seeds(report) and len(seeds) < max(len(other["seeds"]) for other in report["pooled"]):
        extra.append(f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}")
    names = (
        f"{pair['a']}: {pair['student']} − {pair['student_b']}"
        if across_students
        else f"{pair['a']} − {pair['b']}"
    )
    return labelled(names, extra)


def _of_split(report: Report, split: str, which: str) -> list[Row]:
    return [pair for pair in report[which] if pair["split"] == split]


def _is_main(pair: Row) -> bool:
    return set(pair["roles"]) == {"method", "control"} and pair["student"] == pair["student_b"]


def _key(pair: Row) -> tuple[Any, ...]:
    return tuple(pair[name] for name in ("a", "b", "student", "student_b"))


def _by_seed(pair: Row) -> str:
    found = pair.get("by_seed", [])
    return f"{points(min(found))} to {points(max(found))}" if len(found) > 1 else ""


def _detectable(difference: float | None) -> str:
    return "none: n too small" if difference is None else f"{100 * difference:.1f}"


def _reading(pair: Row) -> str:
    words = {"a": "first better", "b": "second better", "neither": "not significant"}
    return words[call(pair["difference"], pair["p_adjusted"])]
