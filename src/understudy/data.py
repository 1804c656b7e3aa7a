"""Prepare the splits of a task: load, check, cut, limit, and say in plain sentences what was done.

The catch is the order: duplicates first, then overlap with the evaluation splits, then dev is cut from the
end of train, and only then limits apply, from the front. So train and dev never meet, and a smaller limit
gives a prefix of what a larger one gives. Duplicates are told by `Question.id`; overlap by `data.overlap_by`.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from understudy.answers import canonical
from understudy.contamination import LEVELS, Level, Match, overlaps
from understudy.errors import DataError, StoreError
from understudy.roles import Source, Spec, Task
from understudy.rows import NoSplitError, read, read_text
from understudy.types import AnswerForm, Question


class DataSpec(Spec):
    """Which questions take part. Counts are upper limits, taken from the front of the split."""

    train: int | None = Field(None, gt=0)
    dev: int | None = Field(None, gt=0)
    """Size of dev; a task without one cuts it from the end of train (10 % by default)."""
    test: int | None = Field(None, gt=0)
    """Limits every evaluation split. For a quick look only: the report says so."""
    duplicates: Literal["error", "drop"] = "error"
    overlap: Literal["error", "drop"] = "error"
    """Questions of an evaluation split that also occur in train: "drop" removes them from train."""
    overlap_by: Level = "normalised"
    """Which questions count as the same there: "exact" compares options too, "normalised" the text alone, but
    for case, punctuation and spacing; "13-gram" a run of 13 words; "near" most of the words."""


Splits = dict[str, tuple[Question, ...]]
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The splits as they are used, and one plain sentence for everything that was done to them."""

    form: AnswerForm
    """How answers are read: the task's form, or what the golds of the user's own file turned out to be."""
    splits: Mapping[str, tuple[Question, ...]]
    notes: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """One JSON Lines file per split, and `prepared.json` beside them. Raises StoreError."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for split, questions in self.splits.items():
                lines = "".join(json.dumps(dataclasses.asdict(question)) + "\n" for question in questions)
                (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
            about = {"form": self.form, "splits": list(self.splits), "notes": list(self.notes)}
            (folder / "prepared.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"{folder}: the questions cannot be saved ({error.strerror or error})"
            ) from error


def load_prepared(folder: Path) -> Prepared:
    """What `Prepared.save` wrote. Raises DataError when a file is missing or damaged."""
    path = folder / "prepared.json"
    try:
        about: dict[str, Any] = json.loads(read_text(path))
        form, names, notes = about["form"], about["splits"], about["notes"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error!r}); delete the folder and prepare again") from error
    return Prepared(form, {name: load_questions(folder / f"{name}.jsonl") for name in names}, tuple(notes))


def load_questions(path: Path) -> tuple[Question, ...]:
    """The questions of one saved split. Raises DataError with file and line when one is damaged."""
    questions = []
    for row in read(path):
        fields = dict(row.fields)
        written = fields.pop("id", None)
        try:
            question = Question(**{**fields, "choices": tuple(fields.get("choices", ()))})
        except (TypeError, ValueError) as error:
            raise row.wrong(f"not a saved question ({error})") from error
        if written != question.id:
            raise row.wrong("the id is not that of the text and choices; the file was changed by hand")
        questions.append(question)
    return tuple(questions)


def prepare(
    task: Task,
    source: Source,
    spec: DataSpec,
    evaluation_splits: Sequence[str],
    extra_splits: Sequence[str] = (),
) -> Prepared:
    """Load and check train, dev, the evaluation splits, and the extra ones (such as "teacher").

    Raises DataError: a split or file that is missing, a malformed row, a gold that cannot be read, an empty
    split, duplicates or overlap (unless the spec says to drop them).
    """
    if "train" in (*evaluation_splits, *extra_splits):
        raise DataError("'train' cannot be an evaluation split or an extra one; name another split")
    notes: list[str] = []
    wanted = dict.fromkeys(("train", *extra_splits, "dev", *evaluation_splits))
    splits: Splits = {}
    for name in wanted:
        questions = _load(task, source, name, optional=name == "dev")
        if questions is not None:
            _note_count(task, source, name, len(questions), notes.append)
            splits[name] = _distinct(name, questions, spec.duplicates, notes.append)
    form = _form(task, source, splits)
    if form != (source.form or task.form):
        notes.append(f"the answers are read as {form}, by the looks of them; set task.form to say otherwise.")
    _check_golds(task, form, splits)
    others = [split for split in splits if split not in evaluation_splits]
    for name in [split for split in splits if split in evaluation_splits]:
        _keep_apart(splits, name, others, spec, notes.append)
    if "dev" in splits and "dev" not in evaluation_splits:
        _keep_apart(splits, "dev", ["train"], spec, notes.append)
    if "dev" not in splits:
        _cut_dev(splits, spec, notes.append)
    _limit(splits, spec, evaluation_splits, notes.append)
    return Prepared(form, {name: splits[name] for name in wanted}, tuple(notes))


def _load(task: Task, source: Source, split: str, optional: bool) -> list[Question] | None:
    """The questions of a split; None for an optional one that is not there."""
    if optional and split not in task.splits:
        return None
    try:
        questions = task.load(split, source)
    except NoSplitError:
        if optional:
            return None
        raise
    if not questions:
        raise DataError(f"the split '{split}' of the task '{task.name}' is empty; check task.path")
    return questions


def _note_count(task: Task, source: Source, split: str, found: int, note: Note) -> None:
    official = task.counts.get(split)
    if official is not None and found != official:
        origin = "on the Hub" if source.path is None else "in the file"
        note(f"{split} has {found} questions {origin}; the official count of {task.title} is {official}.")


def _distinct(split: str, questions: Sequence[Question], rule: str, note: Note) -> tuple[Question, ...]:
    """The first of each question; what repeats it is an error unless the rule says "drop"."""
    first: dict[str, Question] = {}
    repeated: dict[str, Question] = {}
    conflicting: set[str] = set()
    for question in questions:
        kept = first.setdefault(question.id, question)
        if kept is not question:
            repeated[question.id] = kept
            if kept.answer != question.answer:
                conflicting.add(question.id)
    if not repeated:
        return tuple(questions)
    what = f"{_many(len(repeated), '')} more than once in {split}"
    if conflicting:
        what += f", {len(conflicting)} of them with different gold answers"
    if rule == "error":
        shown = next(kept for key, kept in repeated.items() if not conflicting or key in conflicting)
        raise DataError(
            f"{what} (first: {_shown(shown)}); set data.duplicates=drop to keep the first of each"
        )
    note(f"{what}; the first of each was kept and {len(questions) - len(first)} dropped.")
    return tuple(first.values())


def _keep_apart(splits: Splits, kept: str, others: Sequence[str], spec: DataSpec, note: Note) -> None:
    """No question of the split `kept` stays in the others: an error, or removed from the others."""
    for other in others:
        found = overlaps(splits[kept], splits[other], spec.overlap_by)
        if not found:
            continue
        doomed = overlaps(splits[other], splits[kept], spec.overlap_by)
        alike = any(match.level != "exact" for match in found.values())
        stricter = ', or a stricter data.overlap_by ("exact" compares options too)' if alike else ""
        if len(doomed) == len(splits[other]):
            raise DataError(
                f"every question of {other} is also in {kept}; give each split its own file "
                f"(task.path= a folder or a split -> file mapping){stricter}"
            )
        what = f"{_many(len(found), f' of {kept}')} also in {other}"
        if spec.overlap == "error":
            raise DataError(
                f"{what} (first: {_first(splits[kept], found)}); "
                f"set data.overlap=drop to remove them from {other}{stricter}"
            )
        splits[other] = tuple(question for question in splits[other] if question.id not in doomed)
        note(f"{what} ({_levels(found)}); {len(doomed)} removed from {other}.")


def _first(questions: Sequence[Question], found: Mapping[str, Match]) -> str:
    """The first question that was found, and its other where that is not the very same."""
    question = next(question for question in questions if question.id in found)
    match = found[question.id]
    if match.level == "exact":
        return _shown(question)
    return f"{_shown(question)}, the same at level {match.level} as {_shown(match.question)}"


def _levels(found: Mapping[str, Match]) -> str:
    """ "2 exact, 1 normalised": each question at the strictest level."""
    tally = Counter(match.level for match in found.values())
    return ", ".join(f"{tally[level]} {level}" for level in LEVELS if tally[level])


def _cut_dev(splits: Splits, spec: DataSpec, note: Note) -> None:
    """Dev from the end of train. What it shares with the rest is removed there, whatever `overlap` says: it
    is this cut that put the two apart."""
    train = splits["train"]
    size = spec.dev or max(1, len(train) // 10)
    if size >= len(train):
        raise DataError(
            f"dev is cut from train, whose {len(train)} questions are too few for a dev of {size}; "
            "lower data.dev, or name a dev file"
        )
    splits["train"], splits["dev"] = train[:-size], train[-size:]
    note(f"dev is the last {size} of the {len(train)} questions of train.")
    _keep_apart(splits, "dev", ["train"], spec.model_copy(update={"overlap": "drop"}), note)


def _limit(splits: Splits, spec: DataSpec, evaluation_splits: Sequence[str], note: Note) -> None:
    limits = {**dict.fromkeys(evaluation_splits, spec.test), "train": spec.train, "dev": spec.dev}
    for split, limit in limits.items():
        have = len(splits[split])
        if limit is not None and limit < have:
            splits[split] = splits[split][:limit]
            note(f"{split} is limited to its first {limit} of {have} questions.")


def _form(task: Task, source: Source, splits: Splits) -> AnswerForm:
    """The form that was asked for, else the task's; choices make a text task a choice task."""
    if source.form or task.form != "text":
        return source.form or task.form
    forms = {name: inferred_form(questions) for name, questions in splits.items()}
    if len(set(forms.values())) > 1:
        found = ", ".join(f"{name}: {form}" for name, form in forms.items())
        raise DataError(f"the splits differ in the form of their answers ({found}); set task.form")
    return forms["train"]


def inferred_form(questions: Sequence[Question]) -> AnswerForm:
    """What the golds look like: choices, yes or no, numbers, else text."""
    if any(question.choices for question in questions):
        return "choice"
    if all(question.answer in ("yes", "no") for question in questions):
        return "boolean"
    return "number" if all(canonical(question.answer, "number") for question in questions) else "text"


def _check_golds(task: Task, form: AnswerForm, splits: Splits) -> None:
    """Tasks check their golds with file and line; this holds tasks from outside to the same."""
    for split, questions in splits.items():
        for question in questions:
            if canonical(question.answer, form, question.choices) is None:
                raise DataError(
                    f"{split} of '{task.name}', {question.source or question.id}: "
                    f"the gold answer {question.answer!r} cannot be read as a {form}"
                )


def _many(count: int, rest: str) -> str:
    """ "1 question of test occurs" or "2 questions of test occur"."""
    return f"1 question{rest} occurs" if count == 1 else f"{count} questions{rest} occur"


def _shown(question: Question) -> str:
    text = " ".join(question.text.split())
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return f'{question.source}: "{text}"' if question.source else f'"{text}"'
