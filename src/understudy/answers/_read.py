"""The flexible reading: which of a text's statements, or which words of a text without one, are its answer.

The order is that of the package's head. The catch is that every fallback reads something into a text: it is
used only on a text that came to its own end, and never on one that was cut off or ends in a loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from understudy.answers import _reasons as reasons
from understudy.answers._forms import FORMS
from understudy.answers._found import Asked, Found
from understudy.answers._loops import loop
from understudy.answers._own import next_question, own_part
from understudy.answers._statements import Statement, lower, statements
from understudy.answers._strict import read_strictly
from understudy.answers._text import normal
from understudy.types import AnswerForm

GOES_ON = ",/:-–−(\\{^=+×"
"""Marks after which the answer of a text that was cut off may go on: "1," of "1,000"."""
MOST_STATEMENTS = 1000
"""Statements at the end of a text among which one that holds an answer is looked for."""


class Look(NamedTuple):
    """What a text holds. All positions are those of the model's own part, text[start:end]."""

    start: int
    end: int
    found: Found
    """The answer, or why there is none."""
    statement: Statement | None
    """The statement that it came from."""
    earlier: str | None
    """What an earlier statement says, if it says another thing."""
    strict: Found | None


def look(text: str, form: AnswerForm, asked: Asked, cut_off: bool) -> Look:
    start, end = own_part(text)
    own = text[start:end]
    small = lower(own)
    cut = next_question(own)
    if cut is not None:
        before = _look(own[:cut], small[:cut], start, form, asked, False)
        if before.found.answer is not None:
            return before
    # What ends before the text does was not cut off.
    return _look(own, small, start, form, asked, cut_off and not text[end:].strip())


def _look(text: str, small: str, start: int, form: AnswerForm, asked: Asked, cut_off: bool) -> Look:
    end = start + len(text)
    whole = len(text.rstrip(GOES_ON)) if cut_off else len(text) + 1
    strict = read_strictly(text, small, form, asked)
    if strict is not None and strict.end >= whole:
        strict = None
    stated = islice(statements(text, small, form), MOST_STATEMENTS)
    last = unfinished = None
    for statement in stated:
        last = last or statement
        found = _in_statement(text, statement, form, asked)
        if found is not None and found.end >= whole:
            unfinished = Found(None, found.start, found.end, found.rule, reasons.UNFINISHED)
        elif found is not None:
            earlier = found.answer and _another(text, stated, form, asked, found.answer)
            return Look(start, end, found, statement, earlier, strict)
    found = unfinished or _without_statement(text, last, form, asked, cut_off)
    return Look(start, end, found, None, None, strict)


def _in_statement(text: str, statement: Statement, form: AnswerForm, asked: Asked) -> Found | None:
    if _denies(text, statement, form, asked):
        return None
    found = FORMS[form].stated(text, statement.body, statement.end, asked)
    if found is None:
        return None
    answer, start, end, rule, reason = found
    return Found(answer, start, end, f"{statement.rule}_{rule}" if rule else statement.rule, reason)


_DENIAL = re.compile(r"[\W_]{0,6}not[\W_]", re.IGNORECASE)


def _denies(text: str, statement: Statement, form: AnswerForm, asked: Asked) -> bool:
    """Whether a statement says only what the answer is not. "Not true" is an answer to a yes-or-no
    question, and an option may itself begin with "not"."""
    if form == "boolean" or not _DENIAL.match(text, statement.body, statement.end):
        return False
    return not any(normal(choice).startswith("not ") for choice in asked.choices)


LOOKED_BACK = 8
"""Statements before the one that counts, in which another answer is looked for."""


def _another(
    text: str, stated: Iterator[Statement], form: AnswerForm, asked: Asked, answer: str
) -> str | None:
    for statement in islice(stated, LOOKED_BACK):
        if statement.rule == "reply":  # an "A:" that opens the last line opens all that it states
            continue
        found = _in_statement(text, statement, form, asked)
        if found is not None and found.answer not in (None, answer):
            return found.answer
    return None


def _without_statement(
    text: str, last: Statement | None, form: AnswerForm, asked: Asked, cut_off: bool
) -> Found:
    if not text:
        return Found(None, 0, 0, "", reasons.EMPTY)
    if last is not None and _denies(text, last, form, asked):
        return Found(None, last.start, last.end, "cue", reasons.DENIED)
    if cut_off:
        return Found(None, 0, 0, "", reasons.CUT_OFF)
    looped = loop(text)
    if looped:
        return Found(None, *looped, "", reasons.LOOPS)
    # What stands before a statement that names no option is reasoning, and reasoning names many.
    after = last.body if last is not None and form == "choice" else 0
    found = FORMS[form].unstated(text[after:], asked)
    return found.shifted(after) if found else Found(None, 0, 0, "", reasons.NOTHING)
