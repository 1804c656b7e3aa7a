"""Exact values as text: the way a number is written that stands in for another one."""

from __future__ import annotations

from fractions import Fraction

MOST_PLACES = 6
"""Decimals that are written of a value that ends; one with more is rounded like one without an end."""
ROUNDED = 2


def said(value: Fraction) -> str:
    """An exact value as an answer: "2", "2.5", and "10/3" where its decimals do not end soon."""
    places = decimal_places(value)
    return str(value) if places is None else in_decimals(value, places)


def like(value: Fraction, written: str) -> str:
    """`value` in the dress of the number that stood there: its decimals, its commas, its stroke."""
    if "/" in written:
        return str(value)
    decimals = len(written.rpartition(".")[2]) if "." in written else 0
    places = decimal_places(value)
    shown = min(max(decimals, ROUNDED if places is None else places), MOST_PLACES)
    return in_decimals(value, shown, grouped="," in written)


def in_decimals(value: Fraction, places: int, grouped: bool = False) -> str:
    scaled = round(abs(value) * 10**places)
    whole, rest = divmod(scaled, 10**places)
    digits = f"{whole:,}" if grouped else str(whole)
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{digits}.{rest:0{places}d}" if places else f"{sign}{digits}"


def decimal_places(value: Fraction) -> int | None:
    """Decimals after which `value` ends; None where that is after more than MOST_PLACES, or never."""
    return next((n for n in range(MOST_PLACES + 1) if 10**n % value.denominator == 0), None)
