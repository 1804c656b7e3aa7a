"""Variants that have run become the content of sweep.json: every number of the sweep's report is made here.

Compared are neighbours on a curve, question by question, seed by seed; p-values are adjusted over the whole
sweep. Fractions and dollars are raw; the page and the Markdown file only format them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import sqrt
from statistics import fmean, stdev, variance
from typing import Any

from understudy.report import Arm
from understudy.report.wording import SIGNIFICANCE, points
from understudy.statistics import benjamini_hochberg, mcnemar_exact, paired_bootstrap, wilson
from understudy.sweep.axes import Axis, is_log
from understudy.sweep.costs import Cost
from understudy.sweep.curves import (
    PARTIAL,
    Curve,
    Measured,
    Neighbours,
    Point,
    check_same,
    curves_of,
    neighbours_of,
    right,
)
from understudy.sweep.planning import Sweep

SCHEMA = 1
"""Raised when a key of sweep.json is renamed, removed or changes its meaning."""

Row = dict[str, Any]


def assemble(
    sweep: Sweep, measured: Sequence[Measured], spending: Mapping[str, Any], steps: Mapping[str, int]
) -> dict[str, Any]:
    """Everything the sweep's report says. Raises DataError where variants that should have been evaluated on
    the same questions were not."""
    curves = curves_of(measured)
    if not sweep.other_questions:
        check_same(curves)
    neighbours = list(neighbours_of(sweep.axes, curves))
    comparisons = _comparisons(neighbours)
    variants = [_variant(part) for part in measured]
    first = measured[0].report
    return {
        "schema": SCHEMA,
        "title": f"{first['title']}: sweep over {' and '.join(axis.name for axis in sweep.axes)}",
        "task": first["task"],
        "task_title": first["task_title"],
        "headline": _headline(comparisons),
        "axes": [_axis(axis) for axis in sweep.axes],
        "variants": variants,
        "points": [_point(curve, point) for curve, found in curves.items() for point in found],
        "comparisons": comparisons,
        "prices": [_price(pair) for pair in neighbours if pair.low.arms[0].role != "teacher"],
        "spending": dict(spending),
        "steps": dict(steps),
        "notes": list(_notes(sweep, measured)),
    }


def _comparisons(neighbours: Sequence[Neighbours]) -> list[Row]:
    """`difference` is the later value minus the earlier one."""
    records = [record for pair in neighbours for record in _compared(pair)]
    adjusted = benjamini_hochberg([record["p_value"] for record in records])
    return [{**record, "p_adjusted": p} for record, p in zip(records, adjusted, strict=True)]


def _compared(pair: Neighbours) -> Iterator[Row]:
    """One record for each seed that both ends were trained with, on the questions that both answered.

    Nothing where the two were evaluated on different question sets, for then nothing pairs them, nor where
    the axis left the teacher as it was.
    """
    low = {arm.seed: arm for arm in pair.low.arms}
    for arm in pair.high.arms:
        if arm.seed not in low:
            continue
        if arm.role == "teacher" and arm.rows == low[arm.seed].rows:
            continue
        before, after = right(low[arm.seed]), right(arm)
        if before.keys() != after.keys() and arm.role not in PARTIAL:
            continue
        common = [id_ for id_ in before if id_ in after]
        if not common:
            continue
        was, now = [before[id_] for id_ in common], [after[id_] for id_ in common]
        test = mcnemar_exact(now, was)
        difference, lower, upper = paired_bootstrap(now, was)
        yield {
            **pair.record(),
            "seed": arm.seed,
            "n": len(common),
            "difference": difference,
            "interval": [lower, upper],
            "only_to": test.only_a,
            "only_from": test.only_b,
            "p_value": test.p_value,
        }


def _price(pair: Neighbours) -> Row:
    """What one more point of accuracy cost between two neighbours."""
    low, high = pair.low.measured.cost, pair.high.measured.cost
    gain = 100 * (pair.high.accuracy - pair.low.accuracy)
    usd = None if low.usd is None or high.usd is None else high.usd - low.usd
    tokens = _tokens(high) - _tokens(low)
    return {
        **pair.record(),
        "points": gain,
        "usd": usd,
        "tokens": tokens,
        "usd_per_point": None if usd is None or gain <= 0 else usd / gain,
        "tokens_per_point": tokens / gain if gain > 0 else None,
    }


# ---------------------------------------------------------------- records


def _axis(axis: Axis) -> Row:
    numbers = axis.numbers
    scale = "names" if numbers is None else "log" if is_log(numbers) else "linear"
    return {
        "name": axis.name,
        "key": axis.key,
        "values": list(axis.values),
        "places": list(axis.places()),
        "scale": scale,
    }


def _variant(part: Measured) -> Row:
    curation = part.report["curation"]
    return {
        "label": part.variant.label,
        "values": list(part.variant.values),
        "folder": part.folder,
        "train_questions": part.questions["train"],
        "questions_kept": curation.get("questions_kept"),
        "rationales_kept": curation["kept"],
        **asdict(part.cost),
    }


def _point(curve: Curve, point: Point) -> Row:
    method, student, split = curve
    accuracies = [fmean(right(arm).values()) for arm in point.arms]
    return {
        "variant": point.measured.variant.label,
        "values": list(point.measured.variant.values),
        "method": method,
        "student": student,
        "split": split,
        "role": point.arms[0].role,
        "seeds": [arm.seed for arm in point.arms],
        "n": len(point.arms[0].rows),
        "correct": [sum(right(arm).values()) for arm in point.arms],
        "accuracy": fmean(accuracies),
        "standard_deviation": stdev(accuracies) if len(accuracies) > 1 else None,
        "interval": list(_interval(point.arms)),
    }


def _interval(arms: Sequence[Arm]) -> tuple[float, float]:
    """95 % interval of the mean over seeds: Wilson's for one seed; for several a t interval.

    Its variance is that of the seeds' means over their number plus that of the questions' means over theirs,
    its degrees of freedom Satterthwaite's (1946). Noise of a single answer enters both, so it is rather too
    wide than too narrow. Two or three seeds say little about seeds, and the interval is then wide.
    """
    from scipy.stats import t

    answers = [right(arm) for arm in arms]
    means = [fmean(own.values()) for own in answers]
    shared = [id_ for id_ in answers[0] if all(id_ in own for own in answers)]
    questions = [fmean(own[id_] for own in answers) for id_ in shared]
    if len(arms) == 1 or len(shared) < 2 or len({*means}) == len({*questions}) == 1:
        return wilson(sum(answers[0].values()), len(answers[0]))
    parts = [(variance(values) / len(values), len(values) - 1) for values in (means, questions)]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / own for part, own in parts)
    reach = float(t.ppf(0.975, freedom)) * sqrt(total)
    return max(0.0, fmean(means) - reach), min(1.0, fmean(means) + reach)


def _tokens(cost: Cost) -> int:
    return cost.prompt_tokens + cost.completion_tokens


def _headline(comparisons: Sequence[Row]) -> str:
    if not comparisons:
        return "No two neighbouring values could be compared question by question."
    changed = [row for row in comparisons if row["p_adjusted"] < SIGNIFICANCE and row["difference"]]
    said = (
        f"Of {len(comparisons)} steps from one value to the next, {len(changed)} changed the accuracy "
        "significantly (paired tests on the same questions, adjusted over the sweep)"
    )
    if not changed:
        return f"{said}."
    own = [row for row in changed if row["role"] not in PARTIAL] or changed
    most = max(own, key=lambda row: abs(row["difference"]))
    who = f"{most['method']} ({most['student']})" if most["student"] else most["method"]
    change = f"{points(most['difference'])} points from {most['axis']}={most['from']} to {most['to']}"
    return f"{said}; the largest: {who}, {change} on {most['split']} (n = {most['n']})."


def _notes(sweep: Sweep, measured: Sequence[Measured]) -> Iterator[str]:
    yield from dict.fromkeys(note for part in measured for note in part.variant.recipe.notes)
    if any(axis.key == "data.train" for axis in sweep.axes):
        yield from _alike(measured)
    if len({part.questions.get("dev") for part in measured}) > 1:
        yield "The variants have dev sets of different sizes; the evaluated questions are not affected."
    if sweep.other_questions:
        yield "Variants may have been evaluated on different questions: only values with the same are tested."
    taught = [part.variant.recipe.teacher for part in measured]
    identities = {teacher.identity().model for teacher in taught if teacher}
    if len(identities) > 1 and any(part.variant.recipe.price for part in measured):
        yield "The recipe gives one price, which was used for every teacher of this sweep."


def _alike(measured: Sequence[Measured]) -> Iterator[str]:
    by_size: dict[int, list[str]] = {}
    for part in measured:
        by_size.setdefault(part.questions["train"], []).append(part.variant.label)
    most = max(by_size)
    if len(by_size[most]) > 1 and len({label.split("_")[0] for label in by_size[most]}) > 1:
        yield f"There are only {most:,} training questions: {', '.join(by_size[most])} have all of them."
