"""Data sets as their authors published them: find the files or the Hub copy, and turn rows into questions.

A task declares an `Original`: which file names serve which split, which Hub splits, and how a row becomes a
question. The catch: when one file holds the whole set (SVAMP, ASDiv, StrategyQA), `select` cuts the split
out of it; a split -> file mapping, and the Hub, are taken as already cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from understudy.answers import canonical
from understudy.errors import DataError
from understudy.roles import Hub, Source
from understudy.rows import NoSplitError, Row, read
from understudy.types import LABELS, AnswerForm, Question

Select = Callable[[str, Sequence[Row]], Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Original:
    """Where the rows of a published data set lie and what they mean."""

    name: str
    files: Mapping[str, tuple[str, ...]]
    """Split -> file names within the folder, the best first; each also with `.gz` after it."""
    parse: Callable[[Row], Question]
    hub: Hub
    hub_splits: Mapping[str, str]
    """Split -> the Hub's name of it."""
    select: Select | None = None
    hub_select: Select | None = None
    element: str = field(default="")
    """The XML element that is a row."""

    def load(self, split: str, source: Source) -> list[Question]:
        """The questions of one split in file order.

        Raises DataError: an unknown split, a missing or malformed file, a gold that cannot be read.
        """
        if split not in self.files:
            raise NoSplitError(
                f"the task '{self.name}' has no split '{split}'; there are {', '.join(self.files)}"
            )
        if source.columns or source.form:
            raise DataError(
                f"the task '{self.name}' knows its own columns and form; "
                "leave task.columns and task.form out, or use the task 'jsonl'"
            )
        if source.path is None:
            rows, select = hub_rows(self.name, self.hub, split, self.hub_splits, source), self.hub_select
        else:
            path = locate(self.name, split, source.path, self.files[split])
            rows = read(path, self.element)
            select = None if isinstance(source.path, Mapping) else self.select
        chosen = select(split, rows) if select else rows
        return [self.parse(row) for row in chosen]

    def paths(self, source: Source) -> tuple[Path, ...]:
        """The local files that any split would be read from; those that are missing are left out."""
        return present(source, self.files)


def present(source: Source, files: Mapping[str, tuple[str, ...]]) -> tuple[Path, ...]:
    """The local files of a source that exist, each once."""
    if source.path is None:
        return ()
    if isinstance(source.path, Mapping):
        return tuple(dict.fromkeys(Path(path) for path in source.path.values()))
    if not Path(source.path).is_dir():
        return (Path(source.path),)
    found = (_first(Path(source.path), names) for names in files.values())
    return tuple(dict.fromkeys(path for path in found if path))


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    candidates = (folder / (name + ending) for name in names for ending in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def locate(task: str, split: str, path: str | Mapping[str, str], names: tuple[str, ...]) -> Path:
    """The file of a split, given as one file, a folder, or a split -> file mapping."""
    if isinstance(path, Mapping):
        if split not in path:
            raise NoSplitError(f"task.path names no file for the split '{split}'; it has {', '.join(path)}")
        return Path(path[split])
    place = Path(path)
    if not place.is_dir():
        return place  # reading it says what is wrong, if anything is
    found = _first(place, names)
    if found is None:
        raise NoSplitError(
            f"{place}: no file for the split '{split}' of the task '{task}'; "
            f"looked for {', '.join(names)} (also with .gz)"
        )
    return found


def hub_rows(task: str, hub: Hub, split: str, splits: Mapping[str, str], source: Source) -> list[Row]:
    """The rows of one split on the Hugging Face Hub; `Row.line` is the row's number from 1."""
    if split not in splits:
        raise NoSplitError(
            f"the Hub copy of '{task}' ({hub.id}) has no split '{split}' "
            f"(it has {', '.join(splits)}); give task.path= the original files"
        )
    try:
        import datasets  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError as error:
        raise DataError(
            f"the task '{task}' is fetched from the Hub, which needs the package 'datasets': "
            "install understudy[hub], or give task.path= the original files"
        ) from error
    revision = source.revision or hub.revision
    try:
        rows = datasets.load_dataset(hub.id, hub.config, split=splits[split], revision=revision)
    except (
        Exception
    ) as error:  # whatever the Hub client raises, the user can only mend the connection or the id
        raise DataError(
            f"the task '{task}' cannot be fetched from the Hub ({hub.id} at {revision}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}); "
            "check the connection, or give task.path= the original files"
        ) from error
    return [Row(dict(fields), Path(hub.id), number) for number, fields in enumerate(rows, start=1)]


def text_of(row: Row, *names: str) -> str:
    """The first of the named fields that the row has, as non-empty text."""
    for name in names:
        value = row.fields.get(name)
        if value is None or isinstance(value, dict | list):
            continue
        text = str(value).strip()
        if text:
            return text
    raise row.wrong(f"no text in the field {' or '.join(repr(name) for name in names)}")


def optional(row: Row, name: str) -> str:
    """A field that may be absent."""
    value = row.fields.get(name)
    return value.strip() if isinstance(value, str) else ""


def gold(row: Row, answer: str, form: AnswerForm, choices: tuple[str, ...] = ()) -> str:
    """The canonical gold answer, or an error that names the file and line."""
    once = canonical(answer, form, choices)
    if once is None:
        raise row.wrong(f"the gold answer {answer!r} cannot be read as a {form}")
    # A text stripped of its article and full stop may turn out to be a number: "The 60th caller."
    return canonical(once, form, choices) or once


def tenths(split: str, rows: Sequence[Row]) -> Sequence[Row]:
    """80 % train, 10 % dev, 10 % test, in file order."""
    first, second = int(len(rows) * 0.8), int(len(rows) * 0.9)
    return {"train": rows[:first], "dev": rows[first:second], "test": rows[second:]}.get(split, rows)


def options(row: Row, value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and texts of a row's choices, in any layout that is in use.

    [{"label": "A", "text": ..}], {"label": [..], "text": [..]}, {"A": ..}, [text, text] or "(A) .. (B) ..".
    """
    if isinstance(value, str):
        pairs = _inline_options(value)
    elif (
        isinstance(value, dict)
        and isinstance(value.get("text"), list)
        and isinstance(value.get("label"), list)
    ):
        if len(value["text"]) != len(value["label"]):
            raise row.wrong(f"{len(value['text'])} choices but {len(value['label'])} labels")
        pairs = list(zip(value["label"], value["text"], strict=True))
    elif isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list) and all(isinstance(item, dict) and "text" in item for item in value):
        pairs = [(item.get("label", LABELS[i % 26]), item["text"]) for i, item in enumerate(value)]
    elif isinstance(value, list):
        pairs = [(LABELS[i % 26], item) for i, item in enumerate(value)]
    else:
        pairs = []
    labels = tuple(str(label).strip() for label, _ in pairs)
    if not 2 <= len(pairs) <= len(LABELS) or len(set(labels)) != len(labels):
        raise row.wrong("the choices must be 2 to 26 options with distinct labels")
    return labels, tuple(str(text).strip() for _, text in pairs)


def _inline_options(text: str) -> list[tuple[str, str]]:
    """The options of "(A) red (B) blue": each label is looked for after the one before it."""
    starts: list[int] = []
    at = 0
    for label in LABELS:
        at = text.find(f"({label})", at)
        if at < 0:
            break
        starts.append(at)
        at += 3
    ends = [*starts[1:], len(text)]
    return [(LABELS[i], text[a + 3 : b]) for i, (a, b) in enumerate(zip(starts, ends, strict=True))]


def multiple_choice(row: Row, rationale: str = "") -> Question:
    """A question of the AI2 family: AI2's own JSON Lines, the Hub's columns, or OpenBookQA's TSV.

    Labels become A, B, ... by position, whatever the data set called them (ARC has 1 to 4 too).
    """
    inner = row.fields.get("question")
    holder = Row(inner, row.path, row.line) if isinstance(inner, dict) else row
    stem = text_of(holder, "stem", "question_stem", "question", "Question Stem")
    labels, texts = options(row, holder.fields.get("choices", holder.fields.get("Choices")))
    key = text_of(row, "answerKey", "Answer Key")
    if key not in labels:
        raise row.wrong(f"the answer key '{key}' is none of the labels {', '.join(labels)}")
    answer = gold(row, LABELS[labels.index(key)], "choice", texts)
    source = str(row.fields.get("id", row.fields.get("ID", "")) or f"line {row.line}")
    return Question(stem, answer, texts, rationale=rationale, source=source)
