"""Where a text states its answer: "The answer is ...", "#### ...", "\\boxed{...}", "Answer: ...".

This file knows forms of speech and nothing of numbers or labels. The catch is that a text says "answer"
in many ways and mostly more than once, and that a base model runs on into the next question; so the
statements are returned in order, each with its own sentence, and the readers try them from the last.
Every pattern has bounded repeats only: a hostile megabyte costs a linear scan.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from understudy.types import AnswerForm


@dataclass(frozen=True, slots=True)
class Statement:
    """Characters [start, end) of the text; the answer itself is looked for in [body, end)."""

    start: int
    body: int
    end: int
    rule: str

    def shifted(self, by: int) -> Statement:
        return Statement(self.start + by, self.body + by, self.end + by, self.rule)


_CUE = re.compile(
    r"""(?<![^\W_])(?:
      answer(?:[ ](?:choice|option|here)\b)?(?P<about>[ ](?:to|for|of|that|which)[ ][^\n.!?:=]{1,40}?)?
      | ans\b\.?
      | (?:correct|right|best|final|appropriate|likely)[ ](?:option|choice|result|solution|conclusion)
    )
    [*_`"'”’)\]]{0,4}[ \t]{0,4}
    (?: (?:is|are|was|equals|(?:will|would|should|must)[ ]be)\b
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
    r"\b(?:mrs?|ms|dr|st|jr|sr|vs|prof|mt|no|approx|[ap]\.m|e\.g|i\.e)\.$", re.IGNORECASE
)
_LEAD = re.compile(
    r"""(?:^|(?<=[\s.,;:!?*\#(>]))
    (?:(?:so|thus|therefore|hence|then|and|finally|consequently|accordingly|overall
       |in[ ](?:conclusion|summary|short)|this[ ]means|we[ ]conclude|it[ ]follows)\b,?[ ]{0,2}){0,3}
    (?:that[ ])?(?:(?:the|our|my|this|final|correct|best|right|most|only)[ ]{1,2}){0,4}[*_`]{0,3}$""",
    re.IGNORECASE | re.VERBOSE,
)

_NEXT_QUESTION = re.compile(
    r"\n[ \t]{0,4}(?:\#{1,6}[ ]{0,2}|\*\*)?(?:Q|Question|Problem|Human|User|Instruction)[ ]?\d{0,4}[ ]?:",
    re.IGNORECASE,
)
_END_OF_TEXT = re.compile(r"<\|(?:endoftext|im_end|eot_id|end_of_text|end)\|>|</s>")
_THOUGHT_END = "</think>"


def own_part(text: str) -> tuple[int, int]:
    """[start, end) of the model's own words, without the space around them: after its hidden thoughts
    and before its end-of-text token, unless nothing stands there."""
    start = text.rfind(_THOUGHT_END)
    start = 0 if start < 0 else start + len(_THOUGHT_END)
    found = _END_OF_TEXT.search(text, start)
    end = found.start() if found else len(text)
    if not text[start:end].strip():
        start, end = 0, len(text)
    own = text[start:end]
    return start + len(own) - len(own.lstrip()), start + len(own.rstrip())


def next_question(text: str) -> int | None:
    """Where the text runs on into another question, if something stands before that."""
    for found in _NEXT_QUESTION.finditer(text):
        if text[: found.start()].strip():
            return found.start()
    return None


def statements(text: str, form: AnswerForm) -> list[Statement]:
    """Every statement of an answer, in the order of the text; their bodies do not overlap."""
    boxes = dict(_boxes(text)) if "box" in text else {}
    heads = sorted([*_heads(text, form), *((start, body, "boxed") for start, body in boxes)])
    sentence_ends = [found.end() for found in _SENTENCE_END.finditer(text)] if heads else []
    stated = []
    for index, (start, body, rule) in enumerate(heads):
        limit = heads[index + 1][0] if index + 1 < len(heads) else len(text)
        if rule == "boxed":
            end = min(boxes[start, body], limit)
        else:
            body = _skip_space(text, body, limit)
            end = _sentence_end(text, body, limit, sentence_ends)
        if body < end:
            stated.append(Statement(start, body, end, rule))
    return stated


def _heads(text: str, form: AnswerForm) -> Iterator[tuple[int, int, str]]:
    """Where a statement opens: [start, body) and its rule. The tests in front only save time."""
    wanted = [(_CUE, "cue")]
    if "#" in text or "**" in text:
        wanted += [(_HASH, "hash"), (_HEADING, "heading")]
    if "<" in text:
        wanted.append((_TAG, "tag"))
    if "-->" in text:
        wanted.append((_ARROW, "arrow"))
    for pattern, rule in wanted:
        for found in pattern.finditer(text):
            yield found.start(), found.end(), rule
    if form != "choice":
        yield from _reply(text)


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


def _sentence_end(text: str, body: int, limit: int, ends: list[int]) -> int:
    """The end of the sentence that `body` stands in, at most `limit`; "Mrs. Hilt" is one sentence."""
    for index in range(bisect_right(ends, body), len(ends)):
        end = ends[index]
        if end >= limit:
            break
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
