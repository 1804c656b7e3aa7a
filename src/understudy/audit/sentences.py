"""A text as its sentences, so that the last one can be taken away.

Decimals, abbreviations, initials and the number of a list's item end no sentence; a new line does, and so
does a full stop that is glued to the next sentence ("the sun.2. Flowers", "in space.The answer"), as many
chains in print have it. The catch: "in the U.S. Army" and "in the U.S. The" look alike; letters with full
stops never end a sentence here, so two sentences may be taken for one.
"""

from __future__ import annotations

import re

_END = re.compile(
    r"""\n
    | [.!?…]["'”’)\]*_`$]{0,4}(?=\s|$)
    | (?<=[a-z]{2})[.!?](?=[A-Z][a-z])
    | (?<=[^\W\d_])[.!?](?=\d{1,2}[.:)]\s)""",
    re.VERBOSE,
)
_SHORTENED = re.compile(
    r"(?:\b(?:mrs?|ms|dr|st|jr|sr|vs|prof|mt|approx|etc|cf|fig|eq)|\b(?:[a-z]\.)+[a-z])$", re.IGNORECASE
)
_INITIAL = re.compile(
    r"(?<![\w.])(?i:(?<!option )(?<!choice )(?<!answer )(?<!vitamin )(?<!and )(?<!or )(?<!is ))[A-Z]$"
)
"""A letter alone, but for the places where letters name options."""
_ITEM = re.compile(r"[\s*_#(>-]{0,8}(?:(?:step|option)\s)?(?:\d{1,3}|[A-Za-z])", re.IGNORECASE)
_LONGEST_ITEM = 20
_WORD = re.compile(r"\w")


def sentences(text: str) -> list[tuple[int, int]]:
    """[start, end) of every sentence, without the space around it; one without a letter or digit is none."""
    found = []
    start = 0
    for mark in _END.finditer(text):
        if text[mark.start()] == "." and _goes_on(text, start, mark.start()):
            continue
        found.append((start, mark.end()))
        start = mark.end()
    found.append((start, len(text)))
    return [_trimmed(text, *span) for span in found if _WORD.search(text, *span)]


def without_last(text: str) -> str:
    """`text` up to its last sentence; nothing if it has only one."""
    found = sentences(text)
    return text[: found[-1][0]].rstrip() if len(found) > 1 else ""


def _goes_on(text: str, start: int, stop: int) -> bool:
    """Whether the full stop at `stop` belongs to an abbreviation, an initial or a list's number."""
    before = text[max(start, stop - 12) : stop]
    if _SHORTENED.search(before) or _INITIAL.search(before):
        return True
    return stop - start <= _LONGEST_ITEM and bool(_ITEM.fullmatch(text, start, stop))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
