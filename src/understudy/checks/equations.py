"""Every equation of a rationale, computed again: "3 * 4 + 2 = 14" holds, "$5 x 3 = $16" does not.

Only what is wholly numbers on both sides counts ("x + 3 = 7" and "cost = 5" are left alone), and a flag must
be a real mistake: where people's notation has two readings either may hold, and where more may belong to a
sum than was read, or units are mixed ("5 weeks * 7 = 1 month"), it counts only if it holds. No
text is ever evaluated.

A right side holds if it is the exact value, or one that people write for it:
- the value rounded, half either way, or cut to the decimals that are written (2/3 = 0.67, 0.66);
- the integer just below or above the value (25 / 4 = 6, 7): people and buses are not divided;
- after "≈" or "about", anything within 5 %;
- 100 times or a 100th of it where a "%", "$" or "cents" stands (20 / 50 = 40%, 3 * 50 cents = $1.50);
- where a rounded number went in (33.33 * 3 = 100), anything that its rounding explains;
- a running sum, as it is said aloud (3 + 4 = 7 * 2 = 14).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from understudy.checks._pairs import Pair, pairs
from understudy.checks._sums import Reading, Side, read_side
from understudy.checks._tokens import Token, tokens

LONGEST = 12_000
"""Characters that are looked at; a rationale is far shorter."""
ALMOST = Fraction(1, 20)

MARK = re.compile(r"<<([^<>\n]{1,200})>>")
_HUNDREDFOLD = ("%", "$", "percent", " cent")
OTHER_READINGS = tuple(
    Reading(percent, percent_of_left, first)
    for percent in (Fraction(1, 100), Fraction(1))
    for percent_of_left in (False, True)
    for first in ("", "(", "/")
)[1:]


@dataclass(frozen=True, slots=True)
class Equation:
    """Characters [start, end) of the text, and what its sides come to."""

    start: int
    end: int
    text: str
    left: Fraction
    right: Fraction
    holds: bool


def wrong(text: str) -> list[Equation]:
    """The equations of `text` that do not hold."""
    return [equation for equation in equations(text) if not equation.holds]


def equations(text: str) -> list[Equation]:
    """Every equation between numbers, in order; of a chain "a = b = c" each pair of neighbours."""
    text = text[:LONGEST]
    if not any(sign in text for sign in ("=", "≈", "\\approx")):
        return []
    outside = MARK.sub(lambda mark: " " * len(mark.group()), text)
    found = list(_equations(outside, 0, text))
    for mark in MARK.finditer(text):
        found += _equations(mark.group(1), mark.start(1), text)
    return sorted(found, key=lambda equation: (equation.start, equation.end))


def _equations(part: str, offset: int, text: str) -> Iterator[Equation]:
    found = tokens(part)
    for pair in pairs(part, found):
        true = holds(part, found, pair)
        if true or not pair.doubtful:
            start, end = offset + found[pair.left.start].start, offset + found[pair.right.end - 1].end
            yield Equation(start, end, text[start:end], pair.left.value, pair.right.value, true)


def holds(part: str, found: Sequence[Token], pair: Pair) -> bool:
    """Whether some reading makes it true; the plain one, which mostly does, is tried first, and alone where
    there is doubt what belongs to the sum."""
    hundredfold = is_hundredfold(part, found, pair)
    if agree(pair.left, pair.right, pair.almost, hundredfold):
        return True
    if pair.doubtful:
        return False
    signs = {token.text for token in found[pair.left.start : pair.right.end]}
    for reading in OTHER_READINGS:
        if not reading.signs <= signs:
            continue
        left = read_side(found, pair.left.start, reading)
        right = read_side(found, pair.right.start, reading)
        if left and right and agree(left, right, pair.almost, hundredfold):
            return True
    relation = found[pair.left.end].start
    return any(
        left.end == len(tail) - 1 and agree(left, pair.right, pair.almost, hundredfold)
        for start in _later_starts(found, pair)
        if (tail := tokens(part[start:relation])) and (left := read_side(tail, 0, Reading()))
    )


def is_hundredfold(part: str, found: Sequence[Token], pair: Pair) -> bool:
    """Whether a sign stands there for which 100 times the value may be written, or a 100th of it."""
    start, end = found[pair.left.start].start, found[pair.right.end - 1].end
    return any(sign in part[start : end + 20] for sign in _HUNDREDFOLD)


def _later_starts(found: Sequence[Token], pair: Pair) -> Iterator[int]:
    """Where else the left side may start: after the first sign if it goes on from another right side
    ("2 * 15 = 30 + 2 * 4 = 8"), after "of" ("4% of 500 - 25 = 475"), and after a point that may end a
    sentence ("so it is 147.158 - 147 = 11")."""
    left = found[pair.left.start : pair.left.end]
    if pair.inner:
        yield from [token.end for token in left if token.kind == "operator"][:1]
    for token in left:
        if token.text == "of":
            yield token.end
        if token.kind == "number" and "." in token.text.strip("."):
            yield token.start + token.text.index(".") + 1


def agree(left: Side, right: Side, almost: bool, hundredfold: bool) -> bool:
    """Whether the right side is the left one's value, or what people write for it: the list at the head."""
    value, decimals = left.value, right.numbers[0][1] if right.lone else None
    return (
        _written_as(value, right.value, decimals)
        or (right.operators > 0 and _written_as(value, right.first, right.first_decimals))
        or (left.lone and _written_as(right.value, value, left.numbers[0][1]))
        or (almost and abs(value - right.value) <= ALMOST * abs(value))
        or (
            hundredfold
            and any(_written_as(value * times, right.value, decimals) for times in (100, Fraction(1, 100)))
        )
        or abs(value - right.value) <= _slack(left) + _slack(right)
    )


def _written_as(value: Fraction, written: Fraction, decimals: int | None) -> bool:
    """Whether `written` is the value or, a number with that many decimals, a usual rounding of it."""
    if value == written:
        return True
    if decimals is None:
        return False
    off = abs(value - written) * 10**decimals
    return off < 1 and (decimals == 0 or off <= Fraction(1, 2) or abs(written) < abs(value))


def _slack(side: Side) -> Fraction:
    """How far the value may be off because numbers that went into it were themselves rounded."""
    rounded = [
        (number, Fraction(1, 10**decimals))
        for number, decimals in side.numbers
        if _is_rounded(number, decimals)
    ]
    relative = sum((unit / abs(number) for number, unit in rounded), Fraction(0))
    return max(abs(side.value) * relative, sum((unit for _, unit in rounded), Fraction(0)))


def _is_rounded(number: Fraction, decimals: int) -> bool:
    """Whether it looks like a third, a sixth, a seventh or a ninth: 33.33, 0.17, 0.143, 0.11."""
    if decimals < 2 or not number:
        return False
    return any(abs(Fraction(round(number * part), part) - number) * 10**decimals < 1 for part in (3, 6, 7, 9))
