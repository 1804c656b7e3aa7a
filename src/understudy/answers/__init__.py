"""The one judge: write an answer into text, read it back, compare it with the gold.

In this field the reading of answers moves scores more than methods do, so there is one reader, it says by
which rule it read and why, and "no_answer" is never "wrong". A text is read in this order:

1. Only the model's own words count: after </think>, before an end-of-text token or the next turn of a chat,
   and before the text runs on into a new question ("Q:", "Question 2:", "### Instruction") if what stands
   before that holds an answer.
2. Statements, from the last to the first: "The answer is ...", "Answer: ...", "#### ...", "\\boxed{...}",
   "<answer>...", "--> ...", a last line "A: ...". A statement that holds no answer is passed over; one
   that names several ("A or B", "5 to 10") ends the reading with no answer. Where statements differ the
   last one counts, and the reason says what an earlier one said.
3. Without a statement: the last number; a bare or marked label or the only option mentioned; a yes or no
   that opens the text or ends it; a one-line text as a whole.
4. Of a text that was cut off only statements count, and none whose answer touches the end ("The answer
   is 1" may go on "8"). Of a text that ends in a loop only statements count.

Beside this flexible reading, which decides the verdict, stands a strict one: the last sentence "The answer
is ..." in exactly the form that `write` gives it. A free-text gold that is itself wholly a number, or yes or
no, is read and compared as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from understudy.answers import _choice, _list, _number, _reasons
from understudy.answers._forms import FORMS
from understudy.answers._found import Asked, Found
from understudy.answers._loops import loop
from understudy.answers._read import Look, look
from understudy.answers._statements import Statement, statement_start
from understudy.answers._strict import CUE
from understudy.errors import DataError
from understudy.types import AnswerForm, Verdict, VerdictName

__all__ = ["CUE", "Reading", "canonical", "judge", "loop", "read", "reasoning", "strict_read", "write"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from a text: the canonical answer, the characters it came from, the rule, and why this
    is the reading, in plain words."""

    answer: str | None
    span: tuple[int, int] | None = None
    rule: str = ""
    reason: str = ""


def write(answer: str, form: AnswerForm) -> str:
    """The sentence that states `answer`: what students learn to end with and `read` reads back."""
    if form == "choice":
        return f"{CUE} ({answer})."
    if form == "list":
        answer = _list.written(answer)
    return f"{CUE} {answer}{'' if answer.endswith('.') else '.'}"


def canonical(answer: str, form: AnswerForm, choices: Sequence[str] = ()) -> str | None:
    """A gold as data files write it in the one form that is compared; None if it cannot be read."""
    return FORMS[_form_of(answer, form)].canonical(answer, choices)


def _form_of(gold: str, form: AnswerForm) -> AnswerForm:
    """The form in which a gold is compared: a text that is wholly a number, or yes or no, is one."""
    if form != "text":
        return form
    if _number.gold_numbers(gold) or ("\\" in gold and FORMS["number"].canonical(gold, ())):
        return "number"
    return "boolean" if gold.strip().casefold() in ("yes", "no", "true", "false") else "text"


# ---------------------------------------------------------------- reading


def read(text: str, form: AnswerForm, choices: Sequence[str] = (), *, cut_off: bool = False) -> Reading:
    """The answer that `text` gives; never raises. `cut_off` says that the text reached its length limit."""
    seen = look(text, form, Asked(tuple(choices)), cut_off)
    return Reading(seen.found.answer, _span(seen, seen.found), seen.found.rule, _how(seen))


def strict_read(
    text: str, form: AnswerForm, choices: Sequence[str] = (), *, cut_off: bool = False
) -> Reading:
    """The answer of the last sentence "The answer is ..." that is written as `write` writes it."""
    seen = look(text, form, Asked(tuple(choices)), cut_off)
    if seen.strict is None:
        return Reading(None, None, "", _reasons.NOT_WRITTEN)
    return Reading(seen.strict.answer, _span(seen, seen.strict), "strict", _reasons.WRITTEN)


def _span(seen: Look, found: Found) -> tuple[int, int] | None:
    """Where in the whole text; None if there is nothing to point at."""
    return (seen.start + found.start, seen.start + found.end) if found.end else None


def _how(seen: Look) -> str:
    found = seen.found
    if found.answer is None:
        return found.reason
    how = _reasons.in_words(found.rule)
    return how if seen.earlier is None else f"{how}; an earlier statement says {_short(seen.earlier)}"


def _short(answer: str) -> str:
    return answer if len(answer) <= 60 else f"{answer[:60]}..."


# ---------------------------------------------------------------- judging


class _Wanted(NamedTuple):
    """A gold, made ready to be compared with."""

    answer: str
    form: AnswerForm
    asked: Asked


@lru_cache(16384)
def _wanted(gold: str, form: AnswerForm, choices: tuple[str, ...]) -> _Wanted:
    own_form = _form_of(gold, form)
    answer = FORMS[own_form].canonical(gold, choices)
    if answer is None:
        raise DataError(f"the gold answer '{gold[:80]}' cannot be read as a {form}; mend it or name its form")
    if form == "choice" and not choices and _choice.counted(gold):
        choices = _choice.COUNTED
    maths = own_form == "number" and not _number.gold_numbers(answer)
    parts = answer.count(";") + 1 if own_form in ("number", "list") and not maths else 1
    return _Wanted(answer, own_form, Asked(choices, parts, maths))


def judge(
    text: str, gold: str, form: AnswerForm, choices: Sequence[str] = (), *, cut_off: bool = False
) -> Verdict:
    """The verdict on `text`. Raises DataError if the gold cannot be read, and on nothing else."""
    wanted = _wanted(gold, form, tuple(choices))
    seen = look(text, wanted.form, wanted.asked, cut_off)
    found, strict = seen.found, seen.strict
    name = _name(found, wanted)
    reason = _how(seen)
    if name == "wrong":
        reason = f"reads {_short(found.answer or '')}, the gold is {_short(wanted.answer)}; {reason}"
    span = _span(seen, found)
    if strict is None:
        return Verdict(name, found.answer, span, found.rule, reason)
    strict_name = name if strict.answer == found.answer else _name(strict, wanted)
    return Verdict(name, found.answer, span, found.rule, reason, strict_name, strict.answer)


def _name(found: Found, wanted: _Wanted) -> VerdictName:
    if found.answer is None:
        return "no_answer"
    right = found.answer == wanted.answer or FORMS[wanted.form].equal(found.answer, wanted.answer)
    return "correct" if right else "wrong"


# ---------------------------------------------------------------- reasoning


def reasoning(text: str, form: AnswerForm, choices: Sequence[str] = ()) -> str:
    """`text` without the final statement of its answer and without a run-on into another question;
    unchanged if the answer was read without a statement."""
    asked = Asked(tuple(choices))
    seen = look(text, form, asked, False)
    again = loop(text[: seen.end]) if seen.statement else None
    if again:
        text = text[: again[0]].rstrip()
        seen = look(text, form, asked, False)
    for _ in range(MOST_STATEMENTS):
        if seen.statement is None:
            break
        own = text[seen.start : seen.end]
        start = statement_start(own, seen.statement)
        text = _joined(text[: seen.start] + own[:start], own[_statement_end(seen) :])
        seen = look(text, form, asked, False)
        if seen.statement is not None and not _repeats(text[seen.start :], seen.statement):
            break
    return text


MOST_STATEMENTS = 8
"""Statements at the end of a text, "The answer is 5. #### 5", that are taken off."""


def _statement_end(seen: Look) -> int:
    """A list may reach beyond the sentence that its statement stands in."""
    return max(seen.statement.end if seen.statement else 0, seen.found.end)


def _repeats(text: str, statement: Statement) -> bool:
    """Whether a text without its final statement still ends in one, and not in a sum: "The answer is 5.
    #### 5" states its answer twice."""
    body = text[statement.body : statement.end]
    return len(body) <= 60 and "=" not in body and not text[statement.end :].strip(_CLOSING_MARKS)


_CLOSING_MARKS = ".!?*_`)}]$\\ \t\r\n"


def _joined(before: str, after: str) -> str:
    before = before.rstrip().rstrip(",;:-–—*_`#$\\[( \t\r\n")
    return f"{before} {after.lstrip(_CLOSING_MARKS)}".strip()
