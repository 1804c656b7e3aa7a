"""Completions as rows: written in one transaction, with the replies they were read from, and read back."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from understudy.ledger._file import transaction
from understudy.ledger._keys import canonical, whole
from understudy.roles import Identity
from understudy.types import Completion

LOOKUP = 500
"""Keys that one query looks for."""
_LEVEL = 1
"""Of compression: a higher one saves a tenth of the space and takes twice the time."""

_ANSWER = "sample, text, finish_reason, prompt_tokens, completion_tokens, reasoning, error, logprob"
_INSERT = f"INSERT OR IGNORE INTO completions VALUES ({','.join('?' * 21)})"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Record:
    """A completion with all that its row says. `created` is empty for now."""

    identity: Identity
    sampling: str
    key: str
    prompt: str
    messages: str
    completion: Completion
    usd: float | None
    run: str
    created: str = ""


def write(db: sqlite3.Connection, records: Sequence[Record]) -> int:
    """Commit the records together, and count those that are new. A row that is there stays as it is."""
    with transaction(db):
        return insert(db, records)


def insert(db: sqlite3.Connection, records: Sequence[Record]) -> int:
    """The same inside a transaction of the caller's."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    replies = _replies(records)
    db.executemany("INSERT OR IGNORE INTO prompts VALUES (?, ?)", {(r.prompt, r.messages) for r in records})
    ids = [_insert_reply(db, *reply) for reply, _ in replies]
    raw = {at: number for number, (_, rows) in zip(ids, replies, strict=True) for at in rows}
    rows = [_row(record, now, raw.get(at)) for at, record in enumerate(records)]
    added = db.executemany(_INSERT, rows).rowcount
    if added < len(records):
        _drop_unused(db, ids, [record.key for record in records])
    return added


def stored(db: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
    """Which of the keys are there."""
    return {key for key, *_ in _found(db, "key", keys)}


def answers(db: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Completion]:
    """What was answered, by key, without a question id and without how the reply came."""
    return {
        key: replace(Completion("", *fields), logprob=logprob)
        for key, *fields, logprob in _found(db, f"key, {_ANSWER}", keys)
    }


def unpack(body: bytes) -> str:
    """The text of a reply as the server sent it."""
    return zlib.decompress(body).decode("utf-8", "surrogatepass")


def _found(db: sqlite3.Connection, columns: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(keys), LOOKUP):
        some = keys[start : start + LOOKUP]
        marks = ",".join("?" * len(some))
        yield from db.execute(f"SELECT {columns} FROM completions WHERE key IN ({marks})", some).fetchall()  # noqa: S608


def _row(record: Record, now: str, raw: int | None) -> tuple[object, ...]:
    said, who = record.completion, record.identity
    return (
        *(record.key, who.endpoint, who.model, who.revision, record.prompt, record.sampling),
        *(said.sample, said.question_id, whole(said.text), whole(said.reasoning), said.finish_reason),
        *(whole(said.error), said.prompt_tokens, said.completion_tokens, record.usd),
        *(said.latency_s, said.attempts, record.created or now, record.run, raw, said.logprob),
    )


def _replies(records: Sequence[Record]) -> list[tuple[tuple[str, bytes], list[int]]]:
    """(samples, packed text) of every reply, and the records that were read from it: samples of one
    request that were drawn together share one."""
    shared: dict[tuple[str, str, str], list[int]] = {}
    for at, record in enumerate(records):
        if raw := record.completion.raw:
            shared.setdefault((record.prompt, record.sampling, raw), []).append(at)
    return [
        (
            (
                canonical([records[at].completion.sample for at in rows]),
                zlib.compress(raw.encode("utf-8", "surrogatepass"), _LEVEL),
            ),
            rows,
        )
        for (_, _, raw), rows in shared.items()
    ]


def _insert_reply(db: sqlite3.Connection, samples: str, body: bytes) -> int:
    number = db.execute("INSERT INTO replies (samples, body) VALUES (?, ?)", (samples, body)).lastrowid
    assert number is not None
    return number


def _drop_unused(db: sqlite3.Connection, ids: Sequence[int], keys: Sequence[str]) -> None:
    """Another process was first with some rows: the replies of ours that nobody refers to go again."""
    used = {raw for _, raw in _found(db, "key, raw", keys)}
    db.executemany("DELETE FROM replies WHERE id = ?", [(number,) for number in ids if number not in used])
