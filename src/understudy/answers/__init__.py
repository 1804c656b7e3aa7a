"""The one judge: write an answer into text, read it back, compare it with the gold.

In this field the reading of answers moves scores more than methods do, so there is one reader, it says by
which rule it read, and "no_answer" is never "wrong". A text is read in this order:

1. Only the model's own words count: after </think>, before an end-of-text token, and before the text
   runs on into a new question ("Q:", "Question:", ...) if what stands before that holds an answer.
2. Statements, from the last to the first: "The answer is ...", "Answer: ...", "#### ...", "\\boxed{...}",
   "<answer>...", "--> ...", a last line "A: ...". A statement that holds no answer is passed over; one
   that names several ("A or B") ends the reading with no answer.
3. Without a statement: the last number; a bare or marked label or the only option mentioned; a yes or no
   that opens the text or ends it; a one-line text as a whole.

A free-text gold that is itself wholly a number, or yes or no, is read and compared as such.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.answers import _boolean, _choice, _number, _text
from understudy.answers._found import Found
from understudy.answers._statements import (
    Statement,
    next_question,
    own_part,
    statement_start,
    statements,
)
from understudy.errors import DataError
from understudy.types import AnswerForm, Verdict

CUE = "The answer is"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from a text: the canonical answer, the characters it came from, the rule, and why
    there is none."""

    answer: str | None
    span: tuple[int, int] | None = None
    rule: str = ""
    reason: str = ""


def write(answer: str, form: AnswerForm) -> str:
    """The sentence that states `answer`: what students learn to end with and `read` reads back."""
    stop = "" if answer.endswith(".") else "."
    return f"{CUE} ({answer})." if form == "choice" else f"{CUE} {answer}{stop}"


def canonical(answer: str, form: AnswerForm, choices: Sequence[str] = ()) -> str | None:
    """A gold as data files write it in the one form that is compared; None if it cannot be read."""
    if form == "choice":
        return _choice.canonical(answer, choices)
    if form == "boolean":
        return _boolean.canonical(answer)
    if form == "number":
        found = _number.gold_numbers(answer)
        return "; ".join(number.canonical for number in found) if found else None
    own_form = _form_of_text(answer)
    return (_text.normal(answer) or None) if own_form == "text" else canonical(answer, own_form)


def _form_of_text(gold: str) -> AnswerForm:
    if canonical(gold, "number") is not None:
        return "number"
    return "boolean" if gold.strip().casefold() in ("yes", "no", "true", "false") else "text"


def read(text: str, form: AnswerForm, choices: Sequence[str] = ()) -> Reading:
    """The answer that `text` gives; never raises."""
    return _read(text, form, tuple(choices), 1)


def judge(text: str, gold: str, form: AnswerForm, choices: Sequence[str] = ()) -> Verdict:
    """The verdict on `text`. Raises DataError if the gold cannot be read, and on nothing else."""
    wanted = canonical(gold, form, choices)
    if wanted is None:
        raise DataError(f"the gold answer '{gold[:80]}' cannot be read as a {form}; mend it or name its form")
    if form == "text":
        form = _form_of_text(gold)
    if form == "choice" and not choices and _choice.counted(gold):
        choices = _choice.COUNTED
    reading = _read(text, form, tuple(choices), wanted.count(";") + 1 if form == "number" else 1)
    if reading.answer is None:
        return Verdict("no_answer", None, reading.span, reading.rule, reading.reason)
    right = reading.answer == wanted or (form == "number" and _numbers_equal(reading.answer, wanted))
    return Verdict("correct" if right else "wrong", reading.answer, reading.span, reading.rule)


def reasoning(text: str, form: AnswerForm, choices: Sequence[str] = ()) -> str:
    """`text` without the final statement of its answer and without a run-on into another question;
    unchanged if the answer was read without a statement."""
    looked = _look(text, form, tuple(choices), 1)
    while looked.statement is not None:
        start = statement_start(text, looked.statement)
        text = _joined(text[:start], text[looked.statement.end : looked.end])
        looked = _look(text, form, tuple(choices), 1)
        if looked.statement is not None and not _repeats(text, looked.statement):
            break
    return text


def _repeats(text: str, statement: Statement) -> bool:
    """Whether a text without its final statement still ends in one, and not in a sum: "The answer is 5.
    #### 5" states its answer twice."""
    body = text[statement.body : statement.end]
    return len(body) <= 60 and "=" not in body and not text[statement.end :].strip(_CLOSING_MARKS)


_CLOSING_MARKS = ".!?*_`)}]$\\ \t\r\n"


def _joined(before: str, after: str) -> str:
    before = before.rstrip().rstrip(",;:-–—*_`#$\\[( \t\r\n")
    return f"{before} {after.lstrip(_CLOSING_MARKS)}".strip()


def _numbers_equal(output: str, gold: str) -> bool:
    pairs = list(zip(_number.gold_numbers(output) or [], _number.gold_numbers(gold) or [], strict=False))
    return len(pairs) == gold.count(";") + 1 and all(_number.equal(*pair) for pair in pairs)


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Look:
    """What a text holds: the finding, the statement it came from if any, and where the text's own part
    ends. All positions are those of the whole text."""

    found: Found | None
    statement: Statement | None
    end: int


def _look(text: str, form: AnswerForm, choices: tuple[str, ...], parts: int) -> _Look:
    """`parts` is how many numbers make up the answer."""
    start, end = own_part(text)
    own = text[start:end]
    cut = next_question(own)
    if cut is not None:
        found, statement = _find(own[:cut], form, choices, parts)
        if found is not None and found.answer is not None:
            return _Look(_shifted(found, start), statement and statement.shifted(start), start + cut)
    found, statement = _find(own, form, choices, parts)
    return _Look(found and _shifted(found, start), statement and statement.shifted(start), end)


def _shifted(found: Found, by: int) -> Found:
    return Found(found.answer, found.start + by, found.end + by, found.rule, found.reason)


def _read(text: str, form: AnswerForm, choices: tuple[str, ...], parts: int) -> Reading:
    found = _look(text, form, choices, parts).found
    if found is None:
        return Reading(None, None, "", "no answer is stated" if text.strip() else "the text is empty")
    return Reading(found.answer, (found.start, found.end), found.rule, found.reason)


def _find(
    text: str, form: AnswerForm, choices: tuple[str, ...], parts: int
) -> tuple[Found | None, Statement | None]:
    stated = statements(text, form)
    for statement in reversed(stated):
        if _denies(text, statement, form, choices):
            continue
        found = _answer_in(text, statement, form, choices, parts)
        if found is not None:
            rule = f"{statement.rule}_{found.rule}" if found.rule else statement.rule
            return Found(found.answer, found.start, found.end, rule, found.reason), statement
    if stated and _denies(text, stated[-1], form, choices):
        return Found(None, stated[-1].start, stated[-1].end, "cue", "an answer is only denied"), None
    if stated and form == "choice":
        # What stands before a statement that names no option is reasoning, and reasoning names many.
        after = stated[-1].body
        found = _choice.unstated(text[after:], choices)
        return found and _shifted(found, after), None
    return _unstated(text, form, choices, parts), None


_DENIAL = re.compile(r"[\W_]{0,6}not[\W_]", re.IGNORECASE)


def _denies(text: str, statement: Statement, form: AnswerForm, choices: tuple[str, ...]) -> bool:
    """Whether a statement says only what the answer is not. "Not true" is an answer to a yes-or-no
    question, and an option may itself begin with "not"."""
    if form == "boolean" or any(_text.normal(choice).startswith("not ") for choice in choices):
        return False
    return bool(_DENIAL.match(text, statement.body, statement.end))


def _answer_in(
    text: str, statement: Statement, form: AnswerForm, choices: tuple[str, ...], parts: int
) -> Found | None:
    start, end = statement.body, statement.end
    if form == "choice":
        return _choice.answer_in(text, start, end, choices)
    if form == "boolean":
        return _boolean.answer_in(text, start, end)
    if form == "text":
        return _text.answer_in(text, start, end)
    if parts > 1:
        return _several(list(_number.numbers(text, start, end)), parts)
    number = _number.answer_in(text, start, end)
    return Found(number.canonical, number.start, number.end) if number else None


def _several(found: list[_number.Number], parts: int) -> Found | None:
    """As many numbers as the gold has, in its order."""
    if len(found) != parts:
        return None
    answer = "; ".join(number.canonical for number in found)
    return Found(answer, found[0].start, found[-1].end)


def _unstated(text: str, form: AnswerForm, choices: tuple[str, ...], parts: int) -> Found | None:
    if form == "choice":
        return _choice.unstated(text, choices)
    if form == "boolean":
        return _boolean.unstated(text)
    if form == "text":
        return _text.unstated(text)
    if parts > 1:
        found = _several(list(_number.numbers(text, 0, len(text))), parts)
        return found and Found(found.answer, found.start, found.end, "whole_text")
    number = _number.last_number(text)
    return Found(number.canonical, number.start, number.end, "last_number") if number else None
