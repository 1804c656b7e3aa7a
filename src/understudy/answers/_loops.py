"""Does a text end in a loop: "I add 3. I add 3. I add 3. I add"?

A small model that has lost its thread says one thing over and over until its limit. Such an ending is no
conclusion, so the number or sentence that happens to be the last one there is not read as an answer. The
catch is that short repeats are ordinary ("no, no, no", "] ] ]", 0.333): a unit counts from three rounds on,
and only if it is a line or at least 12 characters long, or if its rounds fill at least 60 characters.
"""

from __future__ import annotations

import re

TAIL = 6000
"""Characters at the end of a text in which three rounds must lie."""
SHORTEST = 12
LEAST_FILLED = 60
_KEY = 4
"""Characters that are looked for to guess how long a round is."""

_SENTENCE = re.compile(r"(?:^|(?<=\n)|(?<=[.!?;]\s))(?=\S)")
_WORD = re.compile(r"(?<=\s)(?=\S)")


def loop(text: str) -> tuple[int, int] | None:
    """[start, end) of what a looping text says again: from its second round to its last character."""
    end = len(text.rstrip())
    tail = text[max(0, end - TAIL) : end]
    period = _period(tail)
    if not period:
        return None
    start = _first_round(text, end, period)
    return _beginning(text, start, period) + period, end


def _period(tail: str) -> int:
    """The length of the unit that fills the end of `tail`; 0 where it does not repeat itself."""
    size = len(tail)
    key = tail[-_KEY:]
    # Where the end of a loop stood one round earlier, its last characters stand too.
    at = tail.rfind(key, 0, size - 1) if size > _KEY else -1
    while at >= 0:
        period = size - _KEY - at
        if _repeats(tail, period):
            return period
        at = tail.rfind(key, 0, at + _KEY - 1)
    return 0


def _repeats(tail: str, period: int) -> bool:
    """Three rounds; the space between rounds may be missing before the first and after the last."""
    size = len(tail)
    unit = tail[-period:]
    rounds = 3 * period - (len(unit) - len(unit.lstrip()))
    if size < rounds or tail[size - rounds + period :] != tail[size - rounds : -period]:
        return False
    if not any(character.isalnum() for character in unit):
        return False
    if period >= SHORTEST or "\n" in unit:
        return True
    return size >= LEAST_FILLED and tail[-LEAST_FILLED + period :] == tail[-LEAST_FILLED:-period]


def _first_round(text: str, end: int, period: int) -> int:
    """Where the repeated stretch begins, looked for beyond the tail."""
    start = end - period
    while start >= period and text[start - period : start] == text[start : start + period]:
        start -= period
    while start > 0 and text[start - 1] == text[start - 1 + period]:
        start -= 1
    return start


def _beginning(text: str, start: int, period: int) -> int:
    """The first sentence or line that begins within the first round, else a word, else `start`."""
    found = _SENTENCE.search(text, start, start + period) or _WORD.search(text, start, start + period)
    return found.start() if found else start
