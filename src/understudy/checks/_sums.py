"""One side of an equation: a precedence parser over tokens that computes as it reads, on exact fractions.

Units are read over ("3 apples + 4 apples"), percentages and "of" are understood, and where people read one
notation in two ways ("6/2(3)", "10 ÷ 1/2", "80 + 10%") the caller asks for one reading after the other.
Depth, digits and exponents are bounded; what is not wholly numbers has no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from understudy.checks._tokens import Token, words

DEEPEST = 12
LARGEST_POWER = 64
LARGEST = 10**40
MOST_UNIT_WORDS = 4
LONGEST_UNIT = 3
"""Words of a unit; with more it may be a sentence."""
MOST_NUMBERS = 40

# Words that end an operand's unit: what follows them is no longer "apples" but a sentence.
_NO_UNIT = words(
    "of is are was were be and or so then than which that because since if equals equal to would will cost"
    " costs has have had makes make get gets earns spends pays needs leaves means total"
)
_DETERMINERS = words("the those these his her their its all remaining total original")
_OPERAND = frozenset(("number", "money", "open", "frac"))
_AFTER_UNIT = frozenset(("operator", "relation", "close", "percent"))


@dataclass(frozen=True, slots=True)
class Reading:
    """How the notations are read that have two readings."""

    percent: Fraction = Fraction(1, 100)
    """What "%" multiplies by; 1 where it is only a unit."""
    percent_of_left: bool = False
    """Whether "80 + 10%" is 88."""
    first: Literal["", "(", "/"] = ""
    """What binds before every sign if it is written close: the brackets of 6/2(3), the stroke of 10 ÷ 1/2."""

    @property
    def signs(self) -> set[str]:
        """The signs without which it is no other reading than the plain one."""
        percent = self.percent_of_left or self.percent == 1
        return {self.first} - {""} | ({"%"} if percent else set())


@dataclass(slots=True)
class Side:
    """What was read: tokens [start, end) and their value."""

    start: int
    end: int
    value: Fraction
    operators: int = 0
    first: Fraction = Fraction(0)
    first_decimals: int = 0
    numbers: list[tuple[Fraction, int]] = field(default_factory=list)
    """Every number with its decimals."""
    words: set[str] = field(default_factory=set)
    """Units in lower case, with "$" and "%" among them."""
    doubtful: bool = False
    """Whether it may be no sum at all: a bracket after a space, a remark between the numbers."""

    @property
    def lone(self) -> bool:
        """Whether it is one number and nothing else."""
        return self.operators == 0 and len(self.numbers) == 1


class _UnreadableError(Exception):
    """No number stands here."""


def read_side(found: Sequence[Token], start: int, reading: Reading) -> Side | None:
    """The longest sum that starts at token `start`; None if there is none."""
    parser = _Parser(found, reading, Side(start, start, Fraction(0)))
    try:
        parser.side.value, parser.side.end = parser.sum(start, 0)
    except (_UnreadableError, ZeroDivisionError):
        return None
    if found[start].text == "-":
        parser.side.first = -parser.side.first
    return parser.side


class _Parser:
    def __init__(self, found: Sequence[Token], reading: Reading, side: Side) -> None:
        self.found = found
        self.reading = reading
        self.side = side

    def sum(self, at: int, depth: int) -> tuple[Fraction, int]:
        value, at = self.product(at, depth)
        while (sign := self.operator(at)) in ("+", "-"):
            percent = self.is_percent(at + 1)
            other, at = self.product(at + 1, depth)
            if percent and self.reading.percent_of_left:
                other *= value
            value = bounded(value + other if sign == "+" else value - other)
        return value, at

    def product(self, at: int, depth: int) -> tuple[Fraction, int]:
        value, at = self.factor(at, depth)
        while True:
            sign = self.operator(at)
            if sign in ("*", "/"):
                other, at = self.factor(at + 1, depth)
            elif (after := self.after_of(at, value)) is not None:
                self.side.operators += 1
                sign = "*"
                other, at = self.factor(after, depth)
            elif self.found[at].kind == "open" and self.opens_sum(at):
                self.side.operators += 1
                self.side.doubtful |= self.found[at].spaced
                sign = "*"
                other, at = self.factor(at, depth)
            else:
                return value, at
            value = bounded(value * other if sign == "*" else value / other)

    def factor(self, at: int, depth: int) -> tuple[Fraction, int]:
        """A signed operand with its power and, if what is close binds first, what is written close to it."""
        if self.found[at].text == "-" and self.found[at].kind == "operator":
            value, at = self.factor_unsigned(at + 1, depth)
            return -value, at
        return self.factor_unsigned(at, depth)

    def factor_unsigned(self, at: int, depth: int) -> tuple[Fraction, int]:
        value, at = self.power(at, depth)
        while self.reading.first:
            token = self.found[at]
            if token.spaced or token.text != self.reading.first:
                break
            if token.text == "(" and self.opens_sum(at):
                self.side.operators += 1
                other, at = self.power(at, depth)
                value = bounded(value * other)
            elif token.text == "/" and not self.found[at + 1].spaced and self.operator(at):
                other, at = self.power(at + 1, depth)
                value = bounded(value / other)
            else:
                break
        return value, at

    def power(self, at: int, depth: int) -> tuple[Fraction, int]:
        value, at = self.operand(at, depth)
        token = self.found[at]
        if token.kind == "power":
            self.side.operators += 1
            return raised(value, token.value), at + 1
        if token.kind == "operator" and token.text == "^" and self.found[at + 1].kind in _OPERAND:
            self.side.operators += 1
            exponent, at = self.operand(at + 1, depth)
            return raised(value, exponent), at
        return value, at

    def operand(self, at: int, depth: int) -> tuple[Fraction, int]:
        if depth > DEEPEST:
            raise _UnreadableError
        if self.found[at].kind == "money":
            self.side.words.add("$")
            at += 1
            if self.found[at].text == "-":
                value, at = self.operand(at + 1, depth)
                return -value, at
        token = self.found[at]
        if token.kind == "number":
            value, at = self.number(at, depth)
        elif token.kind == "open":
            value, at = self.sum(at + 1, depth + 1)
            at = self.closed(at)
        elif token.kind == "frac":
            value, at = self.frac(at + 1, depth)
        else:
            raise _UnreadableError
        if self.found[at].kind == "percent":
            self.side.words.add("%")
            value, at = value * self.reading.percent, at + 1
        return value, self.after_unit(at)

    def number(self, at: int, depth: int) -> tuple[Fraction, int]:
        token, after = self.found[at], self.found[at + 1]
        if not after.spaced and (
            after.kind == "other" or (after.kind == "word" and not is_abbreviation(after.text))
        ):
            raise _UnreadableError
        if after.kind == "bang" and not after.spaced and self.found[at + 2].kind in _AFTER_UNIT:
            raise _UnreadableError
        value, end = token.value, at + 1
        if not token.decimals and after.kind == "number" and after.spaced and self.is_fraction(at + 1):
            value, end = value + after.value / self.found[at + 3].value, at + 4
        elif not token.decimals and after.kind == "frac":
            part, end = self.frac(at + 2, depth)
            value += part
        if len(self.side.numbers) == MOST_NUMBERS:
            raise _UnreadableError
        if not self.side.numbers:
            self.side.first, self.side.first_decimals = value, token.decimals
        self.side.numbers.append((value, token.decimals))
        return value, end

    def is_fraction(self, at: int) -> bool:
        """Whether a proper fraction stands here without spaces: the "1/2" of "3 1/2"."""
        over, under = self.found[at + 1], self.found[at + 2] if self.found[at + 1].kind != "end" else None
        return (
            under is not None
            and (over.text, over.spaced, under.spaced) == ("/", False, False)
            and under.kind == "number"
            and 0 < self.found[at].value < under.value
        )

    def frac(self, at: int, depth: int) -> tuple[Fraction, int]:
        token = self.found[at]
        self.side.operators += 1
        if token.kind == "number" and len(token.text) == 2 and token.text.isdigit():
            return Fraction(int(token.text[0]), int(token.text[1])), at + 1
        if token.kind != "open":
            raise _UnreadableError
        top, at = self.sum(at + 1, depth + 1)
        at = self.closed(at)
        if self.found[at].kind != "open":
            raise _UnreadableError
        bottom, at = self.sum(at + 1, depth + 1)
        return bounded(top / bottom), self.closed(at)

    def closed(self, at: int) -> int:
        if self.found[at].kind != "close":
            raise _UnreadableError
        return at + 1

    # ------------------------------------------------------------ what stands around operands

    def operator(self, at: int) -> str:
        """The sign here if an operand may follow it, and count it; else nothing."""
        token = self.found[at]
        if token.kind != "operator" or token.text == "^":
            return ""
        after = self.found[at + 1]
        if token.text == "-" and token.spaced and not after.spaced and self.found[at - 1].kind == "word":
            return ""  # the sign of a number that follows a word
        if after.kind in _OPERAND or (after.text == "-" and not self.found[at + 2].spaced):
            self.side.operators += 1
            self.side.doubtful |= self.is_range(at)
            return token.text
        return ""

    def is_range(self, at: int) -> bool:
        """Whether "4-5" stands here, which is rarely a sum: 5 written close after a smaller 4."""
        before, token, after = self.found[at - 1 : at + 2]
        close = token.text == "-" and not token.spaced and not after.spaced
        return close and before.kind == after.kind == "number" and before.value < after.value

    def is_percent(self, at: int) -> bool:
        return self.found[at].kind == "number" and self.found[at + 1].kind == "percent"

    def after_of(self, at: int, value: Fraction) -> int | None:
        """Where the operand of "20% of the 50" starts; "2 of 5" is no product."""
        if self.found[at].text != "of" or not (value.denominator > 1 or "%" in self.side.words):
            return None
        at += 1
        for _ in range(2):
            at += self.found[at].text in _DETERMINERS
        return at if self.found[at].kind in _OPERAND else None

    def opens_sum(self, at: int) -> bool:
        """Whether the bracket here holds a sum and not a remark."""
        inside = self.found[at + 1]
        return inside.kind in _OPERAND or (inside.text == "-" and self.found[at + 2].kind in _OPERAND)

    def after_unit(self, at: int) -> int:
        """Past "red apples", "per hour", "-pound", "(in cents)" if the sum goes on after it; else only the
        first word is noted, for the rest is a sentence."""
        place, words = at, list[str]()
        while len(words) <= MOST_UNIT_WORDS:
            token = self.found[place]
            if token.kind == "word" and is_unit(token):
                words.append(token.text.lower())
            elif token.kind == "money":
                words.append("$")
            elif token.text in ("-", "/") and self.joins_word(place):
                pass
            elif token.kind == "open" and (past := self.remark(place)):
                self.side.doubtful = True
                place = past - 1
            elif token.kind != "unit" and not (token.kind == "power" and place > at):
                break
            place += 1
        consumed = self.found[place].kind in _AFTER_UNIT
        self.side.doubtful |= consumed and len(words) > LONGEST_UNIT  # "8 cubes for his glass + 8 * 2 = 16"
        self.side.words.update(words if consumed else words[:1])
        return place if consumed else at

    def joins_word(self, at: int) -> bool:
        after = self.found[at + 1]
        return after.kind == "word" and not after.spaced

    def remark(self, at: int) -> int:
        """Past a bracket that holds a few words only; 0 if it holds anything else."""
        for place in range(at + 1, min(at + 8, len(self.found))):
            if self.found[place].kind == "close":
                return place + 1 if place > at + 1 else 0
            if self.found[place].kind not in ("word", "unit"):
                return 0
        return 0


_ABBREVIATIONS = words("kg mg cm mm km ft in lb oz hr ml gb mb mi yd am pm")


def is_abbreviation(word: str) -> bool:
    """Whether a word that is written close to its number is a unit; "5x", "31kx" and "5th" are none."""
    return word.lower() in _ABBREVIATIONS or len(word) > 2


def is_unit(token: Token) -> bool:
    """Whether a word may be a unit: an unknown ("x", "n") and a word that opens a clause are none."""
    return (len(token.text) > 1 or token.text == "a") and token.text.lower() not in _NO_UNIT


def bounded(value: Fraction) -> Fraction:
    if max(abs(value.numerator), value.denominator) > LARGEST:
        raise _UnreadableError
    return value


def raised(value: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > LARGEST_POWER or abs(value) > 10**9:
        raise _UnreadableError
    return bounded(value ** int(exponent))
