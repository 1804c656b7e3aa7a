"""Is a ledger whole? The file, every key and hash, every reference, and the rows against their replies."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

from understudy.ledger._file import existing, sentences
from understudy.ledger._keys import UNANSWERED, Keys, digest
from understudy.ledger._rows import unpack
from understudy.ledger.replies import Parse, reparsed
from understudy.ledger.selection import Selection
from understudy.roles import Identity
from understudy.types import Completion, FinishReason, Sampling

_ROWS = """
SELECT key, endpoint, model, revision, sampling, prompt, sample, finish_reason, error FROM completions
"""
_REFERENCES = {
    "completion {} has no prompt": (
        "SELECT key FROM completions WHERE prompt NOT IN (SELECT hash FROM prompts)"
    ),
    "completion {} has lost its reply": (
        "SELECT key FROM completions WHERE raw IS NOT NULL AND raw NOT IN (SELECT id FROM replies)"
    ),
    "prompt {} belongs to no completion": (
        "SELECT hash FROM prompts WHERE hash NOT IN (SELECT prompt FROM completions)"
    ),
    "reply {} belongs to no completion": (
        "SELECT id FROM replies WHERE id NOT IN (SELECT raw FROM completions WHERE raw IS NOT NULL)"
    ),
}


def problems(path: Path, parse: Parse | None = None) -> Iterator[str]:
    """One sentence for whatever is wrong with a ledger. With `parse`, rows that lack a text which their
    reply holds are named too."""
    with sentences(path), closing(existing(path)) as db:
        damages = [text for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
        yield from damages
        if damages:
            return  # what SQLite cannot read in order need not be read on
        yield from _wrong_keys(db)
        yield from _wrong_prompts(db)
        yield from _lost(db)
        broken = list(_wrong_replies(db))
        yield from broken
        if parse and not broken:
            yield from _worse_than_reply(db, parse)


def _wrong_keys(db: sqlite3.Connection) -> Iterator[str]:
    for key, *who, sampling, prompt, sample, finish_reason, error in db.execute(_ROWS):
        try:
            fields = json.loads(sampling)
            asked = Sampling(**fields | {"stop": tuple(fields["stop"])})
        except (ValueError, TypeError, KeyError):
            yield f"completion {key} has a sampling that cannot be read"
            continue
        if Keys(Identity(*who), asked).key(prompt, sample) != key:
            yield f"completion {key} does not have the key of what it says"
        if finish_reason not in get_args(FinishReason):
            yield f"completion {key} ended for an unknown reason ('{finish_reason}')"
        if finish_reason == "error" and (not error or error.partition(":")[0] == UNANSWERED):
            yield f"completion {key} is not an answer and should not have been stored"


def _wrong_prompts(db: sqlite3.Connection) -> Iterator[str]:
    for found, messages in db.execute("SELECT hash, messages FROM prompts"):
        if not messages.isascii() or digest(messages) != found:
            yield f"prompt {found} does not have the hash of its text"


def _lost(db: sqlite3.Connection) -> Iterator[str]:
    for sentence, query in _REFERENCES.items():
        yield from (sentence.format(name) for (name,) in db.execute(query))


def _wrong_replies(db: sqlite3.Connection) -> Iterator[str]:
    for number, body in db.execute("SELECT id, body FROM replies"):
        try:
            unpack(body)
        except (zlib.error, UnicodeDecodeError):
            yield f"reply {number} cannot be unpacked"


def _worse_than_reply(db: sqlite3.Connection, parse: Parse) -> Iterator[str]:
    for key, old, new in reparsed(db, parse, Selection()):
        if _says_something(new) and not _says_something(old):
            yield f"completion {key} lacks the text that its reply holds; run `understudy ledger reparse`"


def _says_something(said: Completion) -> bool:
    return said.finish_reason != "error" and bool(said.text)
