"""The rationale that came with the question, as if a perfect teacher had written it.

For symbolic tasks this is the program's own reasoning, as Magister et al. (arXiv 2212.08410) trained
theirs; for others the rationales of the data set's annotators. The catch: all samples of a question
are the same text, and its accuracy is that of the data, not of a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from understudy.answers import write
from understudy.roles import Apprenticeship, Completer, Identity, Landed, Teacher
from understudy.types import Completion, Question, Request, Sampling

__all__ = ["Template"]

# No endpoint: the answer is read off the question, so the ledger neither stores nor looks it up.
_IDENTITY = Identity("", "template")


class Template(Teacher):
    """Answers with `Question.rationale` and the gold answer."""

    name: Literal["template"] = "template"

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
            yield [(position, _completion(request.question, sample)) for sample in request.samples]

    def close(self) -> None:
        """Nothing is open."""


def _completion(question: Question, sample: int) -> Completion:
    if not question.rationale:
        return Completion(question.id, sample, "", "error", error="no rationale in the data")
    final = write(question.answer, "choice" if question.choices else "text")
    return Completion(question.id, sample, f"{question.rationale} {final}", "stop")
