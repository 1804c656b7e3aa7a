"""The number form: a plain number, several of them in their order, or a formula.

The catch is that "2\\sqrt{3}" begins with a number. So a statement that holds LaTeX is first looked at as a
whole: what the reader of plain numbers can read wholly, it reads; what is a formula is compared as one; in
all else, prose above all, the number is looked for as in any sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.answers import _number, _sentence
from understudy.answers._found import Asked, Found
from understudy.answers._latex import EMPHASIS, LONGEST, is_formula, readable, tidy

# What calls for a look at the whole body: a mark of mathematics in it, or the brace of a box before it.
_MATHS = re.compile(r"[\\^√π∞{]")
_OPENING = re.compile(r"[\s*_`:]{0,6}(?:(\$\$?)|(\\\()|(\\\[))")
_CLOSERS = ("", "\\)", "\\]")
LONGEST_BODY = 2000
"""Characters of a statement in which its number is looked for."""
UNREADABLE = "the formula there cannot be read"


def canonical(answer: str, _choices: Sequence[str] = ()) -> str | None:
    found = _number.gold_numbers(answer)
    if found:
        return "; ".join(number.canonical for number in found)
    if len(answer) > LONGEST:
        return None
    tidied = tidy(answer)
    found = _number.gold_numbers(tidied)
    if found and ("\\" in answer or "$" in answer):
        return "; ".join(number.canonical for number in found)
    return tidied if readable(tidied) else None


def stated(text: str, start: int, end: int, asked: Asked) -> Found | None:
    end = min(end, start + LONGEST_BODY)
    if asked.parts > 1:
        return _several(text, start, end, asked.parts)
    if not asked.maths and (found := _sentence.simple(text, start, end)):
        return found
    if asked.maths or _MATHS.search(text, max(0, start - 1), end):
        found = formula(text, start, end, asked.maths)
        if found is not None:
            return found
    return _sentence.stated(text, start, end)


def unstated(text: str, asked: Asked) -> Found | None:
    """The last number; of several asked for, all of the text's; a formula as the last line, or after the
    last equals sign."""
    if asked.parts > 1:
        found = _several(text, 0, len(text), asked.parts)
        return found and found._replace(rule="whole_text")
    if asked.maths:
        line = text.rfind("\n") + 1
        last = (line, "last_line") if line else (0, "whole_text")
        for start, rule in (last, (text.rfind("=") + 1, "last_result")):
            found = formula(text, start, len(text), True)
            if found is not None:
                return found._replace(rule=rule)
    number = _number.last_number(text)
    return Found(number.canonical, number.start, number.end, "last_number") if number else None


def _several(text: str, start: int, end: int, parts: int) -> Found | None:
    """As many numbers as the gold has, in its order."""
    found = list(_number.numbers(text, start, end))
    if len(found) != parts:
        return None
    answer = "; ".join(number.canonical for number in found)
    return Found(answer, found[0].start, found[-1].end)


def formula(text: str, start: int, end: int, maths: bool) -> Found | None:
    """The formula, or the number in LaTeX's dress, that is all of a statement's body or all that stands
    between its opening dollars. Of "x = 5" the number is left to the reader of plain numbers, unless the
    gold is a formula (`maths`)."""
    opening = _OPENING.match(text, start, end)
    if opening and opening.lastindex:
        closer = opening.group(1) or _CLOSERS[opening.lastindex - 1]
        closed = text.find(closer, opening.end(), end)
        if closed > opening.end():
            found = _whole(text, opening.end(), closed, maths)
            if found is not None:
                return found
    return _whole(text, start, end, maths)


def _whole(text: str, start: int, end: int, maths: bool) -> Found | None:
    if end - start > LONGEST:
        return None
    tidied = tidy(text[start:end])
    written = text[start:end].lstrip(EMPHASIS)
    start = end - len(written)
    end = start + len(written.rstrip(EMPHASIS + "."))
    plain = _number.gold_numbers(tidied)
    if plain and len(plain) == 1:
        return Found(plain[0].canonical, start, end)
    left, equals, result = tidied.rpartition("=")
    equation = maths and any(character.isalpha() for character in left)
    if equals and not equation and _number.gold_numbers(result):
        return None
    if readable(tidied):
        return Found(tidied, start, end)
    return Found(None, start, end, reason=UNREADABLE) if is_formula(tidied) else None


def equal(output: str, gold: str) -> bool:
    same = _number.same(output, gold)
    if same is not None:
        return same
    from understudy.answers._equal import same_formula

    return same_formula(output, gold)


# ---------------------------------------------------------------- the written form

_BARE = re.compile(r"\$?(-?(?:[1-9]\d{0,17}(?:\.\d{0,9}[1-9])?|0))")
_UNIT = re.compile(r"[ ]?(?:\\?%|percent\b)?(?:[ ]?[A-Za-z°²³/$€£¥₹']{1,15}){0,4}[.\s]*")


def strict(text: str, start: int, end: int, asked: Asked) -> Found | None:
    """The body as one number, or as many as are asked for, each with a short unit at most, or a formula."""
    if asked.parts > 1:
        found = _number.gold_numbers(text[start:end]) or []
        answer = "; ".join(number.canonical for number in found)
        return Found(answer, start, end) if len(found) == asked.parts else None
    if simple := _BARE.fullmatch(text, start, end):
        return Found(simple[1], start, end)
    if asked.maths or _MATHS.search(text, start, end):
        whole = _whole(text, start, end, asked.maths)
        return whole if whole and whole.answer is not None else None
    number = next(_number.numbers(text, start, end), None)
    if number is None or number.start != start or not _UNIT.fullmatch(text, number.end, end):
        return None
    return Found(number.canonical, number.start, number.end)
