"""Whether the share of votes for an answer says how likely it is to be right: one section.

A share is calibrated where, of the answers with 70 % of the votes, 70 % are right. The error is the expected
calibration error over the bins of the table: the mean distance of accuracy from share, weighted by questions.
The catch: a small vote has few shares to offer, and temperature moves them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from understudy.audit.section import Section
from understudy.audit.shares import said
from understudy.report.wording import percent, percent_range
from understudy.statistics import wilson
from understudy.types import Judged

BINS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""A bin reaches from above one number up to the next, and unanimous answers are one of their own."""


def votes(arms: Mapping[str, Sequence[Judged]]) -> Section:
    """`arms`: a name for each vote -> its judged rows, whose predictions know their `share`."""
    found = {name: _calibration(rows) for name, rows in arms.items()}
    found = {name: record for name, record in found.items() if record["n"]}
    return Section(
        "votes",
        "Is a large majority more often right?",
        tuple(_sentence(name, record) for name, record in found.items()) or ("No answer was voted on.",),
        ("vote", "share of votes", "questions", "mean share", "right"),
        tuple(
            (name, part["votes"], str(part["n"]), percent(part["share"]), _accuracy(part))
            for name, record in found.items()
            for part in record["bins"]
        ),
        found,
    )


def _calibration(rows: Sequence[Judged]) -> dict[str, Any]:
    """Answers that nobody could read have no votes, and stand apart."""
    voted = [(row.prediction.share, row.verdict.name == "correct") for row in rows if row.prediction.share]
    bins = [
        _bin("unanimous" if low == high else f"over {percent(low)} to {percent(high)}", part)
        for low, high in (*pairwise(BINS), (1.0, 1.0))
        for part in ([one for one in voted if _inside(one[0], low, high)],)
        if part
    ]
    error = sum(part["n"] * abs(part["accuracy"] - part["share"]) for part in bins)
    return {
        "n": len(voted),
        "unread": len(rows) - len(voted),
        "calibration_error": error / len(voted) if voted else None,
        "bins": bins,
    }


def _inside(share: float, low: float, high: float) -> bool:
    return share == 1 if low == high else low < share <= high and share < 1


def _bin(name: str, part: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    count, n = sum(right for _, right in part), len(part)
    return {
        "votes": name,
        "n": n,
        "correct": count,
        "accuracy": count / n,
        "interval": list(wilson(count, n)),
        "share": sum(share for share, _ in part) / n,
    }


def _accuracy(part: Mapping[str, Any]) -> str:
    return f"{percent(part['accuracy'])} {percent_range(part['interval'])}"


def _sentence(name: str, record: Mapping[str, Any]) -> str:
    top = record["bins"][-1]
    which = f"answers with {top['votes']} of the votes"
    which = "unanimous answers" if top["votes"] == "unanimous" else which
    rest = f"; {record['unread']} questions got no readable answer" if record["unread"] else ""
    return (
        f"{name}: of the {which}, {said(top['correct'], top['n'])} are right; the share of votes "
        f"misses the accuracy by {percent(record['calibration_error'])} on average{rest}."
    )
