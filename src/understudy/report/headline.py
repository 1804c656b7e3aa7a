"""The finding in plain sentences: the best method against each control, per split and student.

A sentence claims a difference only if the adjusted p-value of every seed allows it. The catch: the best
method is picked on the very questions it is reported on, which flatters it; `CAVEAT` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from understudy.report.wording import call, p_value, percent, percent_range, points, points_range

CAVEAT = (
    "Intervals and p-values are about the choice of questions; they do not contain the variation from one "
    "training seed to another. p-values are adjusted over all pairs of this report (Benjamini-Hochberg). "
    "Where a sentence names the best of several methods, it was picked on the same questions, which "
    "flatters it."
)

Row = dict[str, Any]


def sentences(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[str]:
    """All findings; the first is the headline. Never empty for a report with rows."""
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        here = [row for row in rows if row["split"] == split]
        for student in dict.fromkeys(row["student"] for row in here if row["role"] != "teacher"):
            found += _of_student(_place(rows, split, student), here, student, comparisons)
    return found or [_alone(rows[0])]


def _place(rows: Sequence[Row], split: str, student: str) -> str:
    several = len({row["student"] for row in rows if row["role"] != "teacher"}) > 1
    return f"On {split} with {student}" if several else f"On {split}"


def _of_student(place: str, split: Sequence[Row], student: str, comparisons: Sequence[Row]) -> list[str]:
    rows = [row for row in split if row["student"] == student and row["role"] != "teacher"]
    methods = list(dict.fromkeys(row["method"] for row in rows if row["role"] == "method"))
    controls = dict.fromkeys(row["method"] for row in sorted(rows, key=_budget) if row["role"] == "control")
    if not methods or not controls:
        missing = "control" if methods else "method"
        best = max(rows, key=lambda row: row["accuracy"])
        return [f"{_alone(best)} There is no {missing} to compare it with."]
    best_method = max(methods, key=lambda method: _mean(rows, method))
    own = [pair for pair in comparisons if _matches(pair, rows[0])]
    return [_against(place, best_method, control, len(methods), own) for control in controls]


def _budget(row: Row) -> float:
    multiple = row["training"].get("budget_multiple")
    return float(multiple) if isinstance(multiple, int | float) else 1.0


def _mean(rows: Sequence[Row], method: str) -> float:
    return fmean(row["accuracy"] for row in rows if row["method"] == method)


def _matches(comparison: Row, row: Row) -> bool:
    same_student = comparison["student"] == comparison["student_b"] == row["student"]
    return bool(same_student and comparison["split"] == row["split"])


def _alone(row: Row) -> str:
    accuracy = f"{percent(row['accuracy'])} {percent_range(row['interval'])}"
    return f"{row['method']} answers {accuracy} of the questions of {row['split']} (n = {row['n']})."


def _against(place: str, method: str, control: str, among: int, comparisons: Sequence[Row]) -> str:
    """One sentence over all seeds, every difference turned to method minus control."""
    pairs = [_turned(c, method) for c in comparisons if {c["a"], c["b"]} == {method, control}]
    if not pairs:
        return f"{place}, {method} and {control} share no seed, so they are not compared."
    said = _one_seed(pairs[0], control) if len(pairs) == 1 else _several_seeds(pairs, control)
    picked = f"; it is the best of {among} methods there" if among > 1 else ""
    return f"{place}, {method} {said}{picked}."


def _turned(comparison: Row, method: str) -> Row:
    if comparison["a"] == method:
        return comparison
    low, high = comparison["interval"]
    return {**comparison, "difference": -comparison["difference"], "interval": [-high, -low]}


def _outcome(pair: Row) -> str:
    return call(pair["difference"], pair["p_adjusted"])


def _one_seed(pair: Row, control: str) -> str:
    low, high = pair["interval"]
    evidence = f"(n = {pair['n']}, exact McNemar p {p_value(pair['p_adjusted'])}, adjusted)"
    if _outcome(pair) == "a":
        return (
            f"beats {control} by {_size(pair['difference'])} points {percent_range((low, high))} {evidence}"
        )
    if _outcome(pair) == "b":
        distance = f"{_size(pair['difference'])} points {percent_range((-high, -low))}"
        return f"loses to {control} by {distance} {evidence}"
    gap = f"{points(pair['difference'])} points {points_range((low, high))}"
    return f"does not differ significantly from {control}: {gap} {evidence}"


def _several_seeds(pairs: Sequence[Row], control: str) -> str:
    differences = [pair["difference"] for pair in pairs]
    outcomes = [_outcome(pair) for pair in pairs]
    spread = f"{points(min(differences))} to {points(max(differences))}"
    tally = f"significantly better on {outcomes.count('a')}, worse on {outcomes.count('b')}"
    detail = (
        f"{points(fmean(differences))} points on average over {len(pairs)} seeds "
        f"({spread}; {tally}; n = {pairs[0]['n']} each)"
    )
    if set(outcomes) == {"a"}:
        return f"beats {control} on every seed: {detail}"
    if set(outcomes) == {"b"}:
        return f"loses to {control} on every seed: {detail}"
    return f"does not differ reliably from {control}: {detail}"


def _size(difference: float) -> str:
    return f"{abs(100 * difference):.1f}"
