"""One stream of requests on its way through a server: what is sent when, and what becomes of each reply.

Requests are sent in their order, and what must be sent again goes before what is new, so early questions
finish first. A request that waits for its next attempt holds no place in flight. The catch is telling a bad
answer, which is data, from a bad set-up, which must stop the run. A wrong key or model stops it at once. A
failure that might be one question's own fault is recorded for that question, and stops the run only when
others fail the same way with no answer between.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from dataclasses import dataclass, field, replace

from understudy.ledger import UNANSWERED
from understudy.roles import Identity
from understudy.teachers._bridge import Bridge
from understudy.teachers._endpoints import Endpoint, Endpoints
from understudy.teachers._faults import PASSING, Fault
from understudy.teachers._http import Http
from understudy.teachers._pace import Budget
from understudy.teachers._refusals import down, refusal, rejected
from understudy.teachers._server import Server
from understudy.types import Completion, Request, Sampling

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
TRIES_AT_START = 4
"""Attempts to reach a server that has never answered: it is more likely absent than busy."""
LOST_IN_A_ROW = 20
"""Requests that may run out of retries, with no answer in between, before the server counts as down."""
REJECTED_AT_START = 3
"""Requests that a server may reject before its first answer, until the recipe is held to be wrong."""
PARKED = 16
"""Requests that may wait for another attempt before no new one is begun, as a multiple of `concurrency`."""
_LETTERS_PER_TOKEN = 4


@dataclass(slots=True, order=True)
class Job:
    """A request on its way, ordered by its place in the stream."""

    position: int
    request: Request = field(compare=False)
    rest: tuple[int, ...] = field(compare=False)
    """Samples that are not answered yet. The fields below are about the next group of them."""
    attempts: int = field(default=0, compare=False)
    tries: int = field(default=0, compare=False)
    """Attempts that count against `max_retries`."""
    started: float = field(default=0.0, compare=False)
    """When it was first sent."""
    answered: int = field(default=0, compare=False)
    """How many answers to anyone had come when it was first sent."""
    tokens: float = field(default=0.0, compare=False)
    """What the last attempt was estimated to use."""
    last: Endpoint | None = field(default=None, compare=False)


class Call:
    """Everything but `error` belongs to the loop's thread."""

    def __init__(self, server: Server, sampling: Sampling, bridge: Bridge) -> None:
        now = time.monotonic()
        self.error: BaseException | None = None
        self._server = server
        self._sampling = sampling
        self._bridge = bridge
        self._endpoints = Endpoints(server.urls, server.concurrency, now)
        self._budget = Budget(server.requests_per_minute, server.tokens_per_minute, now)
        self._ready: list[Job] = []
        """A heap of what may be sent now: a request that comes back stands before all that is new."""
        self._parked = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopping = False
        self._over = asyncio.Event()
        self._grouped = server.dialect.several
        """Whether the server draws several samples for one request, until it is seen not to."""
        self._length = float(sampling.max_tokens)
        """Tokens that an answer is expected to have."""
        self._answered = 0
        self._lost = 0
        self._rejected = 0
        bridge.on_supply = self._fill

    async def serve(self) -> None:
        """Until the stream is answered, the set-up is found broken or the call is dropped."""
        async with Http(self._server, self._sampling) as self._http:
            self._fill()
            await self._over.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Nobody wants the rest: cancel what is in flight."""
        self._stopping = True
        self._over.set()

    def _stop(self, error: BaseException) -> None:
        """Send nothing more. What is in flight is still waited for, because it is paid for."""
        self.error = self.error or error
        self._stopping = True

    # ------------------------------------------------------------ what is sent when

    def _fill(self) -> None:
        """Put as many requests in flight as there are, and as are allowed."""
        while taken := self._take():
            task = asyncio.get_running_loop().create_task(self._work(*taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._endpoints.in_flight == 0 and (self._stopping or self._through()):
            self._over.set()

    def _through(self) -> bool:
        return self._bridge.exhausted and not (self._bridge.inbox or self._ready or self._parked)

    async def _work(self, job: Job, endpoint: Endpoint) -> None:
        """One attempt after the other, as long as one may be made."""
        taken: tuple[Job, Endpoint] | None = (job, endpoint)
        while taken:
            try:
                await self._attempt(*taken)
            except Exception as error:
                self._stop(error)
            taken = self._take()
            self._fill()

    def _take(self) -> tuple[Job, Endpoint] | None:
        """The next request and who is to answer it, counted as in flight; None if none may be sent now."""
        if self._stopping or not (self._ready or self._read()):
            return None
        job, now = self._ready[0], time.monotonic()
        endpoint = self._endpoints.choose(now, job.last)
        if not isinstance(endpoint, Endpoint):
            self._look_again(endpoint)
            return None
        tokens = self._estimate(job)
        wait = self._budget.wait(tokens, now)
        if wait > 0:
            self._look_again(wait)
            return None
        heapq.heappop(self._ready)
        job.tokens = tokens
        self._budget.take(tokens)
        endpoint.sent(tokens)
        return job, endpoint

    def _read(self) -> bool:
        """Take a new request off the stream, unless too many wait for another attempt or to be kept."""
        if self._parked >= PARKED * self._server.concurrency or self._bridge.full:
            return False
        if not self._bridge.inbox:
            self._bridge.starve()
            return False
        position, request = self._bridge.inbox.popleft()
        heapq.heappush(self._ready, Job(position, request, request.samples))
        return True

    def _look_again(self, wait: float | None) -> None:
        """Call `_fill` after `wait` seconds; None waits for something else to happen."""
        if wait is None:
            return
        loop = asyncio.get_running_loop()
        if self._alarm and not self._alarm.cancelled() and self._alarm.when() > loop.time():
            if self._alarm.when() <= loop.time() + wait:
                return
            self._alarm.cancel()
        self._alarm = loop.call_later(wait, self._fill)

    def _estimate(self, job: Job) -> float:
        letters = sum(len(message.content) for message in job.request.messages)
        return letters / _LETTERS_PER_TOKEN + self._length * len(self._group(job))

    def _group(self, job: Job) -> tuple[int, ...]:
        """The samples that the next attempt asks for: all that are left, where the server can do that."""
        return job.rest if self._grouped else job.rest[:1]

    # ------------------------------------------------------------ what becomes of it

    async def _attempt(self, job: Job, endpoint: Endpoint) -> None:
        group, answered, sent = self._group(job), self._answered, time.monotonic()
        if not job.attempts:
            job.started, job.answered = sent, answered
        job.attempts += 1
        left = max(1.0, self._server.total_timeout_s - (sent - job.started))
        try:
            reply, headers = await self._http.post(endpoint.url, job.request, group, left)
        finally:
            endpoint.in_flight -= 1
        now = time.monotonic()
        endpoint.heard(headers, now)
        if not isinstance(reply, Fault):
            endpoint.answered()
            self._landed(job, group, reply, now)
        elif reply.kind in PASSING:
            job.last = endpoint
            elsewhere = self._endpoints.failed(endpoint, reply, sent, now)
            # While others are worked on, a request that comes too early has only to wait for its turn.
            others = self._answered > answered or endpoint.in_flight > 0
            early = reply.kind == "limited" and others
            job.tries += not (elsewhere or early)
            self._again(job, reply, now, elsewhere)
        else:
            self._refused(job, group, reply, replace(self._server.identity, endpoint=endpoint.url))

    def _landed(self, job: Job, group: tuple[int, ...], got: list[Completion], now: float) -> None:
        self._answered += 1
        self._lost = 0
        self._grouped = self._grouped and len(got) == len(group)
        for said in got:
            self._length += 0.1 * (said.completion_tokens - self._length)
        used = sum(said.prompt_tokens + said.completion_tokens for said in got)
        self._budget.correct(used - job.tokens if used else 0.0)
        self._land(job, got, now)

    def _land(self, job: Job, got: list[Completion], now: float) -> None:
        """Hand over some of the samples; the others are asked for next."""
        took = now - job.started
        reply = [(job.position, replace(said, latency_s=took, attempts=job.attempts)) for said in got]
        if reply:
            self._bridge.land(reply)
        job.rest = job.rest[len(got) :]
        if job.rest:
            job.attempts = job.tries = 0
            heapq.heappush(self._ready, job)

    def _again(self, job: Job, fault: Fault, now: float, elsewhere: bool) -> None:
        """Send it again: to another endpoint at once, else when the server says so, or else later each time
        and by a random part so that not all come back together."""
        tries = 1 + self._server.max_retries
        if fault.kind == "refused" and self._answered == 0:
            tries = min(tries, TRIES_AT_START)
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(job.attempts - 1, 20))
        delay = fault.wait_s or longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        late = not elsewhere and now + delay - job.started >= self._server.total_timeout_s
        if job.tries >= tries or late:
            self._give_up(job, fault, now)
        elif elsewhere or fault.wait_s:  # the endpoint itself knows until when it takes nothing
            heapq.heappush(self._ready, job)
        else:
            self._parked += 1
            asyncio.get_running_loop().call_later(delay, self._due, job)

    def _due(self, job: Job) -> None:
        self._parked -= 1
        heapq.heappush(self._ready, job)
        self._fill()

    def _give_up(self, job: Job, fault: Fault, now: float) -> None:
        address = job.last.url if job.last else self._server.identity.endpoint
        asked = replace(self._server.identity, endpoint=address)
        if fault.kind == "refused" and self._answered == job.answered:
            raise down(asked, "cannot be reached", fault.detail, self._answered)
        self._lost += 1
        if self._lost >= LOST_IN_A_ROW:
            last = f"{self._lost} requests in a row, the last: {fault.detail}"
            raise down(asked, "keeps failing", last, self._answered)
        error = f"{UNANSWERED}: {fault.detail} (attempts: {job.attempts})"
        self._land(job, _failed(job, job.rest, error, fault), now)

    def _refused(self, job: Job, group: tuple[int, ...], fault: Fault, asked: Identity) -> None:
        """What to make of an error that no retry mends: a record, or the end of the run."""
        now = time.monotonic()
        if fault.kind == "content_filter":
            return self._land(job, _failed(job, group, f"content filter: {fault.detail}", fault), now)
        if fault.kind == "too_long":
            return self._land(job, _failed(job, job.rest, f"context too long: {fault.detail}", fault), now)
        error = refusal(fault, asked, self._server.key_env, bool(self._server.key))
        if error:
            raise error
        if len(group) > 1:  # it may be the number of samples that the server does not take
            self._grouped = False
            heapq.heappush(self._ready, job)
            return None
        self._rejected += 1
        if self._answered == 0 and self._rejected >= REJECTED_AT_START:
            raise rejected(fault, asked)
        return self._land(job, _failed(job, group, f"{UNANSWERED}: {fault.detail}", fault), now)


def _failed(job: Job, samples: tuple[int, ...], error: str, fault: Fault) -> list[Completion]:
    return [
        Completion(job.request.question.id, sample, "", "error", error=error, raw=fault.raw)
        for sample in samples
    ]
