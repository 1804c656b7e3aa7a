"""The live side of the `openai` teacher: many requests at once, patient with a server's bad moments.

An event loop runs in a thread of its own, so that it works inside a notebook too; answers come out of a
plain iterator. The catch is telling a bad answer, which is data, from a bad set-up, which must stop
the run. A wrong key or model stops it at once. A failure that might be one question's own fault is
recorded for that question, and stops the run only when others fail the same way with no answer between.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from understudy.errors import TeacherError
from understudy.ledger import UNANSWERED
from understudy.roles import Identity
from understudy.teachers import _wire
from understudy.teachers._refusals import down, refusal, rejected
from understudy.teachers._wire import Fault
from understudy.types import Completion, Request, Sampling

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
LONGEST_RETRY_AFTER_S = 900.0
CONNECT_S = 15.0
TRIES_AT_START = 4
"""Attempts to reach a server that has never answered: it is more likely absent than busy."""
LOST_IN_A_ROW = 20
"""Requests that may run out of retries, with no answer in between, before the server counts as down."""
REJECTED_AT_START = 3
"""Requests that a server may reject before its first answer, until the recipe is held to be wrong."""
_ROOM = 1024
"""Answers that may wait to be taken before work pauses: memory stays flat."""
_POLL_S = 0.05
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to ask and how; the fields are those of the `openai` teacher."""

    identity: Identity
    """Its endpoint is the address that requests are posted to."""
    key: str = field(repr=False)
    key_env: str
    chat: bool
    extra: Mapping[str, Any]
    concurrency: int
    timeout_s: float
    max_retries: int

    @property
    def url(self) -> str:
        return self.identity.endpoint


class Client:
    """A completer. Each call of `complete` has its own loop, connections and count of failures."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def identity(self) -> Identity:
        return self._server.identity

    def close(self) -> None:
        """Nothing stays open between calls."""

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        """See `roles.Completer`. When the iterator is dropped, requests in flight are cancelled."""
        call = _Call(self._server, requests, sampling)
        thread = threading.Thread(target=call.run, name="understudy-teacher", daemon=True)
        thread.start()
        try:
            while (item := call.landed.get()) is not None:
                yield item
        finally:
            call.dropped.set()
            thread.join()
        if call.error:
            raise call.error


class _Call:
    """One call of `complete`. All but `landed`, `dropped` and `error` belongs to its own thread."""

    def __init__(self, server: Server, requests: Sequence[Request], sampling: Sampling) -> None:
        self.server = server
        self.requests = requests
        self.sampling = sampling
        self.landed: queue.Queue[tuple[int, Completion] | None] = queue.Queue()
        self.dropped = threading.Event()
        self.error: BaseException | None = None
        self.stop = asyncio.Event()
        self.answered = 0
        self.lost = 0
        self.rejected = 0
        self.grouped = True
        """Whether the server draws several samples for one request, until it is seen not to."""
        self.not_before = 0.0
        """No request is sent before this moment: one Retry-After holds for all of them."""

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # whatever it was, it is raised again in the caller's thread
            self.error = self.error or error
        finally:
            self.landed.put(None)

    async def _serve(self) -> None:
        jobs = iter(enumerate(self.requests))
        headers = {"Authorization": f"Bearer {self.server.key}"} if self.server.key else {}
        async with aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self.server.timeout_s, sock_connect=CONNECT_S),
            connector=aiohttp.TCPConnector(limit=self.server.concurrency),
            trust_env=urlsplit(self.server.url).hostname not in _LOCAL,
        ) as http:
            workers = min(self.server.concurrency, len(self.requests))
            pending = {asyncio.create_task(self._work(http, jobs)) for _ in range(workers)}
            while pending:
                done, pending = await asyncio.wait(pending, timeout=_POLL_S)
                for task in done:
                    task.result()
                if self.dropped.is_set():
                    for task in pending:
                        task.cancel()
                    await asyncio.gather(*pending, return_exceptions=True)
                    return

    async def _work(self, http: aiohttp.ClientSession, jobs: Iterator[tuple[int, Request]]) -> None:
        """Take the next request until there is none, or until any worker finds the set-up broken.

        Requests then in flight are still waited for, because they are paid for."""
        for position, request in jobs:
            if self.stop.is_set():
                return
            try:
                await self._answer(http, position, request)
            except TeacherError as error:
                self.error = self.error or error
                self.stop.set()

    async def _answer(self, http: aiohttp.ClientSession, position: int, request: Request) -> None:
        """Get every sample of one request: together where the server can, else one by one."""
        rest = request.samples
        while rest and not self.stop.is_set():
            group = rest if self.grouped else rest[:1]
            got = await self._ask(http, request, group)
            self.grouped = self.grouped and len(got) == len(group)
            for completion in got:
                await self._land(position, completion)
            rest = rest[len(got) :]

    async def _land(self, position: int, completion: Completion) -> None:
        while self.landed.qsize() >= _ROOM:
            await asyncio.sleep(_POLL_S)
        self.landed.put((position, completion))

    async def _ask(
        self, http: aiohttp.ClientSession, request: Request, samples: Sequence[int]
    ) -> list[Completion]:
        """One request with its retries. Fewer completions than samples are a server's habit; none at
        all, that it rejects several samples in one request, or that the run is being stopped."""
        body = _wire.body(
            self.server.identity.model, request, samples, self.sampling, self.server.chat, self.server.extra
        )
        before, tries = self.answered, 0
        while True:
            reply = await self._post(http, body, request, samples)
            if not isinstance(reply, Fault):
                self.answered += 1
                self.lost = 0
                return reply
            if reply.kind not in ("retry", "refused"):
                return self._final(reply, request, samples)
            tries += 1
            if tries >= self._tries(reply):
                return self._give_up(reply, tries, before, request, samples)
            await self._pause(tries, reply)
            if self.stop.is_set():
                return []

    def _tries(self, fault: Fault) -> int:
        tries = 1 + self.server.max_retries
        absent = fault.kind == "refused" and self.answered == 0
        return min(tries, TRIES_AT_START) if absent else tries

    def _give_up(
        self, fault: Fault, tries: int, before: int, request: Request, samples: Sequence[int]
    ) -> list[Completion]:
        """`before` is how many answers had come when this request was first sent."""
        if fault.kind == "refused" and self.answered == before:
            raise down(self.server.identity, "cannot be reached", fault.detail, self.answered)
        self.lost += 1
        if self.lost >= LOST_IN_A_ROW:
            last = f"{self.lost} requests in a row, the last: {fault.detail}"
            raise down(self.server.identity, "keeps failing", last, self.answered)
        return _failed(request, samples, f"{UNANSWERED}: {fault.detail} (tries: {tries})")

    async def _post(
        self,
        http: aiohttp.ClientSession,
        body: dict[str, object],
        request: Request,
        samples: Sequence[int],
    ) -> list[Completion] | Fault:
        await self._sleep(self.not_before - time.monotonic())
        try:
            async with http.post(self.server.url, json=body, allow_redirects=False) as response:
                text = (await response.read()).decode("utf-8", "replace")
                # A server may echo what it was sent; the key must reach neither file nor message.
                text = text.replace(self.server.key, "***") if self.server.key else text
                return _wire.read(response.status, response.headers, text, request, samples)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Fault("refused", str(error))
        except TimeoutError:
            return Fault("retry", f"no reply within {self.server.timeout_s:g} s")
        except aiohttp.ClientError as error:
            return Fault("retry", f"the connection broke ({type(error).__name__}: {error})")

    async def _pause(self, tries: int, fault: Fault) -> None:
        """Wait longer each time, by a random part so that requests do not come back all at once."""
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tries - 1))
        delay = longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        if fault.wait_s:
            told = min(fault.wait_s, LONGEST_RETRY_AFTER_S)
            self.not_before = max(self.not_before, time.monotonic() + told)
        await self._sleep(delay)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but wake when the run is being stopped."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return

    def _final(self, fault: Fault, request: Request, samples: Sequence[int]) -> list[Completion]:
        """What to make of an error that no retry mends: a record, or the end of the run."""
        server = self.server
        if fault.kind == "content_filter":
            return _failed(request, samples, f"content filter: {fault.detail}")
        if fault.kind == "too_long":
            return _failed(request, samples, f"context too long: {fault.detail}")
        refused = refusal(fault, server.identity, server.key_env, bool(server.key))
        if refused:
            raise refused
        if len(samples) > 1:
            return []
        self.rejected += 1
        if self.answered == 0 and self.rejected >= REJECTED_AT_START:
            raise rejected(fault, server.identity)
        return _failed(request, samples, f"{UNANSWERED}: {fault.detail}")


def _failed(request: Request, samples: Sequence[int], error: str) -> list[Completion]:
    return [Completion(request.question.id, sample, "", "error", error=error) for sample in samples]
