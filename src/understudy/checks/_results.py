"""The result of an equation: which number it is, how it is written, and what would stand there instead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from understudy.checks._pairs import Pair
from understudy.checks._sums import Reading, Side, read_side
from understudy.checks._tokens import Token
from understudy.checks.equations import OTHER_READINGS, agree

Dress = Literal["", "%", "/"]
"""What a number was written as: 5 and 5% are not the same number, nor are 1/2 and 0.5."""
ONE = (Fraction(1),)
FLOATING = 10
"""More decimals than these only floating-point sums write."""
HUNDREDFOLD = (Fraction(1), Fraction(100), Fraction(1, 100))


@dataclass(frozen=True, slots=True)
class Result:
    """The one number, or plain fraction, that a right side is: tokens [first, last]."""

    first: int
    last: int
    minus: int | None
    """The place of its minus sign."""
    number: Fraction
    """As written: 40 of "40%"."""
    dress: Dress
    written: str
    """Without its sign."""


def result(text: str, found: Sequence[Token], side: Side) -> Result | None:
    """The number of a right side; None of a sum, and of a fraction in LaTeX."""
    inside = range(side.start, side.end)
    places = [place for place in inside if found[place].kind == "number"]
    first, last = places[0], places[-1]
    if any(found[place].kind == "frac" for place in inside) or not (
        side.lone or _is_stroke(found, first, last)
    ):
        return None
    written = text[found[first].start : found[last].end]
    number = side.value if "/" in written else side.numbers[0][0]
    minus = next((place for place in range(side.start, first) if found[place].text == "-"), None)
    if minus is not None and "/" not in written:
        number = -number
    dress: Dress = "/" if "/" in written else "%" if found[last + 1].kind == "percent" else ""
    return Result(first, last, minus, number, dress, written)


def numbers_at(found: Sequence[Token], place: int) -> Iterator[tuple[Fraction, Dress, int]]:
    """What the number token at `place` may be with what follows: value, dress, its last token."""
    value = found[place].value
    if place + 2 < len(found) and _is_stroke(found, place, place + 2) and found[place + 2].value:
        yield value / found[place + 2].value, "/", place + 2
    yield value, "%" if found[place + 1].kind == "percent" else "", place


def _is_stroke(found: Sequence[Token], first: int, last: int) -> bool:
    """Whether exactly "1/2" stands there."""
    over, under = found[first + 1], found[last]
    return last == first + 2 and (over.text, under.kind) == ("/", "number")


def held_as(found: Sequence[Token], pair: Pair, number: Result | None, hundredfold: bool) -> Reading | None:
    """The reading in which an equation that holds does so; None if it holds for another reason."""
    for reading in (Reading(), *OTHER_READINGS):
        left, right = (read_side(found, side.start, reading) for side in (pair.left, pair.right))
        if left is None or right is None:
            continue
        agreed = agree(left, right, pair.almost, hundredfold)
        if not agreed and not noise(left.value, right.value, number):
            continue
        if number is None or not number.dress or _meets(left.value, right.value, number):
            return reading
    return None


def _meets(left: Fraction, right: Fraction, number: Result) -> bool:
    """Whether a percentage is the value, rounded at most, and a fraction the value itself: `agree` forgives
    what is below 1, and so are these."""
    if number.dress == "/" or not number.number:
        return left == right
    unit = right / number.number / 10 ** len(number.written.partition(".")[2])
    return any(abs(left * scale - right) < abs(unit) for scale in HUNDREDFOLD)


def noise(left: Fraction, right: Fraction, number: Result | None) -> bool:
    """Whether two values differ as floating-point sums do: 0.5 - 0.4 = 0.09999999999999998."""
    long = number is not None and len(number.written.partition(".")[2]) > FLOATING
    return long and abs(left - right) * 10**9 < max(abs(left), Fraction(1))


def in_hundredths(found: Sequence[Token], pair: Pair) -> bool:
    """Whether a percentage or cents stand there. Dollars do not count: they forgive a lost zero."""
    inside = found[pair.left.start : pair.right.end + 1]
    return any(token.kind == "percent" or token.text in ("cent", "cents") for token in inside)


def nearest(left: Fraction, right: Fraction, scales: Sequence[Fraction]) -> Fraction:
    """The left value, 100 times it or a 100th, as is next to the number that is to be overwritten."""
    if left * right <= 0:
        return left
    ratios = {scale: left * scale / right for scale in scales}
    return left * min(scales, key=lambda scale: max(ratios[scale], 1 / ratios[scale]))


def likewise(old: Fraction, right: Side, new: Fraction, scales: Sequence[Fraction]) -> Fraction:
    """What stands for `new` as the right side stood for `old`: hundredfold, rounded up, rounded down."""
    scale = min(scales, key=lambda scale: abs(old * scale - right.value))
    exact, new = old * scale, new * scale
    if exact == right.value or not right.lone:
        return new
    decimals = right.numbers[0][1]
    if decimals == 0 and abs(exact - right.value) < 1:
        return Fraction(math.floor(new) if right.value < exact else math.ceil(new))
    return Fraction(round(new * 10**decimals), 10**decimals)
