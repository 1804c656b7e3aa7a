"""What a completer is asked, read from a stream of requests, and who waits for which answer.

Requests are looked up in chunks as they are read. What is in the ledger goes to `ready`; what is not goes
to a short buffer from which the completer feeds; both drain as fast as they fill, so memory holds what is
in flight and little more. The catch: the feed runs in whatever thread the completer reads it in, beside
the thread that settles answers, so both hold the lock where they touch who waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from understudy.ledger._keys import Keys, digest, messages_text
from understudy.types import Request

CHUNK = 256
"""Requests that are looked up together."""
AHEAD = 2048
"""Requests that are read ahead of the completer."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """One sample that a caller wants: the position of its request, and its question."""

    position: int
    question_id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the completer has, or will have: `keys` by sample, each until it is answered."""

    request: Request
    prompt: str
    messages: str
    keys: dict[int, str]


class Counted:
    """A stream of requests that knows how many samples have been read from it."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.samples = 0
        self._requests = requests

    def __iter__(self) -> Iterator[Request]:
        for request in self._requests:
            self.samples += len(request.samples)
            yield request


class Flow:
    """One stream of requests on its way through a completer."""

    def __init__(
        self,
        requests: Iterable[Request],
        keys: Keys,
        stored: Callable[[Sequence[str]], set[str]],
        lock: threading.Lock,
    ) -> None:
        """`stored` says which keys are in the ledger; `lock` is held while it does."""
        self.exhausted = False
        self.ready: deque[tuple[str, Waiter]] = deque()
        """Key and waiter of each sample that is in the ledger already."""
        self._requests = enumerate(iter(requests))
        self._keys = keys
        self._stored = stored
        self._lock = lock
        self._buffer: deque[Asked] = deque()
        self._sent: dict[int, Asked] = {}
        self._waiting: dict[str, list[Waiter]] = {}

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def unanswered(self) -> int:
        """Samples that were meant for the completer and have not been settled."""
        with self._lock:
            return sum(len(waiters) for waiters in self._waiting.values())

    def advance(self) -> None:
        """Read a chunk of the stream and look it up."""
        with self._lock:
            chunk = [self._asked(*item) for item in islice(self._requests, CHUNK)]
            stored = self._stored([key for _, asked in chunk for key in asked.keys.values()])
            for position, asked in chunk:
                self._place(position, asked, stored)
            self.exhausted = not chunk

    def feed(self) -> Iterator[Request]:
        """The requests that only the completer can answer, cut down to the samples nobody has yet."""
        self._sent = {}
        index = 0
        while True:
            while not self._buffer:
                if self.exhausted:
                    return
                self.advance()
            asked = self._buffer.popleft()
            self._sent[index] = asked
            index += 1
            yield asked.request

    def landed(self, index: int, sample: int) -> tuple[Asked, str] | None:
        """The request that an answer belongs to, and its key; None if it was never asked for."""
        asked = self._sent.get(index)
        key = asked.keys.pop(sample, None) if asked else None
        if asked is None or key is None:
            return None
        if not asked.keys:
            del self._sent[index]
        return asked, key

    def settle(self, keys: Sequence[str]) -> list[list[Waiter]]:
        """Who waits for these keys; nobody from now on. What can be stored must be stored by then: a twin
        that is read later is looked for in the ledger."""
        with self._lock:
            return [self._waiting.pop(key) for key in keys]

    def _asked(self, position: int, request: Request) -> tuple[int, Asked]:
        messages = messages_text(request.messages)
        prompt = digest(messages)
        keys = {sample: self._keys.key(prompt, sample) for sample in request.samples}
        return position, Asked(request, prompt, messages, keys)

    def _place(self, position: int, asked: Asked, stored: set[str]) -> None:
        """Each sample goes to what is ready, to those who wait already, or to the completer."""
        waiter = Waiter(position, asked.request.question.id)
        wanted: dict[int, str] = {}
        for sample in asked.request.samples:
            key = asked.keys[sample]
            if key in stored:
                self.ready.append((key, waiter))
            elif key in self._waiting:
                self._waiting[key].append(waiter)
            else:
                self._waiting[key] = [waiter]
                wanted[sample] = key
        if wanted:
            request = replace(asked.request, samples=tuple(wanted))
            self._buffer.append(Asked(request, asked.prompt, asked.messages, wanted))
