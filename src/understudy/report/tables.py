"""The tables of the report as text cells, made once for the HTML page and the Markdown file.

A column that would hold nothing but dashes is left out, so a small study has small tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.report.wording import (
    count,
    flops,
    mean_of,
    percent,
    percent_range,
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

COSTS = (
    "Tokens an answer: those that a student generates for one question, over all stages. On the frontier is "
    "a method if no other of its student is at least as accurate for no more tokens, as measured and without "
    "a test. Training is told three ways, in steps, in tokens (source and target; target tokens bear the "
    "loss) and in floating-point operations (FLOPs), as means over seeds; helpers are further students that "
    "had to be trained for the method, and come on top."
)

LENGTHS = (
    "Each method's answers, cut into quarters by the tokens that they took; answers of one length stay "
    "together. Hard questions get longer answers and cut-off ones are long, so this shows where errors are "
    "and not that length causes them."
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
    return labelled(row["method"], extra)


def labelled(name: str, extra: Sequence[str]) -> str:
    return f"{name} · {', '.join(extra)}" if extra else name


def smaller(report: Report, split: str) -> str:
    """The arms that answered fewer questions than the split has, each with its n."""
    rows = rows_of(report, split)
    largest = max(row["n"] for row in rows)
    return ", ".join(dict.fromkeys(f"{row['method']} (n = {row['n']})" for row in rows if row["n"] < largest))


def results(report: Report, split: str) -> Table:
    """One line per arm: what it scored and what it cost to ask. What training cost stands in `costs`."""
    rows = rows_of(report, split)
    extra = [name for name in rows[0]["metrics"] if name not in BUILT_IN]
    columns: Columns = [
        ("accuracy", lambda row: percent(row["accuracy"])),
        ("95 % interval", lambda row: percent_range(row["interval"])),
        ("correct", lambda row: count(row["correct"])),
        ("n", lambda row: count(row["n"])),
        ("no answer", lambda row: count(row["no_answer"])),
        ("cut off", lambda row: count(row["truncated"])),
        ("tokens an answer", lambda row: mean_of(row["mean_tokens"])),
        *((name.replace("_", " "), _metric(name)) for name in extra),
        ("budget", lambda row: _multiple(row["training"].get("budget_multiple"))),
    ]
    return table_of("method", rows, columns, lambda row: label(report, row))


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
        *_BUDGETS,
        ("seconds", lambda row: mean_of(row["training"].get("seconds"))),
        ("final loss", lambda row: count(row["training"].get("final_loss"))),
        ("parameters", lambda row: count(row["training"].get("parameters"))),
    ]
    return table_of("method", list(arms.values()), columns, lambda row: label(report, row))


def seeds(report: Report, split: str) -> Table:
    student: Columns = [("student", lambda row: row["student"])] if several_students(report) else []
    columns: Columns = [
        *student,
        ("seeds", lambda row: ", ".join(str(seed) for seed in row["seeds"])),
        ("mean accuracy", lambda row: percent(row["mean"])),
        ("95 % interval", lambda row: percent_range(row["interval"])),
        ("standard deviation", lambda row: f"{100 * row['standard_deviation']:.1f} points"),
        ("lowest", lambda row: percent(row["lowest"])),
        ("highest", lambda row: percent(row["highest"])),
        ("error from seeds", lambda row: _error(row["standard_error"]["seeds"])),
        ("error from questions", lambda row: _error(row["standard_error"]["questions"])),
        ("n each", lambda row: count(row["n"])),
    ]
    rows = [row for row in report["seeds"] if row["split"] == split]
    return table_of("method", rows, columns, lambda row: str(row["method"]))


def by_steps(report: Report, split: str) -> Table:
    """Accuracy by the number of reasoning steps; no lines where the data set does not know it."""
    rows = [row for row in rows_of(report, split) if row["by_steps"]]
    known = sorted({steps for row in rows for steps in row["by_steps"]}, key=int)
    columns: Columns = [(f"{steps} steps", _steps_cell(steps)) for steps in known]
    return table_of("method", rows, columns, lambda row: label(report, row))


def costs(report: Report, split: str) -> Table:
    """One line per method and student, the most accurate first: what its accuracy costs, by every budget.

    The number before a method is that of its dot in the drawing."""
    rows = sorted(
        (row for row in report["costs"] if row["split"] == split),
        key=lambda row: (
            row["role"] == "teacher",
            row["student"],
            row["rank"] is None,
            -float(row["accuracy"]),
        ),
    )
    student: Columns = [("student", lambda row: row["student"])] if several_students(report) else []
    columns: Columns = [
        *student,
        ("accuracy", lambda row: percent(row["accuracy"])),
        ("95 % interval", lambda row: percent_range(row["interval"])),
        ("tokens an answer", lambda row: mean_of(row["mean_tokens"])),
        ("frontier", lambda row: {True: "yes", False: "no", None: DASH}[row["on_frontier"]]),
        *_BUDGETS,
    ]
    return table_of(
        "method", rows, columns, lambda row: " · ".join(filter(None, [str(row["rank"] or ""), row["method"]]))
    )


def by_length(report: Report, split: str) -> Table:
    """Accuracy by quarter of an answer's tokens; no lines where all answers are of one length."""
    rows = [row for row in rows_of(report, split) if row["by_length"]]
    names = {"1": "shortest quarter", "2": "second", "3": "third", "4": "longest quarter"}
    columns: Columns = [(name, _length_cell(quarter)) for quarter, name in names.items()]
    return table_of("method", rows, columns, lambda row: label(report, row))


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
    return table_of("outcome", rows, columns, lambda row: str(row["what"]).replace("_", " "))


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
    return table_of("step", report["spending"], columns, lambda row: str(row["step"]))


def table_of(head: str, rows: Iterable[Row], columns: Columns, name: Callable[[Row], str]) -> Table:
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


_BUDGETS: Columns = [
    ("steps", lambda row: count(_whole(row["training"].get("steps")))),
    ("trained tokens", lambda row: count(_whole(row["training"].get("tokens")))),
    ("target tokens", lambda row: count(_whole(row["training"].get("target_tokens")))),
    ("FLOPs", lambda row: flops(row["training"].get("flops"))),
    ("helpers' tokens", lambda row: count(_whole(row["training"].get("extra_tokens")))),
    ("helpers' FLOPs", lambda row: flops(row["training"].get("extra_flops"))),
]
"""A training's cost, told three ways, and that of the trainings that only helped it."""


def _whole(number: Any) -> Any:
    """A mean of counts, over seeds, as a count."""
    return round(number) if isinstance(number, float) else number


def _error(error: float | None) -> str:
    return DASH if error is None else f"{100 * error:.1f}"


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


def _length_cell(quarter: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        part = row["by_length"].get(quarter)
        if part is None:
            return DASH
        tokens = f"{part['shortest']}–{part['longest']} tokens"
        return f"{percent(part['accuracy'])} {percent_range(part['interval'])}, {tokens}, n = {part['n']}"

    return cell


def _multiple(multiple: Any) -> str:
    return DASH if multiple is None else f"{count(multiple)} ×"


def _plain_number(number: Any) -> str:
    return f"{number:g}" if isinstance(number, int | float) else count(number)
