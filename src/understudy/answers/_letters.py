"""Letters put together, as in last-letter concatenation: "lr".

The catch is that models spell the answer out, "l r", "L-R", "l and r", and wrap it in words, "the letters
'lr'"; so single letters are joined, and among several words only a quoted one, or the one left after
"the letters", is the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.answers._found import Asked, Found
from understudy.answers._text import LONGEST_LAST_LINE, LONGEST_LINE, bare_span

_SPELT = re.compile(r"[^\W\d_](?:(?:[\s,.\-–\"'“”‘’*_`+]{1,5}|\s(?:and|then)\s)[^\W\d_](?![^\W\d_]))*")
_LETTER = re.compile(r"[^\W\d_]")
_QUOTED = re.compile(r"[\"'“‘`*]{1,3}((?:[^\W\d_][\s,\-]{0,2}){1,40}?)[\"'”’`*]{1,3}(?![^\W_])")
_CLAUSE = re.compile(r"[,;:(]|\s(?:because|since|as|which|when|so|from)\s")
_WORD = re.compile(r"[^\W\d_]+")
_FILLER = set(
    re.findall(r"\w+", "the a word string letter letters concatenation result combination is of are")
)
SEVERAL = "several words stand where letters are asked for"


def canonical(answer: str, _choices: Sequence[str] = ()) -> str | None:
    start, end = bare_span(answer, 0, len(answer))
    return _joined(answer, start, end)


def _joined(text: str, start: int, end: int) -> str | None:
    """The letters, if there is nothing but one word, or letters set apart."""
    if _WORD.fullmatch(text, start, end):
        return text[start:end].lower()
    spelt = _SPELT.fullmatch(text, start, end)
    if not spelt:
        return None
    return "".join(word for word in _WORD.findall(text, start, end) if len(word) == 1).lower()


def stated(text: str, start: int, end: int, _asked: Asked) -> Found | None:
    end = min(end, start + LONGEST_LINE)
    start = max(start, text.rfind("=", start, end) + 1)
    first, last = bare_span(text, start, end)
    if first == last:
        return None
    whole = _joined(text, first, last)
    return (
        Found(whole, first, last) if whole else _quoted(text, start, end) or _among_words(text, first, last)
    )


def _quoted(text: str, start: int, end: int) -> Found | None:
    """What stands in quotes or emphasis: one word, or one letter after another."""
    quoted = [mark for mark in _QUOTED.finditer(text, start, end) if mark[1].strip()]
    if not quoted:
        return None
    if not all(len(mark[1]) == 1 for mark in quoted):
        del quoted[1:]
    letters = "".join(_LETTER.findall(" ".join(mark[1] for mark in quoted)))
    return Found(letters.lower(), quoted[0].start(1), quoted[-1].end(1))


def _among_words(text: str, start: int, end: int) -> Found | None:
    clause = _CLAUSE.search(text, start, end)
    words = list(_WORD.finditer(text, start, clause.start() if clause else end))
    while len(words) > 1 and words[0].group().lower() in _FILLER:
        del words[0]
    if not words:
        return None
    first, last = words[0].start(), words[-1].end()
    joined = _joined(text, first, last)
    return Found(joined, first, last, reason="" if joined else SEVERAL)


def unstated(text: str, _asked: Asked) -> Found | None:
    """The whole output if it is one line, or its short last line, or what that ends in after a colon."""
    line = text.rfind("\n") + 1
    alone = not text[:line].strip()
    colon = max(text.rfind(":", line), text.rfind("=", line)) + 1
    for begin, rule in ((line, "whole_text" if alone else "last_line"), (colon, "last_result")):
        start, end = bare_span(text, max(begin, line), len(text))
        joined = _joined(text, start, end) if end - start <= LONGEST_LAST_LINE else None
        if joined:
            return Found(joined, start, end, rule)
    return None


def strict(text: str, start: int, end: int, _asked: Asked) -> Found | None:
    start, end = bare_span(text, start, end)
    joined = _joined(text, start, end)
    return Found(joined, start, end) if joined else None
