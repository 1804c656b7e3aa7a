"""Labelled options: "(B)", "B.", "option B", "B: its text", or the option's text alone.

The catch is that labels are also words and letters: "Bank" is not B, the article in "A dog" is not A, "I
think" is not I. So a label counts when it is marked, "(B)", or opens a statement; and a letter beyond the
question's own options is no answer. Without a statement only the end of a text is searched, because
reasoning names every option in turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from understudy.answers._found import Asked, Found
from understudy.answers._labels import (
    CONCLUDED,
    HEAD,
    JOINED,
    NAMED,
    OPENING,
    RIGHT,
    WHOLE,
    is_label,
    label_of,
)
from understudy.answers._text import bare_span, normal
from understudy.types import LABELS

CLOSING = 400
"""Characters at the end of a text in which a label that is only mentioned counts."""
LONGEST_BODY = 2000
"""Characters of a statement that are compared with the options' texts."""
COUNTED = ("",) * 9
"""Stands for unknown options that are counted from 1."""

_LAST_SENTENCE = re.compile(r"[.!?]\s+(?=\S)|\n")
_NONE = re.compile(r"\b(?:none|neither|no option|not listed|all of)\b", re.IGNORECASE)
_CONTRAST = re.compile(r",\s?(?:and\s)?not\b|\b(?:rather\sthan|instead\sof|as\sopposed\sto)\b", re.IGNORECASE)
_STRICT = re.compile(r"\((?P<marked>[A-Za-z])\)|(?P<bare>[A-Za-z])")
SEVERAL = "several options are named"


@lru_cache(4096)
def _options(choices: tuple[str, ...]) -> tuple[str, ...]:
    """The options' texts as they are compared."""
    return tuple(normal(choice) for choice in choices)


def canonical(answer: str, choices: Sequence[str]) -> str | None:
    """The label of a gold: a letter, a digit from 1, "(B)", "B) text", or the text of one option."""
    texts = _options(tuple(choices))
    wanted = normal(answer)
    if wanted and texts.count(wanted) == 1 and not (len(wanted) == 1 and wanted.isalpha()):
        return LABELS[texts.index(wanted)]
    whole = WHOLE.fullmatch(answer)
    if whole:
        return label_of(whole, choices or COUNTED if counted(answer) else choices)
    return _labelled(answer, texts, choices)


def counted(gold: str) -> bool:
    """Whether a gold is a digit, so that its options are counted from 1."""
    return gold.strip(" ().").isdecimal()


def _labelled(text: str, texts: Sequence[str], choices: Sequence[str]) -> str | None:
    """The label of "B) its own text": the text must be the option's."""
    found = OPENING.match(text)
    named = label_of(found, choices) if found else None
    if not found or not named or not texts or len(text) > LONGEST_BODY:
        return None
    return named if normal(text[found.end() :]) == texts[LABELS.index(named)] else None


# ---------------------------------------------------------------- in a statement


def stated(text: str, start: int, end: int, asked: Asked) -> Found | None:
    """The label or the option that a statement's body names."""
    choices = asked.choices
    texts = _options(choices)
    body = normal(text[start:end]) if choices and end - start <= LONGEST_BODY else ""
    head = _head(text, start, end, choices)
    if body and texts.count(body) == 1 and (head is None or not (len(body) == 1 and body.isalpha())):
        return Found(LABELS[texts.index(body)], *bare_span(text, start, end))
    if head is not None:
        return head
    named = _agreed(NAMED.finditer(text, start, end), choices, "")
    if named is None and body:
        contrast = _CONTRAST.search(text, start, end)
        stop = contrast.start() if contrast else end
        named = _option(text, start, stop, normal(text[start:stop]), texts, "option_text")
    if named is None and _NONE.search(text, start, end):
        return Found(None, start, end, reason="none of the options is named")
    return named


def strict(text: str, start: int, end: int, asked: Asked) -> Found | None:
    """A body that is a label, "(B)" or "B", or a label before its own text."""
    label = _STRICT.fullmatch(text, start, end)
    if label:
        named = label_of(label, asked.choices)
        return Found(named, *label.span(label.lastgroup or 0)) if named else None
    named = _labelled(text[start:end], _options(asked.choices), asked.choices)
    opening = OPENING.match(text, start, end)
    return Found(named, *opening.span(opening.lastgroup or 0)) if named and opening else None


def _head(text: str, start: int, end: int, choices: Sequence[str]) -> Found | None:
    """A label that opens the body."""
    found = HEAD.match(text, start, end)
    if not found or (found["bare"] and not is_label(text, end, found)):
        return None
    named = label_of(found, choices)
    if named is None:
        bare_number = (found["bare"] or "").isdigit()
        return None if bare_number else Found(None, *found.span(), reason="no such option")
    joined = JOINED.match(text, found.end(), end)
    other = label_of(joined, choices) if joined else None
    if joined and other not in (None, named):
        return Found(None, found.start(), joined.end(), reason=SEVERAL)
    return Found(named, *found.span(found.lastgroup or 0))


def _agreed(marks: Iterable[re.Match[str]], choices: Sequence[str], rule: str) -> Found | None:
    """The label that all `marks` name; no answer if they name several."""
    found = [(named, mark) for mark in marks if (named := label_of(mark, choices))]
    if not found:
        return None
    named, mark = found[-1]
    if len({other for other, _ in found}) > 1:
        return Found(None, found[0][1].start(), mark.end(), rule, SEVERAL)
    return Found(named, *mark.span(mark.lastgroup or 0), rule)


def _option(text: str, start: int, end: int, body: str, texts: Sequence[str], rule: str) -> Found | None:
    """The only option whose text occurs in `body`, which is [start, end) as it is compared; an option
    inside a longer one does not count."""
    present = [(i, option) for i, option in enumerate(texts) if option and _occurs(option, body)]
    longest = [
        (i, option)
        for i, option in present
        if not any(option != other and _occurs(option, other) for _, other in present)
    ]
    if not longest:
        return None
    if len(longest) > 1:
        return Found(None, start, end, rule, SEVERAL)
    return Found(LABELS[longest[0][0]], *_place(text, start, end, longest[0][1]), rule)


def _place(text: str, start: int, end: int, option: str) -> tuple[int, int]:
    """Where an option's text stands, if it stands there letter for letter, else all that was searched."""
    at = text[start:end].lower().find(option)
    return (start + at, start + at + len(option)) if at >= 0 else (start, end)


def _occurs(option: str, text: str) -> bool:
    """At word boundaries. `str.find` keeps it linear where a regular expression would not be."""
    position = text.find(option)
    while position >= 0:
        before = text[position - 1] if position else " "
        after = text[position + len(option)] if position + len(option) < len(text) else " "
        if not (before.isalnum() and option[0].isalnum()) and not (after.isalnum() and option[-1].isalnum()):
            return True
        position = text.find(option, position + 1)
    return False


# ---------------------------------------------------------------- without a statement


def unstated(text: str, asked: Asked) -> Found | None:
    """A text or last line that is a label, a text that opens with one, "B is correct", or what the last
    sentence comes to; failing that the only label that is marked, the only option mentioned."""
    choices = asked.choices
    texts = _options(choices)
    return (
        _bare(text, choices)
        or _opening(text, texts, choices)
        or _called_right(text, choices)
        or _mentioned(text, texts, choices)
    )


def _bare(text: str, choices: Sequence[str]) -> Found | None:
    """A label alone: as the whole text, or in capitals or brackets as its last line."""
    end = len(text.rstrip())
    line = text.rfind("\n", 0, end) + 1
    whole = WHOLE.fullmatch(text, line, end) if end - line <= 40 else None
    if not whole:
        return None
    alone = not text[:line].strip()
    if not alone and not (whole["marked"] or whole["bare"].isupper()):
        return None
    named = label_of(whole, choices)
    rule = "bare_label" if alone else "last_line"
    if named:
        return Found(named, *whole.span(whole.lastgroup or 0), rule)
    return Found(None, line, end, rule, "no such option") if alone else None


def _opening(text: str, texts: Sequence[str], choices: Sequence[str]) -> Found | None:
    """An option's text as the whole text, or "B) its text" with an explanation after it."""
    start = len(text) - len(text.lstrip())
    line = text.find("\n", start)
    line = line if line >= 0 else len(text)
    first = text[start:line]
    if len(first) <= LONGEST_BODY and texts.count(normal(first)) == 1 and not text[line:].strip():
        return Found(LABELS[texts.index(normal(first))], start, line, "option_text")
    found = OPENING.match(text)
    named = label_of(found, choices) if found else None
    if not found or not named:
        return None
    rest = normal(text[found.end() : line][:LONGEST_BODY])
    own = texts[LABELS.index(named)] if texts else ""
    told = bool(own) and rest.startswith(own)
    alone = not rest and found.end() <= line
    others = any(label_of(mark, choices) != named for mark in _marks(text, found.end()))
    listed = len({mark.group(1) for mark in _LISTED.finditer(text)}) > 1
    opens_reply = text.lstrip().startswith("A:") and not told
    if opens_reply or listed or not (told or alone or not others):
        return None
    return Found(named, *found.span(found.lastgroup or 0), "first_label")


_INLINE = re.compile(r"(?<![\w(])(?P<label>[A-Z])\)(?=\s)")
_LISTED = re.compile(r"^[ \t*_(]{0,4}([A-Z])[).:]", re.MULTILINE)
"""A line of a list of options."""


def _marks(text: str, start: int) -> list[re.Match[str]]:
    """Every label with a mark, in the order of the text."""
    marks = [*NAMED.finditer(text, start), *_INLINE.finditer(text, start)]
    return sorted(marks, key=re.Match.start)


def _called_right(text: str, choices: Sequence[str]) -> Found | None:
    right = [mark for mark in RIGHT.finditer(text) if label_of(mark, choices)]
    if not right:
        return None
    return Found(label_of(right[-1], choices), *right[-1].span(), "called_right")


def _mentioned(text: str, texts: Sequence[str], choices: Sequence[str]) -> Found | None:
    last = _last_sentence(text)
    concluded = _agreed(CONCLUDED.finditer(text, last), choices, "last_sentence")
    if concluded is not None and concluded.answer:
        return concluded
    closing = max(0, len(text) - CLOSING)
    only = _agreed(_marks(text, 0), choices, "only_marked_label")
    if only is not None and only.answer and only.start >= closing:
        return only
    marked = concluded or _agreed(_marks(text, last), choices, "last_marked_label")
    if marked is not None:
        return marked
    body = normal(text[closing:]) if texts else ""
    return _option(text, closing, len(text), body, texts, "only_option_mentioned")


def _last_sentence(text: str) -> int:
    """Where it starts; the end of the text if it is so long that the model has lost its thread."""
    start = 0 if len(text) <= CLOSING else len(text)
    for mark in _LAST_SENTENCE.finditer(text, max(0, len(text) - CLOSING), len(text.rstrip())):
        start = mark.end()
    return start
