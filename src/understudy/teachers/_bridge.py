"""Carries requests to the thread that talks to a server, and what landed back, in as few steps as possible.

The caller's thread alone reads the stream of requests, so its owner (the ledger) needs no locks; it keeps the
inbox filled for the time while it is busy with something else. The loop's thread collects what lands in one
turn of its loop and hands it over once. The catch: a caller that takes longer than the inbox lasts leaves
the loop without work, which is also what keeps the memory flat. And no more replies wait for the caller to
keep them than requests may be in flight: that is all that a kill can cost beside what is in flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue

from understudy.roles import Landed
from understudy.types import Request

ROOM = 4
"""Requests that wait in the inbox, as a multiple of those in flight."""
LEAST_ROOM = 64
LINGER_S = 0.01
"""What lands within this time is handed over together: one transaction of the ledger instead of many."""


class Bridge:
    """Between one caller and one loop. Each method says whose thread it belongs to."""

    def __init__(
        self, requests: Iterable[Request], concurrency: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.inbox: deque[tuple[int, Request]] = deque()
        """Requests with their positions: the caller appends at the right, the loop takes from the left."""
        self.exhausted = False
        """Nothing more will come into the inbox."""
        self.on_supply: Callable[[], None] = lambda: None
        """Called in the loop's thread when there is something in the inbox again, or never will be."""
        self._stream = enumerate(requests)
        self._room = max(LEAST_ROOM, ROOM * concurrency)
        self._concurrency = concurrency
        self._loop = loop
        self._landed: list[Landed] = []
        self._replies = 0
        """Whose completions are in `_landed`."""
        self._unkept = 0
        """Replies that the caller has not come back from, here or with it: it keeps them before it does."""
        self._outbox: SimpleQueue[tuple[Sequence[Landed], int] | None] = SimpleQueue()
        self._hungry = False

    # The caller's thread.

    def batches(self) -> Iterator[Sequence[Landed]]:
        """What has landed since the last time; ends when the loop says so."""
        ended = False
        while not ended:
            batch: list[Landed] = []
            ended, replies = self._receive(batch)
            self.feed()
            if batch:
                yield batch
                self.tell(partial(self._kept, replies))

    def feed(self) -> None:
        """Fill the inbox, and tell the loop if it was waiting for that."""
        if not self.exhausted:
            wanted = self._room - len(self.inbox)
            fresh = list(islice(self._stream, wanted))
            self.inbox.extend(fresh)
            if len(fresh) < wanted:
                self.exhausted = True
                self.tell(self.on_supply)
                return
        if self._hungry:
            self._hungry = False
            self.tell(self.on_supply)

    def tell(self, what: Callable[[], None]) -> None:
        """Have the loop call `what`; a loop that has ended needs no telling."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)

    def _receive(self, batch: list[Landed]) -> tuple[bool, int]:
        """Wait for something, then take all there is. Whether it is the end, and how many replies it was."""
        replies = 0
        item = self._outbox.get()
        with suppress(Empty):
            while item is not None:
                batch += item[0]
                replies += item[1]
                item = self._outbox.get_nowait()
            return True, replies
        return False, replies

    # The loop's thread.

    @property
    def full(self) -> bool:
        """As many replies wait to be kept as requests may be in flight: begin no new one."""
        return self._unkept >= self._concurrency

    def _kept(self, replies: int) -> None:
        self._unkept -= replies
        self.on_supply()

    def starve(self) -> None:
        """The inbox is empty: wake the caller, which may be waiting for answers, to fill it."""
        if not self._hungry and not self.exhausted:
            self._hungry = True
            self._outbox.put(((), 0))

    def land(self, reply: Sequence[Landed]) -> None:
        """The completions of one reply."""
        if not self._landed:
            self._loop.call_later(LINGER_S, self._hand_over)
        self._landed += reply
        self._replies += 1
        self._unkept += 1
        if 2 * self._unkept >= self._concurrency:
            self._hand_over()

    def end(self) -> None:
        self._hand_over()
        self._outbox.put(None)

    def _hand_over(self) -> None:
        if self._landed:
            self._outbox.put((self._landed, self._replies))
            self._landed, self._replies = [], 0
