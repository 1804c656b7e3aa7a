"""The tables of the report as text cells, made once for the HTML page and the Markdown file.

A column that would hold nothing but dashes is left out, so a small study has small tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.report.wording import (
    call,
    count,
    mean_of,
    p_value,
    percent,
    percent_range,
    points,
    points_range,
)

Report = dict[str, Any]
Row = dict[str, Any]
Columns = Sequence[tuple[str, Callable[[Row], str]]]

DASH = "–"

ROLES = {
    "method": "",
    "control": "control",
    "upper_bound": "upper bound",
    "teacher": "teacher",
}

COMPARISON_CAPTION = (
    "Differences are in percentage points, first minus second, on the questions both answered. Only one "
    "right: questions that only the first or only the second has right, which decide the test. Smallest "
    "detectable: the true difference that this many questions would show four times in five, given how "
    "often the two disagreed."
)

BUILT_IN = ("accuracy", "no_answer", "truncated", "length")
"""Metrics with a column of their own; any other metric on the shelf gets one after them."""


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    cells: tuple[str, ...]
    role: str = ""
    note: str = ""
    source: Row | None = None
    """The record the line was made from, for what a page draws beside the text."""


@dataclass(frozen=True, slots=True)
class Table:
    """`heads[0]` stands over the labels; one more for each cell."""

    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def splits(report: Report) -> list[str]:
    return list(dict.fromkeys(row["split"] for row in report["rows"]))


def rows_of(report: Report, split: str) -> list[Row]:
    return [row for row in report["rows"] if row["split"] == split]


def several_students(report: Report) -> bool:
    return len({row["student"] for row in _trained(report)}) > 1


def several_seeds(report: Report) -> bool:
    return len({row["seed"] for row in _trained(report)}) > 1


def _trained(report: Report) -> list[Row]:
    return [row for row in report["rows"] if row["role"] != "teacher"]


def label(report: Report, row: Row) -> str:
    """The method, with the student and the seed where the report has several of them."""
    if row["role"] == "teacher":
        return str(row["method"])
    extra = [row["student"]] if several_students(report) else []
    if several_seeds(report):
        extra.append(f"seed {row['seed']}")
    return _labelled(row["method"], extra)


def _labelled(name: str, extra: Sequence[str]) -> str:
    return f"{name} · {', '.join(extra)}" if extra else name


def smaller(report: Report, split: str) -> str:
    """The arms that answered fewer questions than the split has, each with its n."""
    rows = rows_of(report, split)
    largest = max(row["n"] for row in rows)
    return ", ".join(dict.fromkeys(f"{row['method']} (n = {row['n']})" for row in rows if row["n"] < largest))


def results(report: Report, split: str) -> Table:
    """One line per arm: what it scored, what it cost to ask, and how it was trained."""
    rows = rows_of(report, split)
    extra = [name for name in rows[0]["metrics"] if name not in BUILT_IN]
    columns: Columns = [
        ("accuracy", lambda row: percent(row["accuracy"])),
        ("95 % interval", lambda row: percent_range(row["interval"])),
        ("correct", lambda row: count(row["correct"])),
        ("n", lambda row: count(row["n"])),
        ("no answer", lambda row: count(row["no_answer"])),
        ("cut off", lambda row: count(row["truncated"])),
        ("mean tokens", lambda row: mean_of(row["mean_tokens"])),
        *((name.replace("_", " "), _metric(name)) for name in extra),
        ("learning rate", lambda row: _plain_number(row["training"].get("learning_rate"))),
        ("budget", lambda row: _multiple(row["training"].get("budget_multiple"))),
        ("parameters", lambda row: count(row["training"].get("parameters"))),
    ]
    return _table("method", rows, columns, lambda row: label(report, row))


def training(report: Report) -> Table:
    """One line per trained arm, whatever the number of splits it was measured on.

    An upper bound is a trained arm read differently: its training stands in that arm's line.
    """
    arms: dict[tuple[Any, ...], Row] = {}
    for row in report["rows"]:
        if row["training"] and row["role"] != "upper_bound":
            arms.setdefault((row["method"], row["student"], row["seed"]), row)
    columns: Columns = [
        ("learning rate", lambda row: _plain_number(row["training"].get("learning_rate"))),
        ("budget", lambda row: _multiple(row["training"].get("budget_multiple"))),
        ("steps", lambda row: count(row["training"].get("steps"))),
        ("tokens seen", lambda row: count(row["training"].get("tokens"))),
        ("target tokens", lambda row: count(row["training"].get("target_tokens"))),
        ("seconds", lambda row: mean_of(row["training"].get("seconds"))),
        ("final loss", lambda row: count(row["training"].get("final_loss"))),
        ("parameters", lambda row: count(row["training"].get("parameters"))),
    ]
    return _table("method", list(arms.values()), columns, lambda row: label(report, row))


def seeds(report: Report, split: str) -> Table:
    student: Columns = [("student", lambda row: row["student"])] if several_students(report) else []
    columns: Columns = [
        *student,
        ("seeds", lambda row: ", ".join(str(seed) for seed in row["seeds"])),
        ("mean accuracy", lambda row: percent(row["mean"])),
        ("standard deviation", lambda row: f"{100 * row['standard_deviation']:.1f} points"),
        ("lowest", lambda row: percent(row["lowest"])),
        ("highest", lambda row: percent(row["highest"])),
        ("n each", lambda row: count(row["n"])),
    ]
    rows = [row for row in report["seeds"] if row["split"] == split]
    return _table("method", rows, columns, lambda row: str(row["method"]))


def comparisons(report: Report, pairs: Sequence[Row]) -> Table:
    """One line per pair; the difference is the first arm minus the second."""
    columns: Columns = [
        ("difference", lambda pair: points(pair["difference"])),
        ("95 % interval", lambda pair: points_range(pair["interval"])),
        ("only one right", lambda pair: f"{count(pair['only_a'])} : {count(pair['only_b'])}"),
        ("n", lambda pair: count(pair["n"])),
        ("p", lambda pair: p_value(pair["p_value"]).removeprefix("= ")),
        ("adjusted p", lambda pair: p_value(pair["p_adjusted"]).removeprefix("= ")),
        ("smallest detectable", lambda pair: _detectable(pair["minimum_detectable_difference"])),
        ("reading", _reading),
    ]
    return _table("first − second", pairs, columns, lambda pair: pair_label(report, pair))


def against_controls(report: Report, split: str) -> list[Row]:
    """Method against control, the comparisons the report is made for."""
    return [pair for pair in _of_split(report, split) if _is_main(pair)]


def other_pairs(report: Report, split: str) -> list[Row]:
    return [pair for pair in _of_split(report, split) if not _is_main(pair)]


def by_steps(report: Report, split: str) -> Table:
    """Accuracy by the number of reasoning steps; no lines where the data set does not know it."""
    rows = [row for row in rows_of(report, split) if row["by_steps"]]
    known = sorted({steps for row in rows for steps in row["by_steps"]}, key=int)
    columns: Columns = [(f"{steps} steps", _steps_cell(steps)) for steps in known]
    return _table("method", rows, columns, lambda row: label(report, row))


def drops(report: Report) -> Table:
    annotated = report["curation"]["annotated"]
    rows = [
        {"what": "kept", "count": report["curation"]["kept"]},
        *({"what": why, "count": n} for why, n in report["curation"]["dropped"].items()),
    ]
    columns: Columns = [
        ("rationales", lambda row: count(row["count"])),
        ("share", lambda row: percent(row["count"] / annotated) if annotated else DASH),
    ]
    return _table("outcome", rows, columns, lambda row: str(row["what"]).replace("_", " "))


def audited(part: Mapping[str, Any]) -> Table:
    """The table of one part of the audit, whose cells are text already."""
    lines = tuple(Line(label=row[0], cells=tuple(row[1:])) for row in part["rows"])
    return Table(tuple(part["columns"]), lines)


def spending(report: Report) -> Table:
    """What each step that asked a teacher has bought; a price that is not known says so."""
    columns: Columns = [
        ("teacher", lambda row: str(row["model"])),
        ("split", lambda row: str(row["split"])),
        ("bought", lambda row: count(row["bought"])),
        ("prompt tokens", lambda row: count(row["prompt_tokens"])),
        ("completion tokens", lambda row: count(row["completion_tokens"])),
        ("US dollars", lambda row: "not known" if row["usd"] is None else f"{row['usd']:.4f}"),
    ]
    return _table("step", report["spending"], columns, lambda row: str(row["step"]))


def pair_label(report: Report, pair: Row) -> str:
    """ "single_stage − answer_only", with student and seed where the report has several."""
    across_students = pair["a"] == pair["b"] and pair["student"] != pair["student_b"]
    student = pair["student_b"] if pair["roles"][0] == "teacher" else pair["student"]
    extra = [student] if several_students(report) and not across_students else []
    if several_seeds(report):
        extra.append(f"seed {pair['seed']}")
    names = (
        f"{pair['a']}: {pair['student']} − {pair['student_b']}"
        if across_students
        else f"{pair['a']} − {pair['b']}"
    )
    return _labelled(names, extra)


def _table(head: str, rows: Iterable[Row], columns: Columns, name: Callable[[Row], str]) -> Table:
    listed = list(rows)
    kept = [(title, cell) for title, cell in columns if any(cell(row) not in (DASH, "") for row in listed)]
    lines = tuple(
        Line(
            label=name(row),
            cells=tuple(cell(row) for _, cell in kept),
            role=ROLES.get(row.get("role", ""), ""),
            note=row.get("note", ""),
            source=row,
        )
        for row in listed
    )
    return Table((head, *(title for title, _ in kept)), lines)


def _of_split(report: Report, split: str) -> list[Row]:
    return [pair for pair in report["comparisons"] if pair["split"] == split]


def _is_main(pair: Row) -> bool:
    return set(pair["roles"]) == {"method", "control"} and pair["student"] == pair["student_b"]


def _metric(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        score = row["metrics"].get(name)
        if score is None:
            return DASH
        return percent(score["value"]) if score["unit"] == "fraction" else count(score["value"])

    return cell


def _steps_cell(steps: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        part = row["by_steps"].get(steps)
        return f"{percent(part['accuracy'])} (n = {part['n']})" if part else DASH

    return cell


def _multiple(multiple: Any) -> str:
    return DASH if multiple is None else f"{count(multiple)} ×"


def _plain_number(number: Any) -> str:
    return f"{number:g}" if isinstance(number, int | float) else count(number)


def _detectable(difference: float | None) -> str:
    return "none: n too small" if difference is None else f"{100 * difference:.1f}"


def _reading(pair: Row) -> str:
    words = {"a": "first better", "b": "second better", "neither": "not significant"}
    return words[call(pair["difference"], pair["p_adjusted"])]
