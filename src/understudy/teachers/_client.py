"""The live side of every teacher behind HTTP: many requests at once, patient with a server's bad moments.

An event loop runs in a thread of its own, so that it works inside a notebook too and the network never waits
for the disk. Requests are read, and answers handed over, in the caller's thread: whatever has landed by the
time the caller asks comes in one batch, so a slow ledger gets larger transactions. The catch: both threads
share one interpreter, so what the caller does with an answer slows the asking down.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from understudy.roles import Identity, Landed
from understudy.teachers._bridge import Bridge
from understudy.teachers._call import Call
from understudy.teachers._server import Server
from understudy.types import Request, Sampling


class Client:
    """A completer. Each call of `complete` has its own loop, connections and count of failures."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def identity(self) -> Identity:
        return self._server.identity

    def close(self) -> None:
        """Nothing stays open between calls."""

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """See `roles.Completer`. When the iterator is dropped, requests in flight are cancelled."""
        stream = iter(requests)
        first = next(stream, None)
        if first is None:
            return
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        bridge = Bridge(chain([first], stream), self._server.concurrency, runner.get_loop())
        call = Call(self._server, sampling, bridge)
        thread = threading.Thread(
            target=_run, args=(runner, call, bridge), name="understudy-teacher", daemon=True
        )
        thread.start()
        try:
            bridge.feed()
            yield from bridge.batches()
        finally:
            bridge.tell(call.drop)
            thread.join()
        if call.error:
            raise call.error


def _run(runner: asyncio.Runner, call: Call, bridge: Bridge) -> None:
    """The thread: whatever goes wrong in it is raised again in the caller's."""
    try:
        with runner:
            runner.run(call.serve())
    except BaseException as error:
        call.error = call.error or error
    finally:
        bridge.end()
