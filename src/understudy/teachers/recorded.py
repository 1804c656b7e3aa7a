"""Rationales that somebody has already collected, read from a file and joined by question.

A row holds a question and what a teacher wrote about it, under any of the usual names:
    {"instruction": "Natalia sold clips to 48 friends ...", "output": "... The answer is 72"}
Several rows of one question are its samples, in the order of the file. The catch: data sets lay
options out in their own ways ("Q: ... Answer choices: A: ..., B: ..."); the ways in print are tried,
and a question that still finds no row is answered by an error record, which curation counts.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from understudy.answers import CUE
from understudy.errors import DataError
from understudy.roles import Apprenticeship, Completer, Identity, Landed, Teacher
from understudy.rows import Row, read
from understudy.streams import windows
from understudy.types import LABELS, Completion, Question, Request, Sampling

__all__ = ["Recorded"]

_ALIASES = {
    "question": ("question", "instruction", "prompt", "input", "problem", "query"),
    "rationale": ("rationale", "output", "completion", "response", "text", "cot", "solution", "reasoning"),
    "choices": ("choices", "options"),
    "context": ("context", "passage"),
    "id": ("question_id",),
}
_PREFIXES = ("q:", "question:")
_TOGETHER = 256
"""Requests whose answers the ledger commits together."""


class Recorded(Teacher):
    """Answers from a JSON, JSON Lines, CSV, TSV or Parquet file."""

    name: Literal["recorded"] = "recorded"
    path: Path
    model: str = "recorded"
    """Who wrote the rationales, for the report."""
    columns: dict[Literal["question", "rationale", "choices", "context", "id", "answer"], str] = Field(
        default_factory=dict
    )
    """Which column holds what, where the usual names do not do. `answer` has no usual name: if the
    teacher's answer stands in a column of its own, name it, and it is written after the rationale."""

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def identity(self) -> Identity:
        """The revision is the file's content, so a changed file never answers from the ledger.

        Raises DataError if there is no such file.
        """
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(
                f"the recorded rationales {self.path} cannot be read ({error.strerror}); correct teacher.path"
            ) from error
        columns = ",".join(f"{key}={value}" for key, value in sorted(self.columns.items()))
        return Identity("recorded", self.model, f"{digest[:16]}{columns}")

    def build(self, model: Path | None) -> Completer:
        """Reads the whole file. Raises DataError naming the file and the line of a malformed row."""
        del model
        identity = self.identity()
        index: dict[str, list[str]] = defaultdict(list)
        for row in read(self.path):
            index[_row_key(row, self.columns)].append(_row_text(row, self.columns))
        if not index:
            raise DataError(f"the recorded rationales {self.path} hold no rows; correct teacher.path")
        return _Shelf(identity, dict(index))


class _Shelf:
    def __init__(self, identity: Identity, index: Mapping[str, Sequence[str]]) -> None:
        self._identity = identity
        self._index = index

    @property
    def identity(self) -> Identity:
        return self._identity

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        del sampling
        for window in windows(enumerate(requests), _TOGETHER):
            yield [landed for position, request in window for landed in self._answers(position, request)]

    def close(self) -> None:
        """Nothing is open."""

    def _answers(self, position: int, request: Request) -> list[Landed]:
        texts = self._texts(request.question)
        return [(position, _completion(request.question.id, sample, texts)) for sample in request.samples]

    def _texts(self, question: Question) -> Sequence[str]:
        return next((self._index[key] for key in _question_keys(question) if key in self._index), ())


def _completion(question_id: str, sample: int, texts: Sequence[str]) -> Completion:
    if sample < len(texts):
        return Completion(question_id, sample, texts[sample], "stop")
    detail = f"not recorded: the question has {len(texts)} samples" if texts else "not recorded"
    return Completion(question_id, sample, "", "error", error=detail)


def _question_keys(question: Question) -> Iterator[str]:
    """The keys a row about this question may have been filed under, the strictest first."""
    yield question.id
    if not question.choices:
        yield _plain(question.text)
        return
    yield _with_choices(question.text, question.choices)
    for mark, separator in (("{}: {}", ", "), ("({}) {}", " "), ("{}. {}", " "), ("{}) {}", " ")):
        options = separator.join(mark.format(LABELS[i], text) for i, text in enumerate(question.choices))
        for heading in ("Answer choices:", "Options:", "Choices:", ""):
            yield _plain(f"{question.text} {heading} {options}")


def _row_key(row: Row, columns: Mapping[Any, str]) -> str:
    given = _field(row, "id", columns, required=False)
    if given:
        return str(given)
    text = _string(row, "question", columns)
    context = _field(row, "context", columns, required=False)
    choices = _choices(row, columns)
    if isinstance(context, str) and context:
        return Question(text, "", choices, context).id
    return _with_choices(text, choices) if choices else _plain(text)


def _row_text(row: Row, columns: Mapping[Any, str]) -> str:
    rationale = _string(row, "rationale", columns)
    if "answer" not in columns:
        return rationale
    return f"{rationale} {CUE} {_field(row, 'answer', columns, required=True)}."


def _string(row: Row, name: str, columns: Mapping[Any, str]) -> str:
    value = _field(row, name, columns, required=True)
    if not isinstance(value, str):
        raise row.wrong(f"the {name} is not text but {type(value).__name__}")
    return value


def _field(row: Row, name: str, columns: Mapping[Any, str], *, required: bool) -> Any:
    tried = (columns[name],) if name in columns else _ALIASES[name]
    found = next((key for key in tried if key in row.fields), None)
    if found is not None:
        return row.fields[found]
    if required or name in columns:
        raise row.wrong(f"no {name}: looked for {', '.join(tried)}; name the column in teacher.columns")
    return None


def _choices(row: Row, columns: Mapping[Any, str]) -> tuple[str, ...]:
    """Options as a list of texts, a list of {label, text}, {label: [...], text: [...]}, or label -> text."""
    value = _field(row, "choices", columns, required=False)
    if isinstance(value, Mapping):
        value = value["text"] if isinstance(value.get("text"), list) else list(value.values())
    if not value:
        return ()
    if not isinstance(value, list):
        raise row.wrong("the choices are not a list")
    return tuple(
        str(choice.get("text", "")) if isinstance(choice, Mapping) else str(choice) for choice in value
    )


def _with_choices(text: str, choices: Sequence[str]) -> str:
    return "\x1f".join(_plain(part) for part in (text, *choices))


def _plain(text: str) -> str:
    """Case, spacing and a leading "Q:" do not tell questions apart; everything else does."""
    words = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    for prefix in _PREFIXES:
        words = words.removeprefix(prefix).lstrip()
    return words
