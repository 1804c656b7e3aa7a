"""Numbers as data files and models write them: "$1,234.50", "3 1/2", "\\frac{1}{2}", "10:30", "twelve".

The catch is where a number ends and a sum begins: "The answer is 3 + 4 = 7" holds 7, "5-10" holds no
minus, "18/3 = 6" no fraction that matters. Values are exact (`Fraction`); text is never evaluated.

A comma groups thousands and a full stop is the decimal point, so "1.234" is a little more than one and
"3,5" is 3; only "1.234,50" and "1.234.567", which cannot be read so, are read in the European way.

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
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

LONGEST = 400
"""Digits; what is longer is noise, not an answer."""
AS_FRACTION = 99
"""The `decimals` of a number that was written as a fraction: it rounds to any gold's."""

VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8", "⅙": "1/6"}
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
# What stands between groups of three digits: a comma, also as LaTeX writes it, or a space that is no
# ordinary one.
_COMMA = r"(?:,|\{,\}|,\\!|\\,|[\u00a0\u2009\u202f])"
_UNGROUPED = re.compile(r"[^\d.]+")
_INTEGER = rf"(?:\d{{1,3}}(?:{_COMMA}\d{{3}})+(?!\d)|\d+)"
_NUMBER = re.compile(
    rf"""(?<![A-Za-z\d])(?<!\d[.,])
    (?P<sign>(?<![^\W_])(?<![)\]}}])[-−–‐‑－+](?:\((?=[\d./]{{1,20}}\)))?)?
    (?:\\?[$€£¥₹][ ]?)?
    (?P<inner>(?<=[$€£¥])[-−‑])?
    (?:
      (?P<clock>\d{{1,4}}(?:(?::|[ ]:[ ])\d{{1,4}}){{1,2}}(?![\d:]))(?:[ ]?(?P<half>[ap])\.?m\b)?
      | (?P<whole>\d{{1,9}})?[ ]?\\[dt]?frac
        (?:\{{(?P<top>-?\d{{1,30}})\}}\{{(?P<bottom>\d{{1,30}})\}}|(?P<t1>\d)(?P<b1>\d))
      | (?P<mixed>\d{{1,9}})(?:[ ]|-|[ ]and[ ])(?P<mt>\d{{1,4}})[/⁄](?P<mb>\d{{1,4}})(?![\d/])
      | (?P<vw>\d{{1,9}})?[ ]?(?P<vulgar>[{"".join(VULGAR)}])
      | (?P<over>\d{{1,12}})[ ]?[/⁄][ ]?(?P<under>\d{{1,12}})(?![\d/])(?![.,]\d)
      | (?P<european>\d{{1,3}}(?:(?:\.\d{{3}})+,\d{{1,2}}|(?:\.\d{{3}}){{2,}}))(?![.,]?\d)
      | (?P<plain>{_INTEGER}(?:\.\d+)?|\.\d+)
        (?:[eE](?P<exponent>[+-]?\d{{1,3}})(?!\w|\.\d)
          |[ ]?(?:×|\\times|x|\*)[ ]?10(?:\^\{{?(?P<power>-?\d{{1,3}})\}}?|(?P<raised>⁻?[⁰¹²³⁴-⁹]{{1,3}})))?
    )""",
    re.VERBOSE,
)
_DIGIT = re.compile(rf"[\d{''.join(VULGAR)}]")
_OUTSIDE = re.compile(r"[bghjkloquvwyz\n]")
"""Characters that stand in no number, so that none reaches across one."""


class Number(NamedTuple):
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
    if value.denominator == 1:
        return str(value.numerator)
    places = 1
    while (value * 10**places).denominator != 1:
        places += 1
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def numbers(text: str, start: int, end: int) -> Iterator[Number]:
    """Every readable number in [start, end), in order."""
    for found in _NUMBER.finditer(text, start, end):
        number = _value(found)
        if number is not None:
            yield number


def _value(found: re.Match[str]) -> Number | None:
    sign, inner, clock, written = found.group("sign", "inner", "clock", "plain")
    start, end = found.span()
    if clock:
        first, *rest = clock.split(":")
        half = f" {found['half']}m" if found["half"] else ""
        return Number(Fraction(0), 0, ":".join([str(int(first)), *map(str.strip, rest)]) + half, start, end)
    value: Fraction | None
    if written:
        value, decimals = _plain_value(found, written)
    elif found["european"]:
        value, decimals = _european_value(found["european"])
    else:
        value, decimals = _fraction_value(found.groupdict()), AS_FRACTION
    if value is None:
        return None
    negative = (sign or inner or "+")[0] != "+"
    return Number(-value if negative else value, decimals, "", start, end)


def _plain_value(found: re.Match[str], written: str) -> tuple[Fraction | None, int]:
    if not written.isdecimal():
        written = _UNGROUPED.sub("", written)
    if len(written) > LONGEST:
        return None, 0
    exponent, power, raised = found.group("exponent", "power", "raised")
    raised = exponent or power or (raised and raised.translate(_SUPERSCRIPTS))
    if raised:
        shift = int(raised)
        value = Fraction(Decimal(written)) * Fraction(10) ** shift
        return value, max(0, len(written.partition(".")[2]) - shift)
    if written.isdecimal():
        return Fraction(int(written)), 0
    return Fraction(Decimal(written)), len(written.partition(".")[2])


def _european_value(written: str) -> tuple[Fraction, int]:
    whole, _, decimals = written.replace(".", "").partition(",")
    return Fraction(Decimal(f"{whole}.{decimals}")), len(decimals)


def _fraction_value(part: dict[str, str | None]) -> Fraction | None:
    whole = int(part["whole"] or part["mixed"] or part["vw"] or 0)
    if part["vulgar"]:
        return whole + Fraction(VULGAR[part["vulgar"]])
    top = int(part["top"] or part["t1"] or part["mt"] or part["over"] or 0)
    bottom = int(part["bottom"] or part["b1"] or part["mb"] or part["under"] or 0)
    if not bottom:
        return None
    return whole + Fraction(top, bottom)


def last_number(text: str) -> Number | None:
    """The last readable number, looked for from the end in ever longer stretches."""
    if not _DIGIT.search(text):
        return None
    size = 64
    while True:
        start = len(text) - size
        inside = _OUTSIDE.search(text, start) if start > 0 else None
        if inside or start <= 0:
            # Only the last few are turned into values, so a megabyte of digits stays cheap.
            matches = deque(_NUMBER.finditer(text, inside.end() if inside else 0), maxlen=100)
            for found in reversed(matches):
                number = _value(found)
                if number is not None:
                    return number
            if start <= 0:
                return None
        size *= 8


# ---------------------------------------------------------------- golds

# A lone x, y, z, n or i after a number is a variable and no unit.
_UNIT = re.compile(r"\s*(?:%|(?![xyzni](?![A-Za-z]))[A-Za-z°²³][^\d;]*|\([^\d()]*\)[^\d;]*)?[.\s]*")


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


def plain_number(answer: str) -> Number | None:
    """The number that an answer is, if it is a plain one."""
    found = gold_numbers(answer)
    return found[0] if found and len(found) == 1 and not found[0].clock else None


def same(output: str, gold: str) -> bool | None:
    """Whether two canonical answers are equal, number for number; None if one is not made of numbers."""
    if output == gold:
        return True
    if output.lstrip("-").isdecimal() and gold.lstrip("-").isdecimal():
        return False
    read, wanted = gold_numbers(output), _gold(gold)
    if not read or not wanted:
        return None
    return len(read) == len(wanted) and all(equal(*pair) for pair in zip(read, wanted, strict=True))


@lru_cache(4096)
def _gold(gold: str) -> tuple[Number, ...]:
    return tuple(gold_numbers(gold) or ())


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
