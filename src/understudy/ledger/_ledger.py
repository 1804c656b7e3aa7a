"""The ledger of a run: one SQLite file in write-ahead mode, shared safely by several processes.

A completion is found again by who answered, what was asked word for word, how it was sampled and which
sample it is; ask for eight samples after four and only four are bought. What a completer hands over
together is one transaction, and the disk is waited for before any of it is yielded: neither a kill nor
a power cut loses what was yielded. The catch: write-ahead mode needs memory that all its processes
share, so keep the file on a disk of this machine, not on a network drive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from understudy.errors import StoreError, TeacherError
from understudy.ledger import _rows
from understudy.ledger._file import connect, sentences
from understudy.ledger._flow import AHEAD, Asked, Counted, Flow, Waiter
from understudy.ledger._keys import Keys, transient, whole
from understudy.ledger._rows import LOOKUP, Record
from understudy.ledger.replies import Parse, reparse
from understudy.ledger.selection import Selection
from understudy.roles import Completer, Landed
from understudy.types import Completion, Request, Sampling

Price = Callable[[Completion], float | None]
"""What a completion cost in US dollars; None where nobody knows."""


class Ledger:
    """An open ledger. `asked` and `reused` count samples since it was opened."""

    def __init__(self, path: Path, run: str = "", price: Price | None = None) -> None:
        """Open or create the file, whose rows of now on say `run` and what `price` makes of them.

        Raises StoreError if that cannot be done.
        """
        self.path = path
        self.run = run
        self.asked = 0
        self.reused = 0
        self._price = price
        # Lookups have a connection of their own: a completer reads requests in its own thread.
        self._db = connect(path)
        self._reader = connect(path)
        self._lock = threading.Lock()

    def close(self) -> None:
        self._reader.close()
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def complete(
        self,
        completer: Completer,
        requests: Iterable[Request],
        sampling: Sampling,
        on_landed: Callable[[int, int], None] | None = None,
        total: int | None = None,
    ) -> Iterator[Landed]:
        """Yield (position in `requests`, completion) for every asked sample, in any order.

        `requests` is read as it is worked on. What is stored is yielded from there; the completer is asked
        for the rest, and each answer is committed before it is yielded, without the `raw`, `latency_s` and
        `attempts` that only the ledger keeps. `on_landed` hears (samples so far, samples in all): `total`, or
        as many as a list of requests wants, or as many as were read so far. A teacher without an endpoint
        reads its answers off the questions themselves: that is free, and two questions may share a prompt
        but not an answer, so nothing of it is stored.
        """
        if total is None and isinstance(requests, Sequence):
            total = sum(len(request.samples) for request in requests)
        stream = Counted(requests)
        answers = self._answers if completer.identity.endpoint else self._free
        for count, item in enumerate(answers(completer, stream, sampling), start=1):
            if on_landed:
                on_landed(count, stream.samples if total is None else total)
            yield item

    def reparse(self, parse: Parse, selection: Selection | None = None) -> int:
        """Read the replies that were kept with another parser, and count the rows that it changed.

        Nothing is asked and nothing is paid; see replies.py for what a parser gets and gives.
        """
        with self._sentences():
            return reparse(self._reader, self._db, parse, selection or Selection())

    def _free(self, completer: Completer, stream: Counted, sampling: Sampling) -> Iterator[Landed]:
        landed = 0
        for batch in completer.complete(stream, sampling):
            landed += len(batch)
            self.asked += len(batch)
            yield from batch
        _complain(completer, stream.samples - landed, stream.samples)

    def _answers(self, completer: Completer, stream: Counted, sampling: Sampling) -> Iterator[Landed]:
        keys = Keys(completer.identity, sampling)
        flow = Flow(stream, keys, self._stored, self._lock)
        # Each round is one call of the completer; there is a second only if it stops reading too early.
        while True:
            yield from self._top_up(flow)
            if not flow.buffered:
                return
            for batch in completer.complete(flow.feed(), sampling):
                yield from self._land(keys, flow, batch)
                yield from self._top_up(flow)
            _complain(completer, flow.unanswered(), stream.samples)

    def _top_up(self, flow: Flow) -> Iterator[Landed]:
        """Read ahead of the completer, and yield what turns out to be stored."""
        while True:
            while flow.ready:
                yield from self._reuse([flow.ready.popleft() for _ in range(min(LOOKUP, len(flow.ready)))])
            if flow.exhausted or flow.buffered >= AHEAD:
                return
            flow.advance()

    def _reuse(self, ready: Sequence[tuple[str, Waiter]]) -> Iterator[Landed]:
        with self._sentences():
            found = _rows.answers(self._db, [key for key, _ in ready])
        self.reused += len(ready)
        for key, waiter in ready:
            if key not in found:
                raise StoreError(f"the ledger {self.path} lost rows while it was in use; run again")
            yield waiter.position, replace(found[key], question_id=waiter.question_id)

    def _land(self, keys: Keys, flow: Flow, batch: Sequence[Landed]) -> Iterator[Landed]:
        """Commit what landed together, then yield it to all who wait for it."""
        places = [flow.landed(index, said.sample) for index, said in batch]
        landed = [(*place, said) for place, (_, said) in zip(places, batch, strict=True) if place]
        self.asked += len(landed)
        final = self._record(keys, landed)
        for waiters, said in zip(flow.settle([key for _, key, _ in landed]), final, strict=True):
            self.reused += len(waiters) - 1
            for waiter in waiters:
                yield waiter.position, replace(said, question_id=waiter.question_id)
        if len(landed) < len(batch):
            raise TeacherError(
                f"the teacher {keys.identity.model} answered what it was not asked, or answered twice; its "
                "completer must yield every sample it is asked for exactly once"
            )

    def _record(self, keys: Keys, landed: Sequence[tuple[Asked, str, Completion]]) -> list[Completion]:
        """Store what is final, and return what counts: if another process was first, what that one stored."""
        records = [self._row(keys, asked, key, said) for asked, key, said in landed if not transient(said)]
        first: dict[str, Completion] = {}
        if records:
            with self._sentences():
                if _rows.write(self._db, records) < len(records):
                    first = _rows.answers(self._db, [record.key for record in records])
        return [first.get(key) or _handed_out(said) for _, key, said in landed]

    def _row(self, keys: Keys, asked: Asked, key: str, said: Completion) -> Record:
        usd = self._price(said) if self._price else None
        return Record(keys.identity, keys.sampling, key, asked.prompt, asked.messages, said, usd, self.run)

    def _stored(self, keys: Sequence[str]) -> set[str]:
        with self._sentences():
            return _rows.stored(self._reader, keys)

    def _sentences(self) -> AbstractContextManager[None]:
        return sentences(self.path)


def _complain(completer: Completer, left: int, total: int) -> None:
    """Raise TeacherError if samples are left that the completer was asked for."""
    if left:
        raise TeacherError(
            f"the teacher {completer.identity.model} left {left} of {total} samples "
            "unanswered without saying why; its completer must yield every sample it is asked for"
        )


def _handed_out(said: Completion) -> Completion:
    """As it will be read back: what was said, in text that UTF-8 can hold. How and when the reply came stays
    in the ledger, so that what a run makes of an answer does not depend on it."""
    return replace(
        said,
        text=whole(said.text),
        reasoning=whole(said.reasoning),
        error=whole(said.error),
        latency_s=0.0,
        attempts=1,
        raw="",
        cached_tokens=0,
    )
