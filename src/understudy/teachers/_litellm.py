"""The live side of the `litellm` teacher: `litellm.acompletion` for every request, and its errors understood.

What litellm makes of a reply has the form of OpenAI's, so it is read by the same reader, and its errors carry
a status, so they are judged by the same rules. The catch: litellm finds keys in the environment by itself, so
every value there that is named like a key is cut out of what it says.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from understudy.ledger import UNANSWERED
from understudy.roles import Identity, Landed
from understudy.teachers._bridge import Bridge
from understudy.teachers._faults import PASSING, Fault, fault
from understudy.teachers._refusals import down, refusal, rejected
from understudy.teachers._secret import cutter
from understudy.teachers._wire import OpenAIDialect
from understudy.types import Completion, Request, Sampling

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
LONGEST_RETRY_AFTER_S = 900.0
LOST_IN_A_ROW = 20
"""Requests that may run out of retries, with no answer in between, before the provider counts as down."""
REJECTED_AT_START = 3
"""Requests that may be rejected before the first answer, until the recipe is held to be wrong."""
_CODES = {
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
    "BudgetExceededError": "insufficient_quota",
}
"""What a class of litellm's says more than its status does."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom to ask and how; the fields are those of the `litellm` teacher."""

    identity: Identity
    ask: Callable[..., Awaitable[Any]]
    """`litellm.acompletion`."""
    settings: Mapping[str, Any]
    """What litellm is told besides the question: model, address, key, time."""
    key_env: str
    dialect: OpenAIDialect
    concurrency: int
    max_retries: int


class LiteLLMClient:
    """A completer. Each call of `complete` has its own loop and count of failures."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @property
    def identity(self) -> Identity:
        return self._provider.identity

    def close(self) -> None:
        """Nothing stays open between calls."""

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """See `roles.Completer`. When the iterator is dropped, requests in flight are cancelled."""
        stream = iter(requests)
        first = next(stream, None)
        if first is None:
            return
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        bridge = Bridge(chain([first], stream), self._provider.concurrency, runner.get_loop())
        call = _Call(self._provider, sampling, bridge)
        thread = threading.Thread(target=call.run, args=(runner,), name="understudy-litellm", daemon=True)
        thread.start()
        try:
            bridge.feed()
            yield from bridge.batches()
        finally:
            bridge.tell(call.drop)
            thread.join()
        if call.error:
            raise call.error


class _Call:
    """One call of `complete`. All but `error` belongs to the loop's thread."""

    def __init__(self, provider: Provider, sampling: Sampling, bridge: Bridge) -> None:
        self.error: BaseException | None = None
        self._provider = provider
        self._sampling = sampling
        self._bridge = bridge
        self._cut = _all_keys(os.environ)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._over = asyncio.Event()
        self._grouped = True
        self._answered = 0
        self._lost = 0
        self._rejected = 0
        bridge.on_supply = self._fill

    def run(self, runner: asyncio.Runner) -> None:
        """The thread: whatever goes wrong in it is raised again in the caller's."""
        try:
            with runner:
                runner.run(self._serve())
        except BaseException as error:
            self.error = self.error or error
        finally:
            self._bridge.end()

    def drop(self) -> None:
        """Nobody wants the rest: cancel what is in flight."""
        self._stopping = True
        self._over.set()

    async def _serve(self) -> None:
        self._fill()
        await self._over.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _fill(self) -> None:
        """Put as many requests in flight as there are and as may be."""
        while not (self._stopping or self._bridge.full) and len(self._tasks) < self._provider.concurrency:
            if not self._bridge.inbox:
                self._bridge.starve()
                break
            position, request = self._bridge.inbox.popleft()
            task = asyncio.get_running_loop().create_task(self._work(position, request))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        if not self._tasks and (self._stopping or (self._bridge.exhausted and not self._bridge.inbox)):
            self._over.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._fill()

    async def _work(self, position: int, request: Request) -> None:
        """Every sample of one request. When the set-up is broken, what is in flight is still waited for."""
        rest = request.samples
        try:
            while rest and not self._stopping:
                group = rest if self._grouped else rest[:1]
                got = await self._ask(request, group)
                self._grouped = self._grouped and len(got) == len(group)
                if got:
                    self._bridge.land([(position, completion) for completion in got])
                rest = rest[len(got) :]
        except Exception as error:
            self.error = self.error or error
            self._stopping = True

    async def _ask(self, request: Request, group: Sequence[int]) -> list[Completion]:
        """One group with its retries. None at all: the provider does not take several samples at once."""
        clock = asyncio.get_running_loop().time
        began, attempts = clock(), 0
        while not self._stopping:
            attempts += 1
            reply = await self._post(request, group)
            if not isinstance(reply, Fault):
                self._answered += 1
                self._lost = 0
                took = clock() - began
                return [replace(said, latency_s=took, attempts=attempts) for said in reply]
            if reply.kind not in PASSING:
                return self._refused(reply, request, group)
            if attempts > self._provider.max_retries:
                return self._given_up(reply, attempts, request, group)
            await asyncio.sleep(_delay(attempts, reply))
        return []

    async def _post(self, request: Request, group: Sequence[int]) -> list[Completion] | Fault:
        dialect = self._provider.dialect
        body = dialect.body(request, group, self._sampling)
        try:
            reply = await self._provider.ask(**{**body, **self._provider.settings})
        except Exception as error:  # litellm's classes share no base
            return _fault(error, self._cut)
        return dialect.read(200, {}, self._cut(reply.model_dump_json()), request, group)

    def _given_up(
        self, fault: Fault, attempts: int, request: Request, group: Sequence[int]
    ) -> list[Completion]:
        self._lost += 1
        if self._lost >= LOST_IN_A_ROW:
            last = f"{self._lost} requests in a row, the last: {fault.detail}"
            raise down(self._provider.identity, "keeps failing", last, self._answered)
        return _failed(request, group, f"{UNANSWERED}: {fault.detail} (attempts: {attempts})", fault)

    def _refused(self, fault: Fault, request: Request, group: Sequence[int]) -> list[Completion]:
        """What to make of an error that no retry mends: a record, or the end of the run."""
        provider = self._provider
        if fault.kind == "content_filter":
            return _failed(request, group, f"content filter: {fault.detail}", fault)
        if fault.kind == "too_long":
            return _failed(request, group, f"context too long: {fault.detail}", fault)
        if error := refusal(fault, provider.identity, provider.key_env, "api_key" in provider.settings):
            raise error
        if len(group) > 1:
            return []
        self._rejected += 1
        if self._answered == 0 and self._rejected >= REJECTED_AT_START:
            raise rejected(fault, provider.identity)
        return _failed(request, group, f"{UNANSWERED}: {fault.detail}", fault)


def _fault(error: Exception, cut: Callable[[str], str]) -> Fault:
    """An error of litellm's, as if it were the reply that it was made from."""
    code = next((_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CODES), "")
    status = getattr(error, "status_code", None)
    headers = getattr(error, "litellm_response_headers", None) or {}
    text = json.dumps({"error": {"code": code, "message": cut(str(error))}})
    return fault(status if isinstance(status, int) else 500, headers, text)


def _delay(attempts: int, fault: Fault) -> float:
    """Longer each time, and by a random part so that requests do not come back all at once."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempts - 1))
    return max(longest * random.uniform(0.5, 1.0), min(fault.wait_s, LONGEST_RETRY_AFTER_S))  # noqa: S311


def _failed(request: Request, samples: Sequence[int], error: str, fault: Fault) -> list[Completion]:
    return [
        Completion(request.question.id, sample, "", "error", error=error, raw=fault.raw) for sample in samples
    ]


def _all_keys(environment: Mapping[str, str]) -> Callable[[str], str]:
    """Cuts out every value of a variable that is named like a key."""
    cuts = [
        cutter(value.strip())
        for name, value in environment.items()
        if _SECRET.search(name.upper()) and len(value.strip()) >= _SHORTEST_SECRET
    ]

    def cut(text: str) -> str:
        for one in cuts:
            text = one(text)
        return text

    return cut
