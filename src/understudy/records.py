"""The files between steps: one JSON line per completion, rationale or prediction."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from understudy.store import write_pieces
from understudy.types import Completion, Prediction, Rationale, Written


def save(path: Path, records: Iterable[Any]) -> None:
    """One JSON line for each frozen record; the file appears whole or not at all."""
    write_pieces(path, (json.dumps(dataclasses.asdict(record)) + "\n" for record in records))


def forget_unfinished(path: Path) -> None:
    """Remove what killed processes had begun to write; only for a file that has one writer at a time."""
    for begun in path.parent.glob(f".{path.name}.*"):
        begun.unlink(missing_ok=True)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def load_rationales(folder: Path) -> list[Rationale]:
    return [Rationale(**row) for row in _rows(folder / "rationales.jsonl")]


def load_completions(folder: Path) -> list[Completion]:
    return [Completion(**row) for row in _rows(folder / "completions.jsonl")]


def load_predictions(folder: Path) -> list[Prediction]:
    return [
        Prediction(
            row["question_id"],
            tuple(Written(**part) for part in row["written"]),
            row.get("settled"),
            row.get("share"),
        )
        for row in _rows(folder / "predictions.jsonl")
    ]
