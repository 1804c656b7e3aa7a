"""Yes or no, true or false.

The catch is the word "no": in "there is no evidence" it says nothing about the answer, so outside a
statement it counts only where it stands alone ("No.", "No, because ...").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.answers._found import Asked, Found
from understudy.answers._text import bare_span

_POLARITY = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_WORD = re.compile(r"(?<![^\W_])(?P<not>not[ ])?(?P<word>yes|no|true|false)(?![^\W_]|-)", re.IGNORECASE)
_HEAD = re.compile(r"[\s*_`\"'“”‘’({\[$:]*(?:\\(?:text|mathrm|mathbf|textbf|boxed)\{)*", re.IGNORECASE)
_ALSO = re.compile(r"\s{0,3}(?:or|and|/|&)\s{0,3}[\"'*_]{0,2}(?:yes|no|true|false)\b", re.IGNORECASE)
_ALONE = re.compile(r"\s*(?:[.,;:!*_\"'”’)]|$)")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]|\n)[\s*_\"'“(]*$")
_LAST_SENTENCE = re.compile(r"[.!?]\s+(?=\S)|\n")

LONGEST_SENTENCE = 400
"""Characters; a last sentence beyond it is a model that has lost its thread, and is not read."""

_GOLDS = {
    "yes": "yes",
    "true": "yes",
    "no": "no",
    "false": "no",
    "y": "yes",
    "n": "no",
    "1": "yes",
    "0": "no",
}


def canonical(answer: str, _choices: Sequence[str] = ()) -> str | None:
    return _GOLDS.get(answer.strip().strip("\"'.").casefold())


def _polarity(found: re.Match[str]) -> str:
    said = _POLARITY[found["word"].lower()]
    if found["not"]:
        return "no" if said == "yes" else "yes"
    return said


def stated(text: str, start: int, end: int, _asked: Asked) -> Found | None:
    """The word that opens the statement's body, else the one side that its sentence takes."""
    head = _HEAD.match(text, start, end)
    first = _WORD.match(text, head.end() if head else start, end)
    if first:
        if _ALSO.match(text, first.end(), end):
            return Found(None, first.start(), end, reason="several answers are named")
        return Found(_polarity(first), *first.span())
    letter = text[start:end].strip(" *_`\"'.()").lower()
    if letter in ("y", "n"):
        return Found(_GOLDS[letter], *bare_span(text, start, end))
    return _one_side(list(_WORD.finditer(text, start, end)))


def strict(text: str, start: int, end: int, _asked: Asked) -> Found | None:
    """A body that is yes, no, true or false."""
    said = _GOLDS.get(text[start:end].lower())
    return Found(said, start, end) if said and end - start > 1 else None


def _one_side(words: list[re.Match[str]]) -> Found | None:
    if not words:
        return None
    last = words[-1]
    if len({_polarity(word) for word in words}) > 1:
        return Found(None, words[0].start(), last.end(), reason="several answers are named")
    return Found(_polarity(last), *last.span())


def unstated(text: str, _asked: Asked) -> Found | None:
    """A first word "Yes"; else what the last sentence says."""
    end = len(text.rstrip())
    head = _HEAD.match(text, 0, end)
    first = _WORD.match(text, head.end() if head else 0, end)
    if first and _counts(text, first) and not _ALSO.match(text, first.end(), end):
        return Found(_polarity(first), *first.span(), "first_word")
    window = max(0, end - LONGEST_SENTENCE)
    start = window if window == 0 else end
    for mark in _LAST_SENTENCE.finditer(text, window, end):
        start = mark.end()
    words = [word for word in _WORD.finditer(text, start, end) if _counts(text, word)]
    found = _one_side(words)
    if found is None:
        return None
    return Found(found.answer, found.start, found.end, "last_sentence", found.reason)


def _counts(text: str, word: re.Match[str]) -> bool:
    if word["word"].lower() != "no":
        return True
    before = text[max(0, word.start() - 20) : word.start()]
    return bool(_ALONE.match(text, word.end())) or (
        bool(_SENTENCE_START.search(before)) and text[word.end() : word.end() + 1] in ",.:;"
    )
