"""Numbers as people read them. Reports hold raw fractions; only here do they become per cent."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

SIGNIFICANCE = 0.05


def percent(fraction: float | None) -> str:
    """0.8317 -> "83.2 %"; a dash where there is no number."""
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def percent_range(interval: Sequence[float] | None) -> str:
    """(0.791, 0.869) -> "[79.1, 86.9]"; empty where there is no interval."""
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""


def points(difference: float) -> str:
    """A difference of two accuracies in percentage points, always signed: "+83.2", "−4.0", "0.0"."""
    rounded = f"{abs(100 * difference):.1f}"
    sign = "" if float(rounded) == 0 else "+" if difference > 0 else "−"
    return sign + rounded


def points_range(interval: Sequence[float]) -> str:
    return f"[{points(interval[0])}, {points(interval[1])}]"


def p_value(p: float) -> str:
    """ "= 0.042", or a bound that holds strictly: "< 0.001", "< 1e-100"."""
    if p >= 0.001:
        return f"= {p:.3f}"
    exponent = min(ceil(-log10(p)) - 1, 300) if p > 0 else 300
    return "< 0.001" if exponent <= 3 else f"< 1e-{exponent}"


def count(number: Any) -> str:
    """Large whole numbers with thousands apart, small fractions as they are, a dash for nothing."""
    if number is None or number == "":
        return "–"
    if isinstance(number, bool) or not isinstance(number, int | float):
        return str(number)
    if isinstance(number, float) and not number.is_integer():
        return f"{number:.3g}" if abs(number) < 100 else f"{number:,.0f}".replace(",", "\u202f")
    return f"{int(number):,}".replace(",", "\u202f")


def flops(number: Any) -> str:
    """Floating-point operations to three figures: 3.412e15 -> "3.41e15"; a dash for nothing."""
    if isinstance(number, bool) or not isinstance(number, int | float) or number == 0:
        return count(number)
    exponent = floor(log10(abs(number)))
    size = f"{number / 10**exponent:.2f}"
    return f"{size}e{exponent}" if size != "10.00" else f"1.00e{exponent + 1}"


def mean_of(mean: float | None) -> str:
    return "–" if mean is None else f"{mean:.1f}"


def call(difference: float, p_adjusted: float) -> str:
    """Which arm the evidence favours, in a word: "a", "b" or "neither"."""
    if p_adjusted >= SIGNIFICANCE or difference == 0:
        return "neither"
    return "a" if difference > 0 else "b"
