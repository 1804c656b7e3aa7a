"""Every completion that was paid for, on disk before anyone parses it.

One SQLite file in write-ahead mode, shared safely by several processes. A completion is found again by
who answered, what was asked word for word, how it was sampled and which sample it is; ask for eight
samples after four and only four are bought. The catch: each row is committed on its own, so a killed
process loses nothing that was yielded, but a power cut may lose the last moments (the disk is not
waited for on every row, which would cost more than the answer for a local model).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from understudy.errors import StoreError, TeacherError
from understudy.roles import Completer, Identity
from understudy.types import Completion, Message, Request, Sampling

UNANSWERED = "unanswered"
"""`Completion.error` reads "kind" or "kind: detail". This kind means that trying again may help (retries
ran out, the server was busy), so such a completion is yielded but never stored, and the next run asks
again. Every other kind ("context too long", "not recorded", ...) is final and stored."""

_VERSION = 1
_BUSY_SECONDS = 60.0
_LOOKUP = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS prompts (hash TEXT PRIMARY KEY, messages TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS completions (
  key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, model TEXT NOT NULL, revision TEXT NOT NULL,
  prompt TEXT NOT NULL REFERENCES prompts(hash), sampling TEXT NOT NULL, sample INTEGER NOT NULL,
  question_id TEXT NOT NULL, text TEXT NOT NULL, reasoning TEXT NOT NULL, finish_reason TEXT NOT NULL,
  error TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  created TEXT NOT NULL, run TEXT NOT NULL
) WITHOUT ROWID;
"""
_ANSWER = "sample, text, finish_reason, prompt_tokens, completion_tokens, reasoning, error"
_SENTENCES = {
    "SQLITE_FULL": "the disk that holds the ledger {path} is full; free some space and run again",
    "SQLITE_BUSY": "the ledger {path} is held by another process; wait for it to end and run again",
    "SQLITE_LOCKED": "the ledger {path} is held by another process; wait for it to end and run again",
    "SQLITE_NOTADB": "{path} is not a ledger; move it away and run again",
    "SQLITE_CORRUPT": "the ledger {path} is damaged; restore it from a copy or move it away and run again",
    "SQLITE_CANTOPEN": "the ledger {path} cannot be opened; check that its folder exists and is yours",
    "SQLITE_READONLY": "the ledger {path} cannot be written; check its permissions",
}


def transient(completion: Completion) -> bool:
    """True if asking again may help; such a completion is never stored."""
    kind = completion.error.partition(":")[0]
    return completion.finish_reason == "error" and kind == UNANSWERED


class Ledger:
    """An open ledger. `asked` and `reused` count samples since it was opened."""

    def __init__(self, path: Path, run: str = "") -> None:
        """Open or create the file. Raises StoreError if that cannot be done."""
        self.path = path
        self.run = run
        self.asked = 0
        self.reused = 0
        with self._sentences():
            # Autocommit: each row is a transaction, so no lock is held while a slow teacher thinks.
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._check_version()
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def complete(
        self,
        completer: Completer,
        requests: Sequence[Request],
        sampling: Sampling,
        on_landed: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[int, Completion]]:
        """Yield (position in `requests`, completion) for every asked sample, in any order.

        What is stored comes first; the completer is asked for the rest, and each answer is committed
        before it is yielded. `on_landed` hears (samples so far, samples in all). A teacher without an
        endpoint reads its answers off the questions themselves: that is free, and two questions may
        share a prompt but not an answer, so nothing of it is stored.
        """
        total = sum(len(request.samples) for request in requests)
        landed = 0
        for position, completion in self._answers(completer, requests, sampling):
            landed += 1
            if on_landed:
                on_landed(landed, total)
            yield position, completion
        if landed < total:
            raise TeacherError(
                f"the teacher {completer.identity.model} left {total - landed} of {total} samples "
                "unanswered without saying why; its completer must yield every sample it is asked for"
            )

    def _answers(
        self, completer: Completer, requests: Sequence[Request], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        if not completer.identity.endpoint:
            for position, completion in completer.complete(requests, sampling):
                self.asked += 1
                yield position, completion
            return
        book = _Book(completer.identity, requests, sampling)
        for key, stored in self._stored(list(book.waiting)):
            for position, request in book.settle(key):
                self.reused += 1
                yield position, replace(stored, question_id=request.question.id)
        yield from self._asked(completer, book, sampling)

    def _asked(
        self, completer: Completer, book: _Book, sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        positions, missing = book.missing()
        if not missing:
            return
        for index, answer in completer.complete(missing, sampling):
            self.asked += 1
            key = book.keys[positions[index], answer.sample]
            completion = self._record(key, book, positions[index], _storable(answer))
            waiting = book.settle(key)
            self.reused += len(waiting) - 1
            for position, request in waiting:
                yield position, replace(completion, question_id=request.question.id)

    def _stored(self, keys: list[str]) -> Iterator[tuple[str, Completion]]:
        for start in range(0, len(keys), _LOOKUP):
            some = keys[start : start + _LOOKUP]
            marks = ",".join("?" * len(some))
            with self._sentences():
                rows = self._db.execute(
                    f"SELECT key, {_ANSWER} FROM completions WHERE key IN ({marks})",  # noqa: S608
                    some,
                ).fetchall()
            for key, *fields in rows:
                yield key, Completion("", *fields)

    def _record(self, key: str, book: _Book, position: int, completion: Completion) -> Completion:
        """Store a final completion; if another process was first, its answer is the one that counts."""
        if transient(completion):
            return completion
        who, prompt, request = book.identity, book.prompts[position], book.requests[position]
        asked = _canonical(_plain(request.messages))
        with self._sentences():
            self._db.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (prompt, asked))
            added = self._db.execute(
                "INSERT OR IGNORE INTO completions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    *(key, who.endpoint, who.model, who.revision, prompt, book.sampling, completion.sample),
                    *(request.question.id, completion.text, completion.reasoning, completion.finish_reason),
                    *(completion.error, completion.prompt_tokens, completion.completion_tokens),
                    *(datetime.now(UTC).isoformat(timespec="milliseconds"), self.run),
                ),
            )
        if added.rowcount:
            return completion
        return next(self._stored([key]))[1]

    def _check_version(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise StoreError(
                f"the ledger {self.path} was written by a newer understudy (format {version}); "
                "upgrade to read it"
            )
        if version == 0:
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Turn what SQLite says into one sentence that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            name: str = getattr(error, "sqlite_errorname", "")
            known = next((text for prefix, text in _SENTENCES.items() if name.startswith(prefix)), None)
            plain = f"the ledger {{path}} failed: {error}; check the disk and run again"
            raise StoreError((known or plain).format(path=self.path)) from error


class _Book:
    """Which samples are wanted, by key. Requests that are equal word for word share one answer."""

    def __init__(self, identity: Identity, requests: Sequence[Request], sampling: Sampling) -> None:
        self.identity = identity
        self.requests = requests
        self.sampling = _canonical(asdict(sampling))
        self.prompts = [_digest(_canonical(_plain(request.messages))) for request in requests]
        self.keys: dict[tuple[int, int], str] = {}
        self.waiting: dict[str, list[tuple[int, Request]]] = {}
        for position, request in enumerate(requests):
            for sample in request.samples:
                key = _key(identity, self.prompts[position], self.sampling, sample)
                self.keys[position, sample] = key
                self.waiting.setdefault(key, []).append((position, request))

    def settle(self, key: str) -> list[tuple[int, Request]]:
        """Who waits for this key; nobody from now on."""
        return self.waiting.pop(key)

    def missing(self) -> tuple[list[int], list[Request]]:
        """Requests cut down to the samples nobody has yet, with their original positions."""
        positions: list[int] = []
        missing: list[Request] = []
        for position, request in enumerate(self.requests):
            keys = {sample: self.keys[position, sample] for sample in request.samples}
            wanted = tuple(
                sample
                for sample, key in keys.items()
                if key in self.waiting and self.waiting[key][0][0] == position
            )
            if wanted:
                positions.append(position)
                missing.append(replace(request, samples=wanted))
        return positions, missing


def _key(identity: Identity, prompt: str, sampling: str, sample: int) -> str:
    return _digest(
        _canonical([identity.endpoint, identity.model, identity.revision, prompt, sampling, sample])
    )


def _plain(messages: Sequence[Message]) -> list[list[str]]:
    return [[message.role, message.content] for message in messages]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _storable(completion: Completion) -> Completion:
    """Half a surrogate pair, which a broken server can send, is not text that UTF-8 can hold."""
    return replace(
        completion,
        text=_whole(completion.text),
        reasoning=_whole(completion.reasoning),
        error=_whole(completion.error),
    )


def _whole(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
