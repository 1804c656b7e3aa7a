"""The file itself: its tables, how it is opened, and what is said when that fails.

Format 2 keeps rows in the order they came, beside an index of keys, so that a commit touches few pages;
format 1 kept them in the order of their keys. A file of format 1 is rewritten when it is opened, which
for that moment takes its size again on disk. Format 3 says how likely a completion was, where that was
measured; a file of format 2 gets the column, which is empty, and nothing is rewritten.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import StoreError

FORMAT = 3
BUSY_SECONDS = 60.0
_CHECKPOINT_PAGES = 4000
"""Pages of log before it is copied into the file: 16 MB, so that a page is copied once for many commits."""

SCHEMA = """
CREATE TABLE prompts (hash TEXT PRIMARY KEY, messages TEXT NOT NULL);
CREATE TABLE replies (id INTEGER PRIMARY KEY, samples TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE completions (
  key TEXT PRIMARY KEY NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, revision TEXT NOT NULL,
  prompt TEXT NOT NULL REFERENCES prompts(hash), sampling TEXT NOT NULL, sample INTEGER NOT NULL,
  question_id TEXT NOT NULL, text TEXT NOT NULL, reasoning TEXT NOT NULL, finish_reason TEXT NOT NULL,
  error TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL,
  latency_s REAL NOT NULL, attempts INTEGER NOT NULL, created TEXT NOT NULL, run TEXT NOT NULL,
  raw INTEGER REFERENCES replies(id), logprob REAL
);
"""
_FROM_1 = """
ALTER TABLE prompts RENAME TO old_prompts;
ALTER TABLE completions RENAME TO old_completions;
{schema}
INSERT INTO prompts SELECT hash, messages FROM old_prompts;
INSERT INTO completions
  SELECT key, endpoint, model, revision, prompt, sampling, sample, question_id, text, reasoning,
    finish_reason, error, prompt_tokens, completion_tokens, NULL, 0, 1, created, run, NULL, NULL
  FROM old_completions ORDER BY created;
DROP TABLE old_completions;
DROP TABLE old_prompts;
"""
_FROM_2 = "ALTER TABLE completions ADD COLUMN logprob REAL"
_SENTENCES = {
    "SQLITE_FULL": "the disk that holds the ledger {path} is full; free some space and run again",
    "SQLITE_BUSY": "the ledger {path} is held by another process; wait for it to end and run again",
    "SQLITE_LOCKED": "the ledger {path} is held by another process; wait for it to end and run again",
    "SQLITE_NOTADB": "{path} is not a ledger; move it away and run again",
    "SQLITE_CORRUPT": "the ledger {path} is damaged; restore it from a copy or move it away and run again",
    "SQLITE_CANTOPEN": "the ledger {path} cannot be opened; check that its folder exists and is yours",
    "SQLITE_READONLY": "the ledger {path} cannot be written; check its permissions",
}


def connect(path: Path) -> sqlite3.Connection:
    """A connection in write-ahead mode whose every commit waits for the disk. Raises StoreError."""
    with sentences(path):
        # Autocommit: transactions are opened by hand, so no lock is held while a slow teacher thinks.
        # Several threads may use it, one at a time.
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _patiently(db, path)
        except BaseException:
            db.close()
            raise
    return db


def _patiently(db: sqlite3.Connection, path: Path) -> None:
    """Prepare the file; SQLite does not wait by itself while another process turns write-ahead mode on."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _prepare(db, path)
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
            time.sleep(0.02)


def existing(path: Path) -> sqlite3.Connection:
    """A connection to a ledger that must be there already. Raises StoreError."""
    if not path.is_file():
        raise StoreError(f"there is no ledger at {path}; give the path of a ledger.sqlite")
    return connect(path)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, on disk when the block ends. The write lock is taken at once, so that two processes
    wait for each other in the beginning and never in the middle."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite itself rolls back when the disk is full
            db.execute("ROLLBACK")
        raise


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one sentence that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        name: str = getattr(error, "sqlite_errorname", "")
        known = next((text for prefix, text in _SENTENCES.items() if name.startswith(prefix)), None)
        plain = f"the ledger {{path}} failed: {error}; check the disk and run again"
        raise StoreError((known or plain).format(path=path)) from error


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    if _format(db, path) == FORMAT:
        return
    with transaction(db):
        # Another process may have been quicker, so look again with the lock held.
        version = _format(db, path)
        if version == FORMAT:
            return
        for statement in _upgrade(db, path, version).split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {FORMAT}")


def _format(db: sqlite3.Connection, path: Path) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT:
        raise StoreError(
            f"the ledger {path} was written by a newer understudy (format {version}); upgrade to read it"
        )
    return version


def _upgrade(db: sqlite3.Connection, path: Path, version: int) -> str:
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables == {"prompts", "completions"}:
        return _FROM_1.format(schema=SCHEMA)
    if version == 2 and tables == {"prompts", "replies", "completions"}:
        return _FROM_2
    if tables:
        raise StoreError(f"{path} is not a ledger; move it away and run again")
    return SCHEMA
