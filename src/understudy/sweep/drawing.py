"""Where the sweep's curves are drawn: the report's step panels with other x axes.

Accuracy runs from 0 to 100 % here too. A panel has one curve and, beside it, the control's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from understudy.metering import dollars
from understudy.report.plots import LEFT, RIGHT, WIDTH, Mark, Panel, Series, up
from understudy.report.wording import percent
from understudy.sweep.axes import spread
from understudy.sweep.listing import curve_name, curves

Content = dict[str, Any]
Row = dict[str, Any]
Ticks = list[tuple[float, str]]

LONGEST = 12
"""Characters of a value under an axis; the table beside it has the whole."""
LETTER = 6.5
"""Width of one, in the panel's units."""
UNIT = {"usd": "US dollars", "tokens": "tokens"}


def along(share: float) -> float:
    room = WIDTH - LEFT - RIGHT - 24
    return round(LEFT + 12 + room * share, 1)


def accuracy_panels(content: Content, split: str) -> list[Panel]:
    axis = content["axes"][0]
    places = dict(zip(axis["values"], axis["places"], strict=True))
    return _panels(content, split, lambda row: places[row["values"][0]])


def accuracy_ticks(content: Content) -> Ticks:
    axis = content["axes"][0]
    return _apart([(along(at), value) for at, value in zip(axis["places"], axis["values"], strict=True)])


# ---------------------------------------------------------------- against cost


def cost_unit(content: Content) -> str | None:
    """Dollars where somebody is paid and every price is known, else tokens; None where all cost the same."""
    costs = content["variants"]
    known = all(row["usd"] is not None for row in costs) and not all(row["free"] for row in costs)
    unit = "usd" if known else "tokens"
    return unit if len({_cost(row, unit) for row in costs}) > 1 else None


def cost_panels(content: Content, split: str) -> list[Panel]:
    places = _cost_places(content)
    return _panels(content, split, lambda row: places[row["variant"]])


def cost_ticks(content: Content) -> Ticks:
    unit = cost_unit(content) or "tokens"
    places = _cost_places(content)
    costs = {row["label"]: _cost(row, unit) for row in content["variants"]}
    said = {places[label]: _short(cost, unit) for label, cost in costs.items()}
    return _apart([(along(at), said[at]) for at in sorted(said)])


def _cost_places(content: Content) -> dict[str, float]:
    unit = cost_unit(content) or "tokens"
    labels = [row["label"] for row in content["variants"]]
    return dict(zip(labels, spread([_cost(row, unit) for row in content["variants"]]), strict=True))


def _cost(variant: Row, unit: str) -> float:
    return float(variant["usd"] if unit == "usd" else variant["prompt_tokens"] + variant["completion_tokens"])


def _short(cost: float, unit: str) -> str:
    if unit == "usd":
        return dollars(cost)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if cost >= size:
            return f"{cost / size:.3g}{letter}"
    return f"{cost:.0f}"


# ---------------------------------------------------------------- both


def _panels(content: Content, split: str, place: Callable[[Row], float]) -> list[Panel]:
    groups = list(curves(content, split))
    controls = {(rows[0]["student"], *rows[0]["values"][1:]): rows for rows in groups if _is_control(rows)}
    panels = []
    for rows in groups:
        control = controls.get((rows[0]["student"], *rows[0]["values"][1:]))
        series = [_series(0, rows, place)]
        if control is not None and control is not rows:
            series.append(_series(1, control, place))
        said = "; ".join(f"{row['variant']}: {percent(row['accuracy'])} (n = {row['n']})" for row in rows)
        panels.append(Panel(curve_name(content, rows[0]), "", rows[0]["role"], tuple(series), said))
    return panels


def beside_control(panels: Sequence[Panel]) -> bool:
    return any(len(panel.series) > 1 for panel in panels)


def _is_control(rows: Sequence[Row]) -> bool:
    return bool(rows[0]["role"] == "control" and rows[0]["method"] == "answer_only")


def _series(number: int, rows: Sequence[Row], place: Callable[[Row], float]) -> Series:
    points = [
        (along(place(row)), Mark(*(up(value) for value in (row["accuracy"], *row["interval"]))))
        for row in rows
    ]
    return Series(number, tuple(sorted(points, key=lambda point: point[0])))


def _apart(ticks: Ticks) -> Ticks:
    """Those that do not touch the one before, the last always among them."""
    short = [(at, name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…") for at, name in sorted(ticks)]
    kept: Ticks = []
    for tick in reversed(short):
        if not kept or kept[-1][0] - tick[0] >= LETTER * (len(kept[-1][1]) + len(tick[1])) / 2 + 4:
            kept.append(tick)
    return kept[::-1]
