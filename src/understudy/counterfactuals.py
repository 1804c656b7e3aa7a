"""Questions with a wrong answer in the place of the right one, to ask a teacher to argue for it.

SCOTT (Wang et al., arXiv 2305.01879) trains a student on such rationales so that its answer follows from its
reasoning. Which wrong answer a question gets depends on the question alone: another option, the other of
yes and no, or the answer of another question of the set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from understudy.answers import judge, write
from understudy.types import LABELS, AnswerForm, Question


def mistaken(questions: Sequence[Question], form: AnswerForm) -> list[Question]:
    """The questions in their order, each with a wrong gold answer. One for which the set holds no other
    answer is left out. The id of a question does not depend on its answer."""
    golds = list(dict.fromkeys(question.answer for question in questions))
    return [wrong for question in questions for wrong in _first(_candidates(question, golds, form), form)]


def reaches(answer: str, question: Question, form: AnswerForm) -> bool:
    """Whether an answer is the one that the question has for gold."""
    return judge(write(answer, form), question.answer, form, question.choices).name == "correct"


def _candidates(question: Question, golds: Sequence[str], form: AnswerForm) -> Iterator[tuple[Question, str]]:
    """Answers to try, from a place in their list that a hash of the question gives."""
    if question.choices:
        offered: Sequence[str] = LABELS[: len(question.choices)]
    elif form == "boolean":
        offered = ("yes", "no")
    else:
        offered = golds
    start = int(question.id, 16) % len(offered)
    yield from ((question, answer) for answer in (*offered[start:], *offered[:start]))


def _first(candidates: Iterator[tuple[Question, str]], form: AnswerForm) -> Iterator[Question]:
    for question, answer in candidates:
        if not reaches(answer, question, form):
            yield replace(question, answer=answer)
            return
