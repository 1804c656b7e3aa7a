"""What a ledger holds: a summary of it, and its completions one by one with all that was kept."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import StoreError
from understudy.ledger._file import existing, sentences
from understudy.ledger._rows import unpack
from understudy.ledger.selection import Selection

Entry = dict[str, Any]
"""A completion with every column, its messages, its sampling as an object, and its raw reply or None."""

COLUMNS = (
    *("key", "endpoint", "model", "revision", "messages", "sampling", "sample", "question_id", "text"),
    *("reasoning", "finish_reason", "error", "prompt_tokens", "completion_tokens", "usd", "latency_s"),
    *("attempts", "created", "run", "logprob", "raw"),
)
_KEY = re.compile(r"[0-9a-f]{6,64}")
_SUMMARY = """
SELECT endpoint, model, COUNT(*), COUNT(DISTINCT question_id), SUM(prompt_tokens), SUM(completion_tokens),
  SUM(usd), SUM(usd IS NULL), SUM(finish_reason = 'error'), MIN(created), MAX(created),
  json_group_array(DISTINCT run)
FROM completions WHERE {where} GROUP BY endpoint, model ORDER BY endpoint, model
"""
_ENTRIES = """
SELECT key, endpoint, model, revision, messages, sampling, sample, question_id, text, reasoning,
  finish_reason, error, prompt_tokens, completion_tokens, usd, latency_s, attempts, created, run, logprob,
  body
FROM completions JOIN prompts ON prompt = hash LEFT JOIN replies ON raw = id
WHERE {where} ORDER BY completions.rowid
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one model at one endpoint has answered."""

    endpoint: str
    model: str
    completions: int
    questions: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    """What is known of the price; None if nothing is."""
    unpriced: int
    """Completions whose price is not known."""
    errors: int
    first: str
    last: str
    runs: tuple[str, ...]


def summaries(path: Path, selection: Selection | None = None) -> list[Summary]:
    """One for each endpoint and model."""
    where, values = (selection or Selection()).where()
    with sentences(path), closing(existing(path)) as db:
        rows: list[tuple[Any, ...]] = db.execute(_SUMMARY.format(where=where), values).fetchall()
    return [Summary(*(*fields, tuple(sorted(json.loads(runs))))) for *fields, runs in rows]


def entries(path: Path, selection: Selection | None = None) -> Iterator[Entry]:
    """Every selected completion, in the order in which they were stored, read as they are asked for."""
    where, values = (selection or Selection()).where()
    with sentences(path), closing(existing(path)) as db:
        yield from map(_entry, db.execute(_ENTRIES.format(where=where), values))


def find(path: Path, wanted: str) -> list[Entry]:
    """The completions of a key, of the beginning of one (6 digits or more), or of a question id.

    Raises StoreError when there is none.
    """
    where, values = "question_id = ?", [wanted]
    if _KEY.fullmatch(wanted):
        # "g" comes after every hexadecimal digit.
        where, values = f"{where} OR key BETWEEN ? AND ?", [wanted, wanted, f"{wanted}g"]
    with sentences(path), closing(existing(path)) as db:
        found = list(map(_entry, db.execute(_ENTRIES.format(where=where), values)))
    if not found:
        raise StoreError(f"the ledger {path} has no completion of the key or question '{wanted}'")
    return found


def _entry(row: sqlite3.Row | tuple[Any, ...]) -> Entry:
    entry = dict(zip(COLUMNS, row, strict=True))
    entry["messages"] = [{"role": role, "content": text} for role, text in json.loads(entry["messages"])]
    entry["sampling"] = json.loads(entry["sampling"])
    entry["raw"] = None if entry["raw"] is None else unpack(entry["raw"])
    return entry
