"""lexical: a reader that knows words and no language, for a floor under every better one.

It reads a passage: the reasoning in the prompt of an independent reader (`audit.reader`), else the question
itself. Of options it takes the one whose content words occur most often in the passage, counted per word of
the option; of numbers the one that the judge reads in it, mostly the last; of yes and no the last word that
affirms or denies; else the last word. It is offline, free, and the same on every machine. The catch: a
rationale that it cannot read may still be sound, so what it misses proves nothing; what it finds, the words
alone give away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from understudy import answers
from understudy.audit.reader import PASSAGE
from understudy.roles import Apprenticeship, Completer, Identity, Landed, Teacher
from understudy.types import LABELS, AnswerForm, Completion, Question, Request, Sampling

__all__ = ["Lexical"]

# No endpoint: it costs nothing, so the ledger neither stores nor looks it up.
_IDENTITY = Identity("", "lexical")

UNDECIDED = "I do not know."

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_EMPTY = frozenset(
    _WORD.findall(
        "a an the of to in on at by for from with and or but if as is are was were be been being it its this "
        "that these those they them their he she his her you your we our i not no so than then there which "
        "who what when where how do does did has have had will would can could may might more most very"
    )
)
_AFFIRMS = frozenset(["yes", "true"])
_DENIES = frozenset(["no", "not", "false", "cannot", "never"])


class Lexical(Teacher):
    """Answers by counting words. Asked as a plain teacher, it reads the question alone."""

    name: Literal["lexical"] = "lexical"

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        return _IDENTITY

    def build(self, model: Path | None) -> Completer:
        del model
        return _Reader()


class _Reader:
    @property
    def identity(self) -> Identity:
        return _IDENTITY

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        del sampling
        for position, request in enumerate(requests):
            text = _reply(request.question, _passage(request))
            yield [
                (position, Completion(request.question.id, sample, text, "stop"))
                for sample in request.samples
            ]

    def close(self) -> None:
        """Nothing is open."""


def _passage(request: Request) -> str:
    _, mark, passage = request.messages[-1].content.partition(f"\n{PASSAGE}")
    return passage if mark else f"{request.question.text} {request.question.context}"


def _reply(question: Question, passage: str) -> str:
    form = _form(question)
    if form == "choice":
        answer = _likeliest(question.choices, passage)
    elif form == "number":
        answer = answers.read(passage, "number").answer
    elif form == "boolean":
        answer = _polarity(passage)
    else:
        answer = next((word for word in reversed(_words(passage))), None)
    return UNDECIDED if answer is None else answers.write(answer, form)


def _form(question: Question) -> AnswerForm:
    """Of the gold answer only its form is looked at, as a reader sees it in how the question is put."""
    if question.choices:
        return "choice"
    if question.answer.strip().casefold() in ("yes", "no", "true", "false"):
        return "boolean"
    return "text" if answers.canonical(question.answer, "number") is None else "number"


def _likeliest(choices: Sequence[str], passage: str) -> str | None:
    """The label of the option that is spoken of most; None if two are spoken of alike, or none at all."""
    counts = Counter(_words(passage))
    scores = [_occurrence(choice, counts) for choice in choices]
    best = max(scores)
    return LABELS[scores.index(best)] if best > 0 and scores.count(best) == 1 else None


def _occurrence(choice: str, counts: Counter[str]) -> float:
    words = set(_words(choice))
    telling = words - _EMPTY or words
    return sum(counts[word] for word in telling) / max(len(telling), 1)


def _polarity(passage: str) -> str | None:
    for word in reversed(_words(passage)):
        if word in _AFFIRMS:
            return "yes"
        if word in _DENIES or word.endswith(("n't", "n’t")):
            return "no"
    return None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
