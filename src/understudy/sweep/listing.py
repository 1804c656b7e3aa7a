"""The sweep's tables and sentences as text, made once for the page, the Markdown file and the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from understudy.metering import dollars
from understudy.report.tables import DASH, Line, Table
from understudy.report.wording import call, count, p_value, percent, percent_range, points, points_range

Content = dict[str, Any]
Row = dict[str, Any]

CAVEAT = (
    "Intervals and tests are about the choice of questions. Tests compare neighbouring values on the same "
    "questions (exact McNemar), and their p-values are adjusted over the whole sweep (Benjamini-Hochberg)."
)
PRICE_CAVEAT = (
    "A variant's cost is that of all annotation that it stands on, whoever in the sweep paid for it first. "
    "The price of a point is the difference in cost over the difference in accuracy: it is as uncertain as "
    "that difference, whose test stands above."
)


def splits(content: Content) -> list[str]:
    return list(dict.fromkeys(row["split"] for row in content["points"]))


def asked(content: Content, split: str) -> str:
    """On how many questions, and with how many seeds."""
    rows = [row for row in content["points"] if row["split"] == split]
    sizes = sorted({row["n"] for row in rows})
    numbers = sorted({len(row["seeds"]) for row in rows if row["role"] != "teacher"}) or [1]
    said = f"n = {' or '.join(count(size) for size in sizes)}"
    seeds = f"means over {' or '.join(map(str, numbers))} seeds" if numbers != [1] else "one seed"
    return f"{said}; {seeds}; 95 % intervals in brackets."


def accuracies(content: Content, split: str) -> Table:
    """A line for each curve, a column for each value of the first axis."""
    axis = content["axes"][0]
    lines = tuple(
        Line(
            label=curve_name(content, rows[0]),
            cells=tuple(_cell(rows, value) for value in axis["values"]),
            role="" if rows[0]["role"] == "method" else rows[0]["role"].replace("_", " "),
            source=rows[0],
        )
        for rows in curves(content, split)
    )
    return Table(("method", *(f"{axis['name']}={value}" for value in axis["values"])), lines)


def curves(content: Content, split: str) -> Iterator[list[Row]]:
    """The points of a split that differ in the value of the first axis alone."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in content["points"]:
        if row["split"] == split:
            key = (row["method"], row["student"], *row["values"][1:])
            groups.setdefault(key, []).append(row)
    yield from groups.values()


def curve_name(content: Content, row: Row) -> str:
    """The method, with the student and the second axis' value where there are several."""
    students = {other["student"] for other in content["points"] if other["student"]}
    parts = [row["student"]] if len(students) > 1 and row["student"] else []
    if len(content["axes"]) > 1:
        parts.append(f"{content['axes'][1]['name']}={row['values'][1]}")
    return " · ".join([row["method"], *parts])


def _cell(rows: list[Row], value: str) -> str:
    row = next((row for row in rows if row["values"][0] == value), None)
    return DASH if row is None else f"{percent(row['accuracy'])} {percent_range(row['interval'])}"


def comparisons(content: Content, split: str) -> Table:
    several = len({row["seed"] for row in content["comparisons"]}) > 1
    words = {"a": "higher", "b": "lower", "neither": "not significant"}
    lines = tuple(
        Line(
            label=_pair_name(content, row),
            cells=(
                _step(row),
                *((str(row["seed"]),) if several else ()),
                points(row["difference"]),
                points_range(row["interval"]),
                count(row["only_to"]),
                count(row["only_from"]),
                count(row["n"]),
                p_value(row["p_value"]).removeprefix("= "),
                p_value(row["p_adjusted"]).removeprefix("= "),
                words[call(row["difference"], row["p_adjusted"])],
            ),
            source=row,
        )
        for row in content["comparisons"]
        if row["split"] == split
    )
    heads = ("method", "step", *(("seed",) if several else ()), "points", "95 % interval")
    return Table(
        (*heads, "only later right", "only earlier right", "n", "p", "p adjusted", "the later is"), lines
    )


def prices(content: Content, split: str) -> Table:
    """What one more point cost between neighbours, in dollars and in tokens."""
    free = all(row["free"] for row in content["variants"])
    heads = ("method", "step", "points", "more tokens", "tokens for a point")
    lines = tuple(
        Line(
            label=_pair_name(content, row),
            cells=(
                _step(row),
                points(row["points"] / 100),
                count(row["tokens"]),
                _per_point(row, "tokens"),
                *(() if free else (_money(row["usd"]), _per_point(row, "usd"))),
            ),
            source=row,
        )
        for row in content["prices"]
        if row["split"] == split
    )
    return Table(heads if free else (*heads, "more dollars", "dollars for a point"), lines)


def _per_point(row: Row, unit: str) -> str:
    if row[unit] is None:
        return "unknown"
    if row["points"] <= 0:
        return "no gain"
    each = row[f"{unit}_per_point"]
    return _money(each) if unit == "usd" else count(float(round(each)))


def _money(amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return dollars(amount) if amount >= 0 else f"−{dollars(-amount)}"


def _pair_name(content: Content, row: Row) -> str:
    students = {other["student"] for other in content["points"] if other["student"]}
    parts = [row["student"]] if len(students) > 1 and row["student"] else []
    parts += [f"{name}={value}" for name, value in row["at"].items()]
    return " · ".join([row["method"], *parts])


def _step(row: Row) -> str:
    return f"{row['axis']}: {row['from']} → {row['to']}"


def variants(content: Content) -> Table:
    free = all(row["free"] for row in content["variants"])
    heads = ("variant", "train questions", "with a rationale", "rationales", "completions", "prompt tokens")
    lines = tuple(
        Line(
            label=", ".join(
                f"{axis['name']}={value}" for axis, value in zip(content["axes"], row["values"], strict=True)
            ),
            cells=(
                *(count(row[name]) for name in ("train_questions", "questions_kept", "rationales_kept")),
                *(count(row[name]) for name in ("completions", "prompt_tokens", "completion_tokens")),
                *(() if free else (_money(row["usd"]),)),
            ),
            source=row,
        )
        for row in content["variants"]
    )
    return Table((*heads, "completion tokens", *(() if free else ("US dollars",))), lines)


def paid(content: Content) -> str:
    """What the sweep has really bought, and what sharing saved."""
    spent, steps = content["spending"], content["steps"]
    shared = (
        f"The {len(content['variants'])} variants stand on {steps['all']:,} steps, {steps['shared']:,} of "
        f"which several share; one by one they would have been {steps['apart']:,}."
    )
    if not spent["completions"]:
        return f"Nothing was bought. {shared}"
    money = "an unknown price" if spent["usd"] is None else dollars(spent["usd"])
    tokens = spent["prompt_tokens"] + spent["completion_tokens"]
    return f"Bought in all: {spent['completions']:,} completions, {tokens:,} tokens, for {money}. {shared}"


def terminal(content: Content) -> Iterator[str]:
    """The accuracies as lines of text."""
    for split in splits(content):
        table = accuracies(content, split)
        rows = [table.heads, *((line.label, *line.cells) for line in table.lines)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(table.heads))]
        yield f"accuracy on {split}, {asked(content, split)}"
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
