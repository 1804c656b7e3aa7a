"""The finding in plain sentences: the best method against each control, per split and student.

A sentence claims a difference only if the adjusted p-value of the pair, over all its seeds, allows it. The
catch: the best
method is picked on the very questions it is reported on, which flatters it; `CAVEAT` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from understudy.report.wording import call, p_value, percent, percent_range, points, points_range

CAVEAT = (
    "Intervals and p-values of one training are about the choice of questions alone; those over several "
    "seeds are about the choice of seeds too. p-values are adjusted over all pairs of one student and split "
    "(Benjamini-Hochberg). "
    "Where a sentence names the best of several methods, it was picked on the same questions, which "
    "flatters it."
)

Row = dict[str, Any]


def sentences(rows: Sequence[Row], pooled: Sequence[Row]) -> list[str]:
    """All findings, from the pairs over all their seeds; the first is the headline.

    Never empty for a report with rows.
    """
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        here = [row for row in rows if row["split"] == split]
        for student in dict.fromkeys(row["student"] for row in here if row["role"] != "teacher"):
            found += _of_student(_place(rows, split, student), here, student, pooled)
    return found or [_alone(rows[0])]


def _place(rows: Sequence[Row], split: str, student: str) -> str:
    several = len({row["student"] for row in rows if row["role"] != "teacher"}) > 1
    return f"On {split} with {student}" if several else f"On {split}"


def _of_student(place: str, split: Sequence[Row], student: str, pooled: Sequence[Row]) -> list[str]:
    rows = [row for row in split if row["student"] == student and row["role"] != "teacher"]
    methods = list(dict.fromkeys(row["method"] for row in rows if row["role"] == "method"))
    controls = dict.fromkeys(row["method"] for row in sorted(rows, key=_budget) if row["role"] == "control")
    if not methods or not controls:
        missing = "control" if methods else "method"
        best = max(rows, key=lambda row: row["accuracy"])
        return [f"{_alone(best)} There is no {missing} to compare it with."]
    best_method = max(methods, key=lambda method: _mean(rows, method))
    own = [pair for pair in pooled if _matches(pair, rows[0])]
    return [_against(place, best_method, control, len(methods), own) for control in controls]


def _budget(row: Row) -> float:
    multiple = row["training"].get("budget_multiple")
    return float(multiple) if isinstance(multiple, int | float) else 1.0


def _mean(rows: Sequence[Row], method: str) -> float:
    return fmean(row["accuracy"] for row in rows if row["method"] == method)


def _matches(pair: Row, row: Row) -> bool:
    same_student = pair["student"] == pair["student_b"] == row["student"]
    return bool(same_student and pair["split"] == row["split"])


def _alone(row: Row) -> str:
    accuracy = f"{percent(row['accuracy'])} {percent_range(row['interval'])}"
    return f"{row['method']} answers {accuracy} of the questions of {row['split']} (n = {row['n']})."


def _against(place: str, method: str, control: str, among: int, pooled: Sequence[Row]) -> str:
    """One sentence over all seeds, the difference turned to method minus control."""
    pairs = [_turned(pair, method) for pair in pooled if {pair["a"], pair["b"]} == {method, control}]
    if not pairs:
        return f"{place}, {method} and {control} share no seed, so they are not compared."
    picked = f"; it is the best of {among} methods there" if among > 1 else ""
    return f"{place}, {method} {_said(pairs[0], control)}{picked}."


def _turned(pair: Row, method: str) -> Row:
    if pair["a"] == method:
        return pair
    low, high = pair["interval"]
    by_seed = [-difference for difference in pair["by_seed"]]
    return {**pair, "difference": -pair["difference"], "interval": [-high, -low], "by_seed": by_seed}


def _said(pair: Row, control: str) -> str:
    low, high = pair["interval"]
    outcome = call(pair["difference"], pair["p_adjusted"])
    size = f"{abs(100 * pair['difference']):.1f} points"
    if outcome == "a":
        return f"beats {control} by {size} {percent_range((low, high))} {_evidence(pair)}"
    if outcome == "b":
        return f"loses to {control} by {size} {percent_range((-high, -low))} {_evidence(pair)}"
    gap = f"{points(pair['difference'])} points {points_range((low, high))}"
    return f"does not differ significantly from {control}: {gap} {_evidence(pair)}"


def _evidence(pair: Row) -> str:
    p = f"p {p_value(pair['p_adjusted'])}, adjusted"
    if len(pair["seeds"]) == 1:
        return f"(n = {pair['n']}, exact McNemar {p})"
    spread = f"{points(min(pair['by_seed']))} to {points(max(pair['by_seed']))}"
    return f"(mean of {len(pair['seeds'])} seeds, {spread}; n = {pair['n']} each; {p})"
