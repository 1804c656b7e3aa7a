"""How an audit says a share, never without its n: in a sentence, in the cells of a table, as raw numbers."""

from __future__ import annotations

from typing import Any

from understudy.report.wording import percent, percent_range
from understudy.statistics import wilson


def said(count: int, n: int) -> str:
    """ "12 of 400 (3.0 %, 95 % interval [1.7, 5.2])"."""
    if n == 0:
        return "0 of 0"
    return f"{count} of {n} ({percent(count / n)}, 95 % interval {percent_range(wilson(count, n))})"


def cells(count: int, n: int) -> tuple[str, str, str]:
    """How many, of how many, and the share with its interval."""
    if n == 0:
        return "0", "0", "–"
    return str(count), str(n), f"{percent(count / n)} {percent_range(wilson(count, n))}"


def raw(count: int, n: int) -> dict[str, Any]:
    return {
        "count": count,
        "n": n,
        "share": count / n if n else None,
        "interval": list(wilson(count, n)) if n else None,
    }
