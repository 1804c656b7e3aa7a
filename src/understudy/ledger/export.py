"""A ledger as JSON Lines or Parquet, row by row: every column, the messages, and the raw reply."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from understudy.errors import StoreError
from understudy.ledger._keys import whole
from understudy.ledger.reading import COLUMNS, Entry
from understudy.streams import windows

_ROWS = 1000
"""Rows of a Parquet row group, and of what is in memory."""
_NUMBERS = ("sample", "prompt_tokens", "completion_tokens", "attempts")
_FRACTIONS = ("usd", "latency_s", "logprob")


def write_lines(entries: Iterable[Entry], stream: IO[str]) -> int:
    """One JSON object a line; `understudy ledger import` reads it back. Returns how many."""
    count = 0
    for entry in entries:
        stream.write(json.dumps(entry) + "\n")
        count += 1
    return count


def write_file(entries: Iterable[Entry], path: Path) -> int:
    """JSON Lines or, for a name that ends in .parquet, Parquet. The file appears whole or not at all.

    Raises StoreError when Parquet is asked for without pyarrow.
    """
    with _whole_or_not_at_all(path) as partial:
        if path.suffix.lower() == ".parquet":
            return _write_parquet(entries, partial)
        with partial.open("w", encoding="utf-8") as stream:
            return write_lines(entries, stream)


def _write_parquet(entries: Iterable[Entry], path: Path) -> int:
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise StoreError(f"{path.name}: writing Parquet needs pyarrow; install understudy[hub]") from error
    count = 0
    schema = _schema(pyarrow)
    with parquet.ParquetWriter(path, schema) as writer:
        for window in windows(entries, _ROWS):
            writer.write_table(pyarrow.Table.from_pylist([_flat(entry) for entry in window], schema))
            count += len(window)
    return count


def _schema(pyarrow: Any) -> Any:
    text, message = pyarrow.string(), [("role", pyarrow.string()), ("content", pyarrow.string())]
    types = {"messages": pyarrow.list_(pyarrow.struct(message))}
    types |= {name: pyarrow.int64() for name in _NUMBERS} | {name: pyarrow.float64() for name in _FRACTIONS}
    return pyarrow.schema([(name, types.get(name, text)) for name in COLUMNS])


def _flat(entry: Entry) -> Entry:
    """With the sampling as text, and nothing that UTF-8 cannot hold."""
    messages = [{name: whole(text) for name, text in message.items()} for message in entry["messages"]]
    texts = {name: whole(value) for name, value in entry.items() if isinstance(value, str)}
    return entry | texts | {"messages": messages, "sampling": json.dumps(entry["sampling"])}


@contextmanager
def _whole_or_not_at_all(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
