"""Where a text states its answer: "The answer is ...", "#### ...", "\\boxed{...}", "Answer: ...".

This file knows forms of speech and nothing of numbers or labels. The catch is that a text says "answer"
in many ways and mostly more than once; so the statements are given from the last to the first, each with
its own sentence. Every pattern has bounded repeats only: a hostile megabyte costs a linear scan. Patterns
are tried only where a plain search has found their word, for most of a text is reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from understudy.types import AnswerForm


class Statement(NamedTuple):
    """Characters [start, end) of the text; the answer itself is looked for in [body, end)."""

    start: int
    body: int
    end: int
    rule: str

    def shifted(self, by: int) -> Statement:
        return Statement(self.start + by, self.body + by, self.end + by, self.rule)


_CUE = re.compile(
    r"""(?<![^\W_])(?:
      answer(?:[ ](?:choice|option|here)\b)?(?P<about>[ ](?:to|for|of|that|which|we|I)[ ][^\n.!?:=]{1,40}?)?
      | ans\b\.?
      | (?:correct|right|best|final|appropriate|likely)[ ](?:option|choice|result|solution|conclusion)
    )
    [*_`"'”’)\]]{0,4}[ \t]{0,4}
    (?: (?:is|are|was|equals|comes[ ]to|(?<=['’])s|(?:will|would|should|must)[ ]be)(?![^\W_])
        (?:,?[ ](?:therefore|thus|then|hence|simply|clearly|definitely|actually)\b,?)?[ \t]{0,4}:?
      | (?(about)(?!)|[:=]) )""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADING = re.compile(
    r"^[ ]{0,3}(?:\#{1,6}[ ]{0,3}|\*\*)(?:(?:the|final|correct)[ ])*answer[*:_ ]{0,6}\n",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_TAG = re.compile(r"<answer>", re.IGNORECASE)
_HASH = re.compile(r"####(?!#)")
_ARROW = re.compile(r"-->")
_REPLY = re.compile(r"^[ \t]{0,4}A:", re.MULTILINE)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s{0,2}\{")
_BRACE = re.compile(r"[{}]")

_SENTENCE_END = re.compile(r"\n|[.!?][\"'”’)\]*_`$]{0,4}(?=\s|$)")
_ABBREVIATION = re.compile(
    r"\b(?:mrs?|ms|dr|rs|st|jr|sr|vs|prof|mt|no|approx|[ap]\.m|e\.g|i\.e)\.$", re.IGNORECASE
)
_LEAD = re.compile(
    r"""(?:^|(?<=[\s.,;:!?*\#(>]))
    (?:(?:so|thus|therefore|hence|then|and|finally|consequently|accordingly|overall
       |in[ ](?:conclusion|summary|short)|this[ ]means|we[ ]conclude|it[ ]follows)\b,?[ ]{0,2}){0,3}
    (?:that[ ])?(?:(?:the|our|my|this|final|correct|best|right|most|only)[ ]{1,2}){0,4}[*_`]{0,3}$""",
    re.IGNORECASE | re.VERBOSE,
)


def lower(text: str) -> str:
    """In small letters, character for character."""
    small = text.lower()
    return small if len(small) == len(text) else text.replace("İ", "i").lower()


def statements(text: str, small: str, form: AnswerForm) -> Iterator[Statement]:
    """Every statement of an answer, from the last to the first; their bodies do not overlap. `small` is
    the text in small letters."""
    heads = _cues(text, small)
    boxes: dict[tuple[int, int], int] = {}
    if "box" in text:
        boxes = dict(_boxes(text))
        heads += [(start, body, "boxed") for start, body in boxes]
    if "#" in text or "**" in text or "<" in text or "-->" in text or "A:" in text:
        heads += _marks(text, form)
    limit = len(text)
    for start, body, rule in sorted(heads, reverse=True):
        if rule == "boxed":
            end = min(boxes[start, body], limit)
        else:
            body = _skip_space(text, body, limit)
            end = sentence_end(text, body, limit)
        if body < end:
            yield Statement(start, body, end, rule)
        limit = start


_CUE_WORD = re.compile(
    r"ans|(?:correct|right|best|final|appropriate|likely) (?:option|choice|result|solution|conclusion)"
)


def _cues(text: str, small: str) -> list[tuple[int, int, str]]:
    """Where a cue in words opens a statement: [start, body) and its rule."""
    starts: Iterator[int] = _each(small, "ans")
    if (
        "option" in small
        or "choice" in small
        or "result" in small
        or "solution" in small
        or "conclusion" in small
    ):
        starts = (found.start() for found in _CUE_WORD.finditer(small))
    heads, end = [], 0
    for start in starts:
        found = _CUE.match(text, start) if start >= end else None
        if found:
            end = found.end()
            heads.append((start, end, "cue"))
    return heads


_MARKS = ((_HASH, "hash"), (_HEADING, "heading"), (_TAG, "tag"), (_ARROW, "arrow"))


def _marks(text: str, form: AnswerForm) -> Iterator[tuple[int, int, str]]:
    """Where a mark does."""
    for pattern, rule in _MARKS:
        for found in pattern.finditer(text):
            yield found.start(), found.end(), rule
    if form != "choice":
        yield from _reply(text)


def _each(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def _reply(text: str) -> Iterator[tuple[int, int, str]]:
    """An "A: 18" that is the last line; at the head of a longer text "A:" only opens the reply."""
    last = text.rstrip().rfind("\n") + 1
    found = _REPLY.match(text, last)
    if found:
        yield found.start(), found.end(), "reply"


def _boxes(text: str) -> Iterator[tuple[tuple[int, int], int]]:
    """((start, body), end) of all boxes, with the brace that closes each found in one pass."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for found in _BRACE.finditer(text):
        if found.group() == "{":
            opened.append(found.end())
        elif opened:
            closing[opened.pop()] = found.start()
    for found in _BOXED.finditer(text):
        yield found.span(), closing.get(found.end(), len(text))


def _skip_space(text: str, position: int, limit: int) -> int:
    while position < limit and text[position].isspace():
        position += 1
    return position


def sentence_end(text: str, body: int, limit: int) -> int:
    """The end of the sentence that `body` stands in, at most `limit`; "Mrs. Hilt" is one sentence."""
    for found in _SENTENCE_END.finditer(text, body, limit):
        end = found.end()
        if not _ABBREVIATION.search(text, max(body, end - 8), end):
            return end
    return limit


def statement_start(text: str, statement: Statement) -> int:
    """Where the statement begins with its lead-in: with "So the final" before "answer is", and with the
    whole sentence that a box or a tag stands in."""
    window = max(0, statement.start - 400)
    if statement.rule in ("boxed", "tag"):
        ends = [found.end() for found in _SENTENCE_END.finditer(text, window, statement.start)]
        return ends[-1] if ends else window
    window = max(window, statement.start - 80)
    found = _LEAD.search(text[window : statement.start])
    return window + found.start() if found else statement.start
