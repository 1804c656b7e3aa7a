"""Replies read again by another parser: a mended parser mends rows, and nothing is paid.

A parser gets (the reply's text, the samples that were read from it) and returns at most one completion for
each of these samples; none if it cannot read the reply. The catch: samples are told apart by their order, so
a completer must hand over together what came in one reply.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from understudy.ledger._file import transaction
from understudy.ledger._keys import transient, whole
from understudy.ledger._rows import unpack
from understudy.ledger.selection import Selection
from understudy.streams import windows
from understudy.types import Completion

Parse = Callable[[str, tuple[int, ...]], Sequence[Completion]]

_TOGETHER = 1000
_QUERY = """
SELECT raw, body, samples, key, sample, text, finish_reason, prompt_tokens, completion_tokens,
  reasoning, error, latency_s, attempts
FROM completions JOIN replies ON raw = id WHERE {where} ORDER BY raw
"""
_UPDATE = """
UPDATE completions SET text = ?, reasoning = ?, finish_reason = ?, error = ?, prompt_tokens = ?,
  completion_tokens = ? WHERE key = ?
"""


def reparsed(
    db: sqlite3.Connection, parse: Parse, selection: Selection
) -> Iterator[tuple[str, Completion, Completion]]:
    """(key, the completion as it stands, as the parser reads it) wherever the parser can read the reply."""
    where, values = selection.where()
    rows = db.execute(_QUERY.format(where=where), values)
    for _, group in groupby(rows, key=lambda row: row[0]):
        together = list(group)
        _, body, samples, *_ = together[0]
        said = {c.sample: c for c in parse(unpack(body), tuple(json.loads(samples)))}
        for _, _, _, key, *fields in together:
            old = Completion("", *fields)
            new = said.get(old.sample)
            if new is not None and not transient(new):
                yield key, old, _settled(new, old)


def reparse(
    reader: sqlite3.Connection, writer: sqlite3.Connection, parse: Parse, selection: Selection
) -> int:
    """Update the rows that another parser reads otherwise, and count them. The price stays what it was."""
    changed = ((key, new) for key, old, new in reparsed(reader, parse, selection) if new != old)
    count = 0
    for window in windows(changed, _TOGETHER):
        with transaction(writer):
            writer.executemany(_UPDATE, [(*_columns(new), key) for key, new in window])
        count += len(window)
    return count


def _settled(new: Completion, old: Completion) -> Completion:
    """What a parser decides, and no more: when and how the reply came is as it was."""
    return replace(
        old,
        text=whole(new.text),
        reasoning=whole(new.reasoning),
        finish_reason=new.finish_reason,
        error=whole(new.error),
        prompt_tokens=new.prompt_tokens,
        completion_tokens=new.completion_tokens,
    )


def _columns(said: Completion) -> tuple[object, ...]:
    return (
        *(said.text, said.reasoning, said.finish_reason, said.error),
        *(said.prompt_tokens, said.completion_tokens),
    )
