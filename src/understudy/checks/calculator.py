"""The calculator of Magister et al. (arXiv 2212.08410): sums are done again, and the results are carried on.

    5 + 5 = 11. 11 * 2 = 22. The answer is 22.    ->    5 + 5 = 10. 10 * 2 = 20. The answer is 20.

The text is walked from left to right. An equation's left side is computed, its right side overwritten if it
is not what people write for that value (`equations.holds`), and every later equation that says the
overwritten number reads the new one. So does the answer, wherever the judge reads it, if it stands behind.
Exact values are carried, rounded ones are written. No text is ever evaluated.

The catch: a later number that only happens to equal an overwritten one is carried too, for nothing in a text
says where a number is from. And what is doubtful (`_pairs`) is left alone, which costs some corrections and
spares true sentences: "half of 50 - 5 = 20" stays. So do a division by zero, a LaTeX fraction as result, and
the last part of "2 + 3 = 5 = 6", which may be "60 minutes = 1 hour".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from understudy import answers
from understudy.checks._pairs import Pair, pairs
from understudy.checks._results import (
    HUNDREDFOLD,
    ONE,
    Dress,
    Result,
    held_as,
    in_hundredths,
    likewise,
    nearest,
    noise,
    numbers_at,
    result,
)
from understudy.checks._sums import Reading, Side, read_side
from understudy.checks._tokens import Token, tokens
from understudy.checks._written import like
from understudy.checks.equations import LONGEST, MARK, agree, holds, is_hundredfold

Carried = dict[int, tuple[int, Fraction]]
"""The place of a number's first token -> the place of its last one, and what it means by now."""


def calculate(text: str) -> str:
    """`text` with its sums done again; the same text if all of them hold or none is found.

    Equations are looked for in the first `equations.LONGEST` characters. The cost is linear in the text.
    """
    if not any(sign in text[:LONGEST] for sign in ("=", "≈", "\\approx")):
        return text
    walk = _Walk(text)
    walk.equations()
    if walk.edits:
        walk.answer()
    return walk.edited()


@dataclass(slots=True)
class _Part:
    """The text without its calculator marks, or the inside of one mark."""

    text: str
    offset: int
    found: list[Token]
    fresh: list[Token]
    """As `found`, with the numbers that are carried in."""
    results: dict[int, Fraction] = field(default_factory=dict)
    """The values of overwritten right sides, by their first token: one may be the next left side."""

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Characters of the whole text that tokens [first, last] stand on."""
        return self.offset + self.found[first].start, self.offset + self.found[last].end


def _part(text: str, offset: int) -> _Part:
    found = tokens(text)
    return _Part(text, offset, found, list(found))


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.edits: dict[int, tuple[int, str]] = {}
        """Start -> end, and what stands there instead."""
        self.known: dict[tuple[Fraction, Dress], list[tuple[int, Fraction]]] = {}
        """A number as written -> from which character on it means what."""
        self.ranges: list[tuple[int, int]] = []
        """Where equations stand."""

    # ------------------------------------------------------------ equations

    def equations(self) -> None:
        head = self.text[:LONGEST]
        outside = _part(MARK.sub(lambda mark: " " * len(mark.group()), head), 0)
        parts = [(outside, -1)]
        parts += [(_part(mark.group(1), mark.start(1)), mark.end()) for mark in MARK.finditer(head)]
        order = [
            (part.offset + part.found[pair.left.end].start, number, pair)
            for number, (part, _) in enumerate(parts)
            for pair in pairs(part.text, part.found)
        ]
        for _, number, pair in sorted(order, key=lambda one: one[:2]):
            part, behind = parts[number]
            self.ranges.append(part.span(pair.left.start, pair.right.end - 1))
            self.equation(part, pair)
            if behind >= 0:
                self.copy(outside, behind, result(part.text, part.found, pair.right))

    def equation(self, part: _Part, pair: Pair) -> None:
        """Carry numbers into the left side; overwrite the right side if it then does not hold."""
        number = result(part.text, part.found, pair.right)
        hundredfold = is_hundredfold(part.text, part.found, pair)
        held = holds(part.text, part.found, pair) or noise(pair.left.value, pair.right.value, number)
        reading = held_as(part.found, pair, number, hundredfold) if held else Reading()
        if reading is None and number is not None and number.dress:
            held, reading = False, Reading()
        if pair.doubtful and not held:
            return None
        carried = self.carried(part, pair.left)
        stale = not carried and pair.left.start not in part.results
        if reading is None or (held and stale):
            return self.confirm(part, number)
        old, right = (read_side(part.found, side.start, reading) for side in (pair.left, pair.right))
        left = self.left(part, pair.left, reading, carried)
        if left is None or old is None or right is None:
            return None
        self.carry(part, carried)
        if number is None:
            return None
        if held:
            value = likewise(old.value, right, left.value, HUNDREDFOLD if hundredfold else ONE)
        elif not stale and agree(left, right, pair.almost, False):
            return self.confirm(part, number)
        else:
            scales = HUNDREDFOLD if in_hundredths(part.found, pair) else ONE
            value = nearest(left.value, right.value, scales)
        part.results[pair.right.start] = value
        zero = reading.percent if number.dress == "%" else Fraction(1)
        unit = right.value / number.number if number.number else zero
        return self.overwrite(part, number, value / unit)

    def left(self, part: _Part, side: Side, reading: Reading, carried: Carried) -> Side | None:
        """The left side with what is carried into it; None if it then is no sum, or another one."""
        if side.start in part.results:
            return replace(side, value=part.results[side.start])
        fresh = list(part.fresh[: side.end + 4])
        _put(fresh, carried)
        left = read_side([*fresh, part.fresh[-1]], side.start, reading)
        return left if left is not None and left.end == side.end else None

    # ------------------------------------------------------------ numbers and what they mean by now

    def carried(self, part: _Part, side: Side) -> Carried:
        """The numbers of a left side that mean another one by now."""
        means: Carried = {}
        if side.start in part.results:
            return means
        for place in range(side.start, side.end):
            token = part.found[place]
            for value, dress, last in numbers_at(part.found, place) if token.kind == "number" else ():
                new = self.now(value, dress, part.offset + token.start)
                if new is not None and last < side.end:
                    means[place] = last, new
                    break
        return means

    def carry(self, part: _Part, carried: Carried) -> None:
        for place, (last, value) in carried.items():
            start, end = part.span(place, last)
            self.edit(start, end, like(value, self.text[start:end]))
        _put(part.fresh, carried)

    def now(self, value: Fraction, dress: Dress, at: int) -> Fraction | None:
        """What a number that is written at a character means there, if that is another one."""
        for since, new in reversed(self.known.get((value, dress), ())):
            if since <= at:
                return None if new == value else new
        return None

    def confirm(self, part: _Part, number: Result | None) -> None:
        """From here on the number means itself again."""
        if number is not None and (number.number, number.dress) in self.known:
            self.overwrite(part, number, number.number)

    def overwrite(self, part: _Part, old: Result, new: Fraction) -> None:
        start, end = part.span(old.first, old.last)
        if new != old.number:
            start = self.without_minus(part, old.minus, start)
            self.edit(start, end, like(new, old.written))
        self.known.setdefault((old.number, old.dress), []).append((end, new))

    def without_minus(self, part: _Part, minus: int | None, start: int) -> int:
        """Where the number starts with its sign; a sign that stands apart ("-$5") is taken away."""
        if minus is None:
            return start
        sign = part.span(minus, minus)
        if sign[1] == start:
            return sign[0]
        self.edit(*sign, "")
        return start

    def copy(self, outside: _Part, behind: int, number: Result | None) -> None:
        """The number behind a mark, "<<9*2=19>>19", follows the mark's result."""
        if number is None or behind in self.edits:
            return
        token = next((token for token in outside.found if token.start == behind), None)
        if token is not None and token.kind == "number" and token.value == number.number:
            new = self.now(number.number, number.dress, behind)
            if new is not None:
                self.edit(token.start, token.end, like(new, token.text))

    # ------------------------------------------------------------ the answer, and the text

    def answer(self) -> None:
        """Where the judge reads an overwritten number as the answer, the new one is written."""
        span = answers.read(self.text, "number").span
        if span is None or any(start <= span[0] < end for start, end in self.ranges):
            return
        part = _part(self.text[span[0] : span[1] + 9], span[0])
        places = [place for place, token in enumerate(part.found) if token.kind == "number"]
        if not places or part.span(places[0], places[0])[0] in self.edits:
            return
        before = range(places[0])
        minus = next((place for place in before if part.found[place].text == "-"), None)
        for value, dress, last in numbers_at(part.found, places[0]):
            value = value if minus is None else -value
            new = self.now(value, dress, span[0])
            if new is not None:
                written = self.text[slice(*part.span(places[0], last))]
                self.overwrite(part, Result(places[0], last, minus, value, dress, written), new)
                return

    def edit(self, start: int, end: int, new: str) -> None:
        if self.text[start:end] != new:
            self.edits[start] = end, new

    def edited(self) -> str:
        pieces, at = [], 0
        for start, (end, new) in sorted(self.edits.items()):
            pieces += [self.text[at:start], new]
            at = end
        return "".join([*pieces, self.text[at:]])


def _put(found: list[Token], carried: Carried) -> None:
    for place, (last, value) in carried.items():
        found[place] = replace(found[place], value=value)
        if last > place:
            found[last] = replace(found[last], value=Fraction(1))
