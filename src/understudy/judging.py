"""The engine of `understudy judge`: a file of model outputs with their golds -> one verdict a row.

A row is {"output", "gold"[, "choices"][, "finish_reason"]}, in any format that `rows` reads (JSON Lines, a
JSON array, ..., gzipped or not):

    {"output": "9 x 2 = 18. The answer is 18.", "gold": 18}
    {"output": "It is (B).", "gold": "2", "choices": {"label": ["1", "2"], "text": ["ice", "sand"]}}
    {"output": "Half of 36 is 1", "gold": 18, "finish_reason": "length"}

The catch is that data sets write choices in four ways and golds as labels or texts: a label is looked up
among the row's own labels first, so that "1".."4" and "A".."D" both come out as letters by position. A bad
output is data (`no_answer`); a row that cannot be judged is a DataError that names the file and the line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import answers, rows
from understudy.errors import DataError
from understudy.types import LABELS, AnswerForm, Verdict, VerdictName


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """The verdict on one row, with the line of the file on which the row begins."""

    line: int
    verdict: Verdict


def judge_file(path: Path, form: AnswerForm) -> list[JudgedRow]:
    """One verdict for each row of `path`, in its order; blank lines are skipped.

    Raises DataError, naming file and line, if the file cannot be read or a row cannot be judged.
    """
    return [JudgedRow(row.line, _verdict(row, form)) for row in rows.read(path, otherwise=".jsonl")]


def summary(judged: Sequence[JudgedRow]) -> dict[str, int]:
    """How many rows are correct, wrong, without an answer, and in all."""
    return _counts(row.verdict.name for row in judged)


def strict_summary(judged: Sequence[JudgedRow]) -> dict[str, int]:
    """The same counts by the strict reading."""
    return _counts(row.verdict.strict for row in judged)


def disagreements(judged: Sequence[JudgedRow]) -> list[tuple[int, Verdict]]:
    """The lines of the rows on which the two readings come to different verdicts, each with both."""
    return [(row.line, row.verdict) for row in judged if row.verdict.strict != row.verdict.name]


def as_json(judged: Sequence[JudgedRow]) -> dict[str, Any]:
    """What `understudy judge --json` prints: {"rows": [...in input order], "counts", "strict"}."""
    return {
        "rows": [_row_as_json(row.verdict) for row in judged],
        "counts": summary(judged),
        "strict": {"counts": strict_summary(judged), "disagreements": len(disagreements(judged))},
    }


def _row_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "extracted": verdict.extracted,
        "verdict": verdict.name,
        "span": list(verdict.span) if verdict.span else None,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "strict": verdict.strict,
        "strict_extracted": verdict.strict_extracted,
    }


def _counts(names: Iterable[VerdictName]) -> dict[str, int]:
    found = Counter(names)
    counts = {name: found[name] for name in ("correct", "wrong", "no_answer")}
    return {**counts, "total": found.total()}


@dataclass(frozen=True, slots=True)
class Item:
    """What one row says, in the forms that the judge takes."""

    output: str
    gold: str
    choices: tuple[str, ...]
    cut_off: bool


def read_item(row: rows.Row, form: AnswerForm | None) -> Item:
    """Raises DataError, naming file and line, where the row lacks something or holds the wrong thing."""
    for key in ("output", "gold"):
        if key not in row.fields:
            raise row.wrong(f"there is no '{key}'; every row needs 'output' and 'gold'")
    output = row.fields["output"]
    if output is not None and not isinstance(output, str):
        raise row.wrong(f"'output' must be a text or null, not {type(output).__name__}")
    labels, texts = _choices(row)
    return Item(output or "", _gold(row, form, labels), texts, row.fields.get("finish_reason") == "length")


def _verdict(row: rows.Row, form: AnswerForm) -> Verdict:
    item = read_item(row, form)
    try:
        return answers.judge(item.output, item.gold, form, item.choices, cut_off=item.cut_off)
    except DataError as error:
        raise row.wrong(str(error)) from None


def _gold(row: rows.Row, form: AnswerForm | None, labels: Sequence[str]) -> str:
    """A gold as text; a label of the row's own becomes its letter by position."""
    value = row.fields["gold"]
    if isinstance(value, list) and form in ("list", None):
        # A semicolon parts the items of a list, so within an item the judge itself reads it as a comma.
        return "; ".join(_scalar(row, item).replace(";", ",") for item in value)
    gold = _scalar(row, value)
    named = gold.strip().strip("()")
    return LABELS[labels.index(named)] if named in labels else gold


def _scalar(row: rows.Row, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str | int | float):
        raise row.wrong(f"'gold' must be a text, a number or a boolean, not {type(value).__name__}")
    return str(value)


def _choices(row: rows.Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels and texts of a row's options; no labels where the row has only texts."""
    choices = row.fields.get("choices")
    pairs: list[tuple[object, object]]
    if choices is None:
        return (), ()
    if isinstance(choices, dict) and isinstance(choices.get("text"), list):
        texts, labels = choices["text"], choices.get("label")
        if not isinstance(labels, list) or len(labels) != len(texts):
            raise row.wrong("'choices' must have as many labels as texts")
        pairs = list(zip(labels, texts, strict=True))
    elif isinstance(choices, dict):
        pairs = list(choices.items())
    elif isinstance(choices, list):
        pairs = [_pair(row, choice) for choice in choices]
    else:
        raise row.wrong(f"'choices' must be a list or an object, not {type(choices).__name__}")
    if len(pairs) > len(LABELS):
        raise row.wrong(f"there are {len(pairs)} choices; at most {len(LABELS)} can be labelled")
    if any(isinstance(text, dict | list) or text is None for _, text in pairs):
        raise row.wrong("every choice must be a text")
    labels = tuple(str(label) for label, _ in pairs if label is not None)
    return labels, tuple(str(text) for _, text in pairs)


def _pair(row: rows.Row, choice: object) -> tuple[object, object]:
    if isinstance(choice, dict):
        if "text" not in choice:
            raise row.wrong("a choice that is an object needs a 'text'")
        return choice.get("label"), choice["text"]
    return None, choice
