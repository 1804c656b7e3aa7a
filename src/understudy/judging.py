"""The engine of `understudy judge`: a file of model outputs with their golds -> one verdict a row.

A row is {"output", "gold"[, "choices"]}, one JSON object a line, in plain or gzipped UTF-8:

    {"output": "9 x 2 = 18. The answer is 18.", "gold": 18}
    {"output": "It is (B).", "gold": "2", "choices": {"label": ["1", "2"], "text": ["ice", "sand"]}}

The catch is that data sets write choices in four ways and golds as labels or texts: a label is looked up
among the row's own labels first, so that "1".."4" and "A".."D" both come out as letters by position. A bad
output is data (`no_answer`); a row that cannot be judged is a DataError that names the file and the line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import answers
from understudy.errors import DataError
from understudy.types import LABELS, AnswerForm, VerdictName


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """The verdict on one row; `extracted` is canonical: for a choice, the letter by position."""

    extracted: str | None
    verdict: VerdictName


def judge_file(path: Path, form: AnswerForm) -> list[JudgedRow]:
    """One verdict for each row of `path`, in its order; blank lines are skipped.

    Raises DataError, naming file and line, if the file cannot be read or a row cannot be judged.
    """
    return [_judge_row(row, form, f"{path}, line {line}") for line, row in _rows(path)]


def summary(rows: Sequence[JudgedRow]) -> dict[str, int]:
    """How many rows are correct, wrong, without an answer, and in all."""
    counts = dict.fromkeys(("correct", "wrong", "no_answer"), 0)
    for row in rows:
        counts[row.verdict] += 1
    return {**counts, "total": len(rows)}


def as_json(rows: Sequence[JudgedRow]) -> dict[str, Any]:
    """What `understudy judge --json` prints: {"rows": [...in input order], "counts": {...}}."""
    return {
        "rows": [{"extracted": row.extracted, "verdict": row.verdict} for row in rows],
        "counts": summary(rows),
    }


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON ({error}); write one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} must be a JSON object with 'output' and 'gold'")
        yield number, row


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except (zlib.error, EOFError, gzip.BadGzipFile):
        raise DataError(f"{path} is a damaged gzip file; fetch it again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from None


def _judge_row(row: Mapping[str, Any], form: AnswerForm, where: str) -> JudgedRow:
    for key in ("output", "gold"):
        if key not in row:
            raise DataError(f"{where} has no '{key}'; every row needs 'output' and 'gold'")
    output = row["output"]
    if output is not None and not isinstance(output, str):
        raise DataError(f"{where}: 'output' must be a text or null, not {type(output).__name__}")
    labels, texts = _choices(row.get("choices"), where)
    gold = _gold(row["gold"], labels, where)
    try:
        verdict = answers.judge(output or "", gold, form, texts)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return JudgedRow(verdict.extracted, verdict.name)


def _gold(gold: object, labels: Sequence[str], where: str) -> str:
    """A gold as text; a label of the row's own becomes its letter by position."""
    if isinstance(gold, bool):
        return "yes" if gold else "no"
    if isinstance(gold, int | float):
        gold = repr(gold)
    if not isinstance(gold, str):
        raise DataError(f"{where}: 'gold' must be a text, a number or a boolean, not {type(gold).__name__}")
    named = gold.strip().strip("()")
    return LABELS[labels.index(named)] if named in labels else gold


def _choices(choices: object, where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels and texts of a row's options; no labels where the row has only texts."""
    pairs: list[tuple[object, object]]
    if choices is None:
        return (), ()
    if isinstance(choices, dict) and isinstance(choices.get("text"), list):
        texts, labels = choices["text"], choices.get("label")
        if not isinstance(labels, list) or len(labels) != len(texts):
            raise DataError(f"{where}: 'choices' must have as many labels as texts")
        pairs = list(zip(labels, texts, strict=True))
    elif isinstance(choices, dict):
        pairs = list(choices.items())
    elif isinstance(choices, list):
        pairs = [_pair(choice, where) for choice in choices]
    else:
        raise DataError(f"{where}: 'choices' must be a list or an object, not {type(choices).__name__}")
    if len(pairs) > len(LABELS):
        raise DataError(f"{where}: there are {len(pairs)} choices; at most {len(LABELS)} can be labelled")
    if any(isinstance(text, dict | list) or text is None for _, text in pairs):
        raise DataError(f"{where}: every choice must be a text")
    labels = tuple(str(label) for label, _ in pairs if label is not None)
    return labels, tuple(str(text) for _, text in pairs)


def _pair(choice: object, where: str) -> tuple[object, object]:
    if isinstance(choice, dict):
        if "text" not in choice:
            raise DataError(f"{where}: a choice that is an object needs a 'text'")
        return choice.get("label"), choice["text"]
    return None, choice
