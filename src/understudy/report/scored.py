"""What students say when they are scored instead of read: accuracy by log-likelihood, and calibration.

acc counts the questions whose most probable option is the gold one, acc_norm those where it is the most
probable for its number of characters. Both are paired against the control exactly as the accuracies of
written answers are, over questions and seeds, with p-values adjusted over all pairs of a measure.

Confidence is the chosen option's share of the probability of a question's options. The error is the expected
calibration error (Guo et al., arXiv 1706.04599): the mean distance of accuracy from confidence over bins of
equal width, weighted by their questions. The catch: a question with two options cannot have a confidence
below a half, so errors compare only between students that chose from as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from understudy.audit.section import Section
from understudy.report.comparisons import compare
from understudy.report.plots import LEFT, RIGHT, WIDTH, up
from understudy.report.study import Arm, Role
from understudy.report.wording import p_value, percent, percent_range, points, points_range
from understudy.statistics import wilson
from understudy.types import Judged, Prediction, Question, Verdict

BINS = 10
"""Of equal width: over 0 to 10 %, over 10 to 20 %, ..., over 90 to 100 %."""
MEASURES = ("acc", "acc_norm")
CALIBRATION = "scored_calibration"
BINNING = (
    "Confidence is the chosen option's share of the probability of all options of a question. The "
    f"{BINS} bins are of equal width, each with its upper end; the calibration error is the mean distance of "
    "accuracy from mean confidence, weighted by questions."
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a student chose on one question."""

    question: Question
    right: bool
    right_normalised: bool
    confidence: float | None
    """None where nothing could be scored, which counts as not right."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """One arm's choices on one split."""

    method: str
    student: str
    seed: int
    split: str
    role: Role
    rows: tuple[Chosen, ...]
    reads: str
    """What the options follow: "prompt" or "own rationale"."""
    without_cue: int = 0
    """Questions on which the student's own text had no answer cue, so that it was put behind."""
    lengths_differ: bool = False
    """Whether any question's options differ in length, without which the two accuracies are one."""

    @property
    def name(self) -> str:
        return f"{self.method}, {self.student}, seed {self.seed}, {self.split}"


def scored(scorings: Sequence[Scoring], left_out: Mapping[str, str]) -> tuple[Section, ...]:
    """Accuracies, what they are against the control, and calibration. `left_out`: method -> why."""
    reasons = tuple(f"{method} was not scored: {why}." for method, why in left_out.items())
    if not scorings:
        first = "No method's options could be scored."
        return (Section("scored", "Options by log-likelihood", (first, *reasons)),)
    return (_accuracies(scorings, reasons), *_pairs(scorings), _calibration(scorings))


# ---------------------------------------------------------------- accuracies


def _accuracies(scorings: Sequence[Scoring], reasons: Sequence[str]) -> Section:
    records = [_record(one) for one in scorings]
    best = max(records, key=lambda record: record["acc"])
    sentences = [
        f"{len(records)} students were asked which option they find most probable; most often right is "
        f"{best['name']}: {percent(best['acc'])} {percent_range(best['acc_interval'])} of {best['n']}."
    ]
    if not any(one.lengths_differ for one in scorings):
        sentences.append(
            "The options of a question were scored in words of equal length, so acc_norm is the same as acc."
        )
    added = [one for one in scorings if one.without_cue]
    sentences += [
        f"{one.name}: {one.without_cue} of {len(one.rows)} rationales stated no answer, and the words that "
        "do were put behind them."
        for one in added
    ]
    sentences += [
        f"{record['name']}: {record['without_scores']} questions could not be scored and count as not right."
        for record in records
        if record["without_scores"]
    ]
    return Section(
        "scored",
        "Options by log-likelihood",
        (*sentences, *reasons),
        ("student", "options follow", "acc", "acc_norm", "n"),
        tuple(
            (
                record["name"],
                record["reads"],
                *(f"{percent(record[m])} {percent_range(record[f'{m}_interval'])}" for m in MEASURES),
                str(record["n"]),
            )
            for record in records
        ),
        {"arms": records, "left_out": list(reasons)},
    )


def _record(one: Scoring) -> dict[str, Any]:
    n = len(one.rows)
    counts = (sum(row.right for row in one.rows), sum(row.right_normalised for row in one.rows))
    found: dict[str, Any] = {
        **{key: getattr(one, key) for key in ("name", "method", "student", "seed", "split", "role", "reads")},
        "n": n,
        "without_scores": sum(row.confidence is None for row in one.rows),
        "without_cue": one.without_cue,
    }
    for measure, count in zip(MEASURES, counts, strict=True):
        found |= {measure: count / n, f"{measure}_correct": count}
        found[f"{measure}_interval"] = list(wilson(count, n))
    return found


def _pairs(scorings: Sequence[Scoring]) -> tuple[Section, ...]:
    """Methods minus their control, by each measure, in the way of the report's other comparisons."""
    found = {}
    for measure in MEASURES:
        _, pooled = compare([_arm(one, measure) for one in scorings])
        found[measure] = [
            pair
            for pair in pooled
            if set(pair["roles"]) == {"method", "control"} and pair["student"] == pair["student_b"]
        ]
    rows = [(measure, pair) for measure in MEASURES for pair in found[measure]]
    if not rows:
        return ()
    significant = sum(pair["p_adjusted"] < 0.05 for pair in found["acc"])
    first = (
        f"By log-likelihood {significant} of {len(found['acc'])} methods differ from the control "
        "(adjusted p below 0.05)."
    )
    return (
        Section(
            "scored_pairs",
            "Options by log-likelihood, against the control",
            (first,),
            ("method − control", "measure", "difference in points", "only one right", "n", "adjusted p"),
            tuple(
                (
                    f"{pair['a']} − {pair['b']}, {pair['student']}, {pair['split']}",
                    measure,
                    f"{points(pair['difference'])} {points_range(pair['interval'])}",
                    f"{pair['only_a']} : {pair['only_b']}",
                    str(pair["n"]),
                    p_value(pair["p_adjusted"]).removeprefix("= "),
                )
                for measure, pair in rows
            ),
            found,
        ),
    )


def _arm(one: Scoring, measure: str) -> Arm:
    """Choices as verdicts, so that they are compared by the same code as written answers."""
    rows = tuple(
        Judged(
            row.question,
            Prediction(row.question.id, ()),
            Verdict(
                "correct" if (row.right if measure == "acc" else row.right_normalised) else "wrong", None
            ),
        )
        for row in one.rows
    )
    return Arm(one.method, one.student, one.seed, one.split, rows, one.role)


# ---------------------------------------------------------------- calibration


def calibration(choices: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Of (confidence, right) pairs: the expected calibration error, and the bins that it is made from."""
    inside: dict[int, list[tuple[float, bool]]] = {}
    for confidence, is_right in choices:
        inside.setdefault(min(max(ceil(confidence * BINS) - 1, 0), BINS - 1), []).append(
            (confidence, is_right)
        )
    bins: list[dict[str, Any]] = []
    for place in sorted(inside):
        part = inside[place]
        correct, n = sum(is_right for _, is_right in part), len(part)
        bins.append(
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "n": n,
                "correct": correct,
                "confidence": sum(confidence for confidence, _ in part) / n,
                "accuracy": correct / n,
                "interval": list(wilson(correct, n)),
            }
        )
    total = len(choices)
    error = (
        sum(one["n"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / total if total else None
    )
    return {"n": total, "calibration_error": error, "bins": bins}


def _calibration(scorings: Sequence[Scoring]) -> Section:
    arms: list[dict[str, Any]] = [
        {
            "name": one.name,
            "method": one.method,
            "student": one.student,
            "seed": one.seed,
            "split": one.split,
            **calibration([(row.confidence, row.right) for row in one.rows if row.confidence is not None]),
        }
        for one in scorings
    ]
    told = [
        f"{arm['name']}: confidence misses accuracy by {percent(arm['calibration_error'])} on average "
        f"(n = {arm['n']})."
        for arm in arms
        if arm["n"]
    ]
    return Section(
        CALIBRATION,
        "Are options right as often as students are sure?",
        (*(told or ["Nothing was scored."]), BINNING),
        ("student", "confidence", "mean", "right", "n"),
        tuple(
            (
                arm["name"],
                f"over {percent(one['low'])} to {percent(one['high'])}",
                percent(one["confidence"]),
                f"{percent(one['accuracy'])} {percent_range(one['interval'])}",
                str(one["n"]),
            )
            for arm in arms
            for one in arm["bins"]
        ),
        {"binning": BINNING, "arms": arms},
    )


# ---------------------------------------------------------------- the drawing


def panels(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the calibration section, a panel for each method, student and split: a line of points for each seed,
    in pixels; empty for any other section."""
    if part["name"] != CALIBRATION:
        return []
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for arm in part["numbers"]["arms"]:
        if arm["bins"]:
            groups.setdefault((arm["method"], arm["student"], arm["split"]), []).append(arm)
    return [
        {
            "title": " · ".join(key),
            "summary": "; ".join(_said(arm) for arm in arms),
            "series": [[_point(one) for one in arm["bins"]] for arm in arms],
        }
        for key, arms in groups.items()
    ]


def _point(one: Mapping[str, Any]) -> dict[str, float]:
    low, high = one["interval"]
    return {"x": right_to(one["confidence"]), "y": up(one["accuracy"]), "low": up(low), "high": up(high)}


def right_to(share: float) -> float:
    """Where a confidence stands in a panel."""
    return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)


def _said(arm: Mapping[str, Any]) -> str:
    parts = (
        f"sure {percent(b['confidence'])}, right {percent(b['accuracy'])} (n = {b['n']})" for b in arm["bins"]
    )
    return f"seed {arm['seed']}: {', '.join(parts)}"
