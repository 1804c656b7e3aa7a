"""Numbers as data files and models write them: "$1,234.50", "3 1/2", "\\frac{1}{2}", "10:30", "twelve".

The catch is where a number ends and a sum begins: "The answer is 3 + 4 = 7" holds 7, "5-10" holds no
minus, "18/3 = 6" no fraction that matters. Values are exact (`Fraction`); text is never evaluated.

Two numbers are equal when they are exactly equal, or when the gold is itself a rounded figure:
- the gold has two decimals or more and the output, which has more of them, rounds to it (0.33 and 1/3);
- the gold has more than four decimals and it rounds to an output of two or more (1.8333333 and 1.83);
- both have more than ten decimals, which only floating-point sums write, and differ by less than 1e-9.
A gold that is an integer, or has one decimal, is met exactly or not at all. A percent sign and a unit
carry no value ("50%" is 50), and a ratio or a time ("8:20") equals only itself.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

LONGEST = 400
"""Digits; what is longer is noise, not an answer."""
AS_FRACTION = 99
"""The `decimals` of a number that was written as a fraction: it rounds to any gold's."""

_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8", "⅙": "1/6"}
_INTEGER = r"(?:\d{1,3}(?:(?:,|\{,\}|,\\!)\d{3})+(?!\d)|\d+)"
_NUMBER = re.compile(
    rf"""(?<![A-Za-z\d])(?<!\d[.,])
    (?P<sign>(?<![\w)\]}}])[-−–‐+](?:\((?=[\d./]{{1,20}}\)))?)?
    (?:\\?[$€£¥₹][ ]?)?
    (?P<inner>(?<=[$€£¥])[-−])?
    (?:
      (?P<clock>\d{{1,4}}(?::\d{{1,4}}){{1,2}}(?![\d:]))(?:[ ]?(?P<half>[ap])\.?m\b)?
      | (?P<whole>\d{{1,9}})?[ ]?\\[dt]?frac
        (?:\{{(?P<top>-?\d{{1,30}})\}}\{{(?P<bottom>\d{{1,30}})\}}|(?P<t1>\d)(?P<b1>\d))
      | (?P<mixed>\d{{1,9}})(?:[ ]|-|[ ]and[ ])(?P<mt>\d{{1,4}})[/⁄](?P<mb>\d{{1,4}})(?![\d/])
      | (?P<vw>\d{{1,9}})?[ ]?(?P<vulgar>[{"".join(_VULGAR)}])
      | (?P<over>\d{{1,12}})[ ]?[/⁄][ ]?(?P<under>\d{{1,12}})(?![\d/])(?![.,]\d)
      | (?P<plain>{_INTEGER}(?:\.\d+)?|\.\d+)
        (?:[eE](?P<exponent>[+-]?\d{{1,3}})(?!\w|\.\d)
          |[ ]?(?:×|\\times|x|\*)[ ]?10\^\{{?(?P<power>-?\d{{1,3}})\}}?)?
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a text: its exact value, or a ratio or time as `clock`; `decimals` as written."""

    value: Fraction
    decimals: int
    clock: str
    start: int
    end: int

    @property
    def canonical(self) -> str:
        if self.clock:
            return self.clock
        if self.decimals == AS_FRACTION:
            return str(self.value)
        return plain(self.value)


def plain(value: Fraction) -> str:
    """A number that was written with decimals, without needless ones: "1234.5"."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    if not places:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def numbers(text: str, start: int, end: int) -> Iterator[Number]:
    """Every readable number in [start, end), in order."""
    for found in _NUMBER.finditer(text, start, end):
        number = _value(found)
        if number is not None:
            yield number


def _value(found: re.Match[str]) -> Number | None:
    part = found.groupdict()
    negative = (part["sign"] or part["inner"] or "+")[0] != "+"
    start, end = found.span()
    if part["clock"]:
        first, *rest = part["clock"].split(":")
        half = f" {part['half']}m" if part["half"] else ""
        return Number(Fraction(0), 0, ":".join([str(int(first)), *rest]) + half, start, end)
    if part["plain"]:
        value, decimals = _plain_value(part)
        if value is None:
            return None
    else:
        decimals = AS_FRACTION
        value = _fraction_value(part)
        if value is None:
            return None
    return Number(-value if negative else value, decimals, "", start, end)


def _plain_value(part: dict[str, str | None]) -> tuple[Fraction | None, int]:
    written = (part["plain"] or "").replace("{,}", "").replace(",\\!", "").replace(",", "")
    if len(written) > LONGEST:
        return None, 0
    exponent = int(part["exponent"] or part["power"] or 0)
    value = Fraction(Decimal(written)) * Fraction(10) ** exponent
    return value, max(0, len(written.partition(".")[2]) - exponent)


def _fraction_value(part: dict[str, str | None]) -> Fraction | None:
    whole = int(part["whole"] or part["mixed"] or part["vw"] or 0)
    if part["vulgar"]:
        return whole + Fraction(_VULGAR[part["vulgar"]])
    top = int(part["top"] or part["t1"] or part["mt"] or part["over"] or 0)
    bottom = int(part["bottom"] or part["b1"] or part["mb"] or part["under"] or 0)
    if not bottom:
        return None
    return whole + Fraction(top, bottom)


# ---------------------------------------------------------------- in words

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: i for i, word in enumerate(_SMALL.split())} | {
    word: 10 * i for i, word in enumerate(_TENS.split(), 2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_WORD = re.compile(r"[A-Za-z]{1,12}")
_PARTS = {"half", "third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths"}


def in_words(text: str, start: int, end: int) -> Number | None:
    """The first number written out, "twenty-five" or "one hundred and five"; fractions are not read."""
    total = current = 0
    span: tuple[int, int] | None = None
    for found in _WORD.finditer(text, start, min(end, start + 200)):
        word = found.group().lower()
        if word in _PARTS:
            return None
        if word in _WORDS:
            current += _WORDS[word]
        elif word in _SCALES and span:
            current *= _SCALES[word]
            if word != "hundred":
                total, current = total + current, 0
        elif span and word == "and":
            continue
        elif span:
            break
        else:
            continue
        span = (span[0] if span else found.start(), found.end())
    return Number(Fraction(total + current), 0, "", *span) if span else None


# ---------------------------------------------------------------- reading

_CLAUSE = re.compile(r"[;(?]|,(?![\d}\\])|\b(?:because|since|after|when|which|where|so|if)\b", re.IGNORECASE)


def answer_in(text: str, start: int, end: int) -> Number | None:
    """The number that a statement's body gives: the result of its sum, else the first number."""
    clause = _CLAUSE.search(text, start, end)
    stop = clause.start() if clause else end
    equals = text.rfind("=", start, stop)
    if equals >= 0:
        result = next(numbers(text, equals + 1, stop), None)
        if result is not None:
            return result
    first = next(numbers(text, start, stop), None) or in_words(text, start, stop)
    return first or next(numbers(text, start, end), None)


def last_number(text: str) -> Number | None:
    """The last readable number; only the last few are turned into values, so a megabyte stays cheap."""
    for found in reversed(deque(_NUMBER.finditer(text), maxlen=100)):
        number = _value(found)
        if number is not None:
            return number
    return None


_UNIT = re.compile(r"\s*(?:%|[A-Za-z°²³][^\d;]*|\([^\d()]*\)[^\d;]*)?[.\s]*")


def gold_numbers(gold: str) -> list[Number] | None:
    """A gold as data files write it: numbers separated by ";", each with or without its unit."""
    found = []
    for piece in gold.split(";"):
        written = re.sub(r"^(-?)\(([^()]*)\)$", r"\1\2", piece.strip())
        number = next(numbers(written, 0, len(written)), None)
        if number is None or number.start != 0 or not _UNIT.fullmatch(written, number.end):
            return None
        found.append(number)
    return found


def equal(output: Number, gold: Number) -> bool:
    """Whether the output meets the gold, by the rule at the head of this file."""
    if output.clock or gold.clock:
        return _same_clock(output.clock, gold.clock)
    if output.value == gold.value:
        return True
    places = gold.decimals
    if min(places, output.decimals) > 10 and abs(output.value - gold.value) < Fraction(1, 10**9):
        return True
    if 2 <= places <= 30 and output.decimals > places and gold.value.denominator != 1:
        return _rounded(output.value, places) == gold.value
    if places > 4 and 2 <= output.decimals <= 30:
        return _rounded(gold.value, output.decimals) == output.value
    return False


def _rounded(value: Fraction, places: int) -> Fraction:
    """Half away from zero, as people round."""
    shifted = abs(value) * 10**places + Fraction(1, 2)
    size = Fraction(shifted.numerator // shifted.denominator, 10**places)
    return -size if value < 0 else size


def _same_clock(output: str, gold: str) -> bool:
    digits, _, half = output.partition(" ")
    gold_digits, _, gold_half = gold.partition(" ")
    return bool(digits) and digits == gold_digits and (not half or not gold_half or half == gold_half)
