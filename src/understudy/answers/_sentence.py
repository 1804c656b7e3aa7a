"""Which number a sentence gives: "$18 a day", "3 + 4 = 7", "minus 5", "10 000", "twenty-five", "5 or 6".

The catch is that a sentence may hold several: the result of its sum counts, else the first number, and none
where two different ones are named in the same breath. Numbers in words count here only, for reasoning is
full of them ("one of them").
"""

from __future__ import annotations

import re
from fractions import Fraction

from understudy.answers._found import Found
from understudy.answers._number import VULGAR, Number, numbers

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


# ---------------------------------------------------------------- in a statement

_CLAUSE = re.compile(r"[;(?]|,(?![\d}\\])|\b(?:because|since|after|when|which|where|so|if)\b", re.IGNORECASE)


# A body that opens with a number and has no other one; most have.
_SIMPLE = re.compile(
    rf"""[*_]{{0,3}}(?P<written>\$?(?P<value>-?(?:[1-9]\d{{0,17}}(?:\.\d{{0,9}}[1-9])?|0)))
    (?![\d.,]\d|,\\)[^\d=/⁄:\\^√π∞(×{"".join(VULGAR)}]*""",
    re.VERBOSE,
)
# Between two numbers that are two answers: "5 or 6", "5 to 10 cups", "$5–$10", "3 cats and 4 dogs".
_JOINED = re.compile(
    r"""(?P<between>[ ]?[%*_`$]{0,3}(?:[ ][A-Za-z]{1,12}){0,3}?)(?:[ ](?:or|and|to)|[ ]?[-–—])
    [ ]?(?=[$€£¥₹]?[\d.])""",
    re.VERBOSE,
)
SEVERAL = "several numbers are named"


def stated(text: str, start: int, end: int) -> Found | None:
    """The number that a statement's body gives: the result of its sum, else the first number, unless
    another one is named in the same breath."""
    clause = _CLAUSE.search(text, start, end)
    stop = clause.start() if clause else end
    equals = text.rfind("=", start, stop)
    if equals >= 0:
        result = next(numbers(text, equals + 1, stop), None)
        if result is not None:
            return Found(result.canonical, result.start, result.end)
    first = next(numbers(text, start, stop), None)
    if first is not None:
        first = _as_said(text, start, first)
        other = _joined(text, first, stop)
        if other is not None:
            return Found(None, first.start, other.end, reason=SEVERAL)
    else:
        first = in_words(text, start, stop) or next(numbers(text, start, end), None)
    return Found(first.canonical, first.start, first.end) if first is not None else None


_SIGN_WORD = re.compile(r"\b(?:minus|negative)[ ]$", re.IGNORECASE)
_SPACED = re.compile(r"\d{1,3}(?: \d{3})+(?!\d|[.,]\d|/)")


def _as_said(text: str, start: int, number: Number) -> Number:
    """With a sign that is a word, "minus 5", and thousands that are set apart by spaces, "10 000"."""
    spaced = _SPACED.match(text, number.start)
    if spaced:
        value = Fraction(int(spaced.group().replace(" ", "")))
        number = Number(value, 0, "", number.start, spaced.end())
    sign = _SIGN_WORD.search(text[max(start, number.start - 10) : number.start])
    if sign and number.value > 0:
        begin = number.start - len(sign.group())
        number = number._replace(value=-number.value, start=begin)
    return number


def _joined(text: str, first: Number, stop: int) -> Number | None:
    """Another number in the same breath, unless it is the same one: "50% or 0.5"."""
    joint = _JOINED.match(text, first.end, stop)
    other = next(numbers(text, joint.end(), stop), None) if joint else None
    if joint is None or other is None or other.start != joint.end() or other.value == first.value:
        return None
    percent = "%" in joint["between"] or text.startswith("%", other.end)
    if percent and (other.value == 100 * first.value or first.value == 100 * other.value):
        return None
    return other


def simple(text: str, start: int, end: int) -> Found | None:
    found = _SIMPLE.fullmatch(text, start, end)
    return Found(found["value"], *found.span("written")) if found else None
