"""Several items in their order: "a; b; c", "a, b and c", "[a, b, c]", one to a line, with bullets or numbers.

Items are compared as free text is, and as numbers where both are numbers. The catch is that a comma or an
"and" may belong to an item ("salt and pepper"): semicolons and lines part items before commas do, and where
the gold's number of items is known, the way of parting that gives as many is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.answers import _number
from understudy.answers._found import Asked, Found
from understudy.answers._text import LONGEST_LINE, bare_span, normal

LONGEST = 4000
_BULLET = re.compile(r"[ \t]{0,8}(?:[-*•–+]|\(?\d{1,3}[.)])[ \t]{1,4}(?=\S)")
_BULLETS = re.compile(rf"(?:{_BULLET.pattern}[^\n]{{1,300}}(?:\n[ \t]{{0,8}}\n?|$))+")
_BRACKETS = {"[": "]", "(": ")", "{": "}", "<": ">"}
_COMMA = re.compile(r"\s*,\s*(?:and\s+|&\s*)?")
_SPACED_COMMA = re.compile(r"\s*,\s+(?:and\s+|&\s*)?")
_AND = re.compile(r"\s+(?:and|&)\s+", re.IGNORECASE)


def canonical(answer: str, _choices: Sequence[str] = ()) -> str | None:
    ways = _ways(answer[:LONGEST])
    return "; ".join(ways[0]) if ways else None


def _ways(text: str) -> list[list[str]]:
    """The items of a text, parted in every way that makes sense, the likeliest first."""
    text = _unbracketed(text)
    if "\n" in text:
        return [items] if (items := _items([_BULLET.sub("", line, 1) for line in text.split("\n")])) else []
    if ";" in text:
        return [items] if (items := _items(text.split(";"))) else []
    commas = (_SPACED_COMMA if _SPACED_COMMA.search(text) else _COMMA).split(text)
    last = _AND.split(commas[-1])
    ways = [commas[:-1] + last, commas] if len(commas) > 1 else [commas, last]
    return [items for way in ways if (items := _items(way))]


def _unbracketed(text: str) -> str:
    start, end = bare_span(text, 0, len(text))
    text = text[start:end]
    if len(text) > 1 and _BRACKETS.get(text[0]) == text[-1] and text.count(text[0]) == 1:
        return text[1:-1]
    return text


def _items(parts: Sequence[str]) -> list[str]:
    return [item for part in parts if (item := _item(part))]


def _item(part: str) -> str:
    """A number in its canonical form, else the text as it is compared; never with the mark between items."""
    found = _number.gold_numbers(part.strip(" .*_`\"'$")) if part[:40].strip() else None
    return found[0].canonical if found and len(found) == 1 else normal(part.replace(";", ","))


def stated(text: str, start: int, end: int, asked: Asked) -> Found | None:
    bullets = _BULLETS.match(text, start)
    if bullets:
        end = max(end, bullets.end())
    return _found(text, start, end, asked, "")


def _found(text: str, start: int, end: int, asked: Asked, rule: str) -> Found | None:
    if end - start > LONGEST:
        return None
    ways = _ways(text[start:end])
    if not ways:
        return None
    items = next((way for way in ways if len(way) == asked.parts), ways[0])
    return Found("; ".join(items), *bare_span(text, start, end), rule)


def unstated(text: str, asked: Asked) -> Found | None:
    """Bullets at the end, else the whole output if it is one line, or its last line."""
    end = len(text.rstrip())
    line = text.rfind("\n", 0, end) + 1
    while (
        line
        and _BULLET.match(text, line, end)
        and _BULLET.match(text, before := text.rfind("\n", 0, line - 1) + 1)
    ):
        line = before
    rule = "last_line" if text[:line].strip() else "whole_text"
    return _found(text, line, end, asked, rule) if end - line <= LONGEST_LINE else None


def strict(text: str, start: int, end: int, asked: Asked) -> Found | None:
    return _found(text, start, end, asked, "")


def equal(output: str, gold: str) -> bool:
    """Item for item."""
    items, wanted = output.split("; "), gold.split("; ")
    return len(items) == len(wanted) and all(
        item == other or (bool(_number.gold_numbers(other)) and _number.same(item, other))
        for item, other in zip(items, wanted, strict=True)
    )


def written(answer: str) -> str:
    """On one line, as a sentence holds it."""
    lines = [_BULLET.sub("", line, 1).strip() for line in answer.strip().split("\n")]
    return "; ".join(line for line in lines if line)
