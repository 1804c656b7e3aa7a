"""Your own questions: any JSON Lines, JSON, CSV, TSV or Parquet file with a question and an answer a row.

    {"question": "2 + 3?", "answer": "5", "rationale": "..", "choices": ["4", "5"], "context": ".."}

The usual other names of these columns are known (`ALIASES`); `task.columns` names them outright. An answer
may be a label, an option's text, a number, a JSON true or false, or text. The catch: the answer form is
inferred from all golds of a file unless `task.form` says it: choices make it "choice", only yes/no or
true/false "boolean", only numbers "number", anything else "text". A digit as the answer of a choice counts
from 1 unless the choices carry their own labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.answers import canonical
from understudy.errors import DataError
from understudy.roles import Source, Task
from understudy.rows import SUFFIXES, Row, read, suffix
from understudy.tasks._original import gold, locate, options, present
from understudy.types import LABELS, AnswerForm, Question

__all__ = ["jsonl"]

ALIASES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "input", "prompt", "problem", "instruction", "stem"),
    "answer": ("answer", "label", "gold", "target", "output", "answerKey"),
    "choices": ("choices", "options"),
    "rationale": ("rationale", "explanation", "cot", "reasoning", "solution"),
    "context": ("context", "passage", "support"),
    "id": ("id", "qid"),
}
SPLITS = ("train", "dev", "test")


def _names(split: str) -> tuple[str, ...]:
    return tuple(split + ending for ending in SUFFIXES if ending != ".xml")


def _check_columns(columns: Mapping[str, str]) -> None:
    for name in columns:
        if name not in ALIASES:
            raise DataError(f"task.columns maps '{name}', but the columns are {', '.join(ALIASES)}")


def _value(row: Row, name: str, columns: Mapping[str, str]) -> Any:
    """The value of a column: under its mapped name if there is one, else under the first alias present."""
    if name in columns:
        if columns[name] not in row.fields:
            raise row.wrong(f"no field '{columns[name]}', which task.columns names as the {name}")
        return row.fields[columns[name]]
    return next((row.fields[alias] for alias in ALIASES[name] if row.fields.get(alias) is not None), None)


def _text(row: Row, name: str, columns: Mapping[str, str], required: bool = False) -> str:
    value = _value(row, name, columns)
    text = "" if value is None or isinstance(value, dict | list) else str(value).strip()
    if required and not text:
        known = columns.get(name) or " or ".join(ALIASES[name])
        raise row.wrong(f"no {name} (looked for the field {known}; task.columns can name another)")
    return text


def _choices(row: Row, columns: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    value = _value(row, "choices", columns)
    return options(row, value) if value else ((), ())


def _form(rows: Sequence[Row], answers: Sequence[str], choices: Sequence[tuple[str, ...]]) -> AnswerForm:
    if any(choices):
        for row, texts in zip(rows, choices, strict=True):
            if not texts:
                raise row.wrong("no choices, though other rows have them; set task.form if that is meant")
        return "choice"
    if all(answer.casefold() in ("yes", "no", "true", "false") for answer in answers):
        return "boolean"
    return "number" if all(canonical(answer, "number") for answer in answers) else "text"


def _question(
    row: Row, answer: str, labels: tuple[str, ...], texts: tuple[str, ...], form: AnswerForm, source: Source
) -> Question:
    if form == "choice":
        # The row's own label first, then an option's very text; what is left ("(B)", "2") the judge reads.
        found = next((names.index(answer) for names in (labels, texts) if names.count(answer) == 1), None)
        answer = answer if found is None else LABELS[found]
    columns = source.columns
    return Question(
        _text(row, "question", columns, required=True),
        gold(row, answer, form, texts),
        texts,
        context=_text(row, "context", columns),
        rationale=_text(row, "rationale", columns),
        source=_text(row, "id", columns) or f"line {row.line}",
    )


def _load(split: str, source: Source) -> list[Question]:
    if source.path is None:
        raise DataError("the task 'jsonl' needs task.path=: a file, a folder, or a split -> file mapping")
    _check_columns(source.columns)
    rows = read(locate("jsonl", split, source.path, _names(split)))
    answers = [_text(row, "answer", source.columns, required=True) for row in rows]
    choices = [_choices(row, source.columns) for row in rows]
    form = source.form or _form(rows, answers, [texts for _, texts in choices])
    return [
        _question(row, answer, labels, texts, form, source)
        for row, answer, (labels, texts) in zip(rows, answers, choices, strict=True)
    ]


def _files(source: Source) -> tuple[Path, ...]:
    """A folder may hold splits of any name, so every data file in it counts."""
    if isinstance(source.path, str) and Path(source.path).is_dir():
        return tuple(sorted(path for path in Path(source.path).iterdir() if suffix(path) in SUFFIXES))
    return present(source, {})


jsonl = Task(
    name="jsonl",
    title="Your own file",
    form="text",
    splits=SPLITS,
    load=_load,
    exemplars=(),
    licence="yours",
    homepage="",
    files=_files,
)
