"""Many requests at once to a server that we started ourselves, from code that is not asynchronous.

An event loop runs in a thread of its own, so that it works inside a notebook too and Ctrl-C is heard while
the server writes. Nothing is tried twice: such a server answers, or it has ended.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

IN_FLIGHT = 512
"""More than vLLM works on at once, so that it never waits for us; the others wait here."""
CONNECT_S = 15.0
SILENCE_S = 600.0
"""Without a byte for so long, a server counts as broken."""


class Broken(Exception):  # noqa: N818 - named like the Fault of a teacher's server
    """The server did not answer, or refused; the message is what there is to say about it."""


class Post:
    """Posts to one address until it is closed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="understudy-engine", daemon=True)
        self._thread.start()

    def landing(self, bodies: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """The reply to each body with its place, as parsed JSON and as it lands. Raises Broken. When the
        iterator is dropped, or ends in an error, nothing is left in flight."""
        landed: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
        future = asyncio.run_coroutine_threadsafe(self._gather(bodies, landed.put), self._loop)
        future.add_done_callback(lambda _: landed.put(None))
        try:
            while (item := landed.get()) is not None:
                yield item
            future.result()
        finally:
            future.cancel()

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _gather(self, bodies: Sequence[Any], land: Callable[[tuple[int, Any]], None]) -> None:
        import aiohttp

        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=IN_FLIGHT),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
        )

        async def one(at: int, body: Any) -> None:
            async with session.post(self._url, json=body) as response:
                if response.status != 200:
                    said = " ".join((await response.text()).split())
                    raise Broken(f"it answered with status {response.status}: {said[:300]}")
                land((at, await response.json(content_type=None)))

        async with session:
            tasks = [asyncio.ensure_future(one(at, body)) for at, body in enumerate(bodies)]
            try:
                await asyncio.gather(*tasks)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise Broken(" ".join(f"{type(error).__name__}: {error}".split())) from error
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
