"""One side of a comparison: which questions were answered, and which of them right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from understudy import answers
from understudy.answers import canonical
from understudy.errors import DataError
from understudy.types import AnswerForm, Question


@dataclass(frozen=True, slots=True)
class Answered:
    """One question and what came of it."""

    question: Question
    """Its answer is the gold as the side's own file writes it."""
    text: str | None
    """What was written; None where an option was chosen by its likelihood."""
    right: bool
    cut_off: bool = False
    """Whether the text reached its length limit; the harness does not say, so False there."""

    @property
    def id(self) -> str:
        return self.question.id


@dataclass(frozen=True, slots=True)
class Side:
    """A set of answers; each question occurs once."""

    name: str
    verdict: str
    """Who says what is right, in words."""
    answers: tuple[Answered, ...]
    form: AnswerForm | None = None
    ours: bool = False
    """Whether its golds are those of our own tasks."""
    notes: tuple[str, ...] = ()


def distinct(name: str, found: Sequence[Answered]) -> tuple[tuple[Answered, ...], tuple[str, ...]]:
    """The first answer to each question, and a sentence about those that were left out."""
    first: dict[str, Answered] = {}
    for one in found:
        first.setdefault(one.id, one)
    lost = len(found) - len(first)
    if not first:
        raise DataError(f"{name} holds no answer to compare")
    notes = (f"{lost} answers of {name} are to a question that it had already: the first counts.",)
    return tuple(first.values()), notes if lost else ()


def rejudged(side: Side, golds: Mapping[str, str], form: AnswerForm, strict: bool = False) -> Side:
    """The side by the verdicts of our judge. `golds` are ours where they are known, by question; the file's
    own gold counts otherwise, and of a worked solution what it comes to.

    Raises DataError where there is no text, or a gold cannot be read.
    """
    judged = []
    for one in side.answers:
        if one.text is None:
            raise DataError(f"{side.name} has no text to judge: its options were chosen by likelihood")
        gold = golds.get(one.id) or _gold(side, one.question, form)
        verdict = answers.judge(one.text, gold, form, one.question.choices, cut_off=one.cut_off)
        judged.append(replace(one, right=(verdict.strict if strict else verdict.name) == "correct"))
    reading = "strict" if strict else "flexible"
    return replace(side, answers=tuple(judged), verdict=f"our judge, {reading} reading")


def _gold(side: Side, question: Question, form: AnswerForm) -> str:
    """A gold may be a whole solution, as GSM8K's is: "... #### 18"."""
    if canonical(question.answer, form, question.choices) is not None:
        return question.answer
    read = answers.read(question.answer, form, question.choices).answer
    if read is None:
        raise DataError(f"{side.name}: the gold '{question.answer[:60]}' cannot be read as a {form}")
    return read
