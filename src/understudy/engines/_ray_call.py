"""One stream of requests on its way through the workers: who is asked what, and what a lost one leaves open.

A worker holds up to `batch` requests and is handed more whenever it comes back with answers. Near the end of
the stream it holds no more than half its share of what is left, so that all end at about the same time. What
a lost worker held is asked again first, of whoever is free. A request that was held by two lost workers is
suspected of ending them: it waits until nothing else is left and is then asked alone, so that no other one
pays for it. The catch: such a request has by then cost two workers and what they had in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from understudy.engines._ray_pool import LOSSES, Back, Hand, Job, Pool
from understudy.errors import TeacherError
from understudy.ledger import UNANSWERED
from understudy.roles import Landed
from understudy.types import Completion, Request, Sampling

LEAST = 16
"""Requests that a worker may hold near the end, as long as they are no more than its whole share."""


class Call:
    def __init__(self, pool: Pool, requests: Iterable[Request], sampling: Sampling, batch: int) -> None:
        self._pool = pool
        self._stream = enumerate(requests)
        self._sampling = sampling
        self._batch = batch
        self._exhausted = False
        self._ready: deque[Job] = deque()
        """Read ahead, enough to share the last of a stream between all workers."""
        self._suspects: deque[Job] = deque()
        self._error: Exception | None = None
        """Ends the call: nothing more is handed out; what is held is waited for, because it is paid for."""

    def run(self) -> Iterator[Sequence[Landed]]:
        self._pool.muster()
        try:
            self._hand_out()
            while self._pool.held() or self._is_work_left():
                landed = [item for back in self._pool.returned() for item in self._take(back)]
                if landed:
                    yield landed  # and once it is kept, more may be asked
                self._hand_out()
        finally:
            self._pool.drop()
        if self._error:
            raise self._error

    # ------------------------------------------------------------ what goes out

    def _is_work_left(self) -> bool:
        return not self._error and bool(self._ready or self._suspects)

    def _hand_out(self) -> None:
        """Give every worker that waits something more to do."""
        self._read()
        most = self._most()
        for hand in self._pool.idle():
            fresh = [] if self._error else self._for(hand, most)
            if fresh or hand.held:
                self._pool.work(hand, self._sampling, fresh)

    def _read(self) -> None:
        if not self._exhausted and not self._error:
            wanted = self._pool.actors * self._batch - len(self._ready)
            fresh = list(islice(self._stream, max(0, wanted)))
            self._ready.extend(Job(at, request, set(request.samples)) for at, request in fresh)
            self._exhausted = len(fresh) < wanted

    def _most(self) -> int:
        """Requests that a worker may hold now."""
        if not self._exhausted:
            return self._batch
        left = len(self._ready) + self._pool.held()
        share = -(-left // self._pool.actors)
        return min(self._batch, max(share // 2, min(share, LEAST)))

    def _for(self, hand: Hand, most: int) -> list[Job]:
        if any(_is_suspect(job) for job in hand.held.values()):
            return []
        fresh = [self._ready.popleft() for _ in range(min(len(self._ready), most - len(hand.held)))]
        if not fresh and not hand.held and self._suspects:
            return [self._suspects.popleft()]
        return fresh

    # ------------------------------------------------------------ what comes back

    def _take(self, back: Back) -> Iterator[Landed]:
        for position, said in back.landed:
            back.hand.settle(position, said.sample)
            yield position, said
        self._error = self._error or back.error
        if back.lost:
            for job in reversed(back.hand.held.values()):
                yield from self._again(job)
        elif back.error:
            back.hand.held.clear()
        elif back.hand.held and not back.landed:
            back.hand.held.clear()
            self._error = self._error or TeacherError(
                "the teacher ended without answering all that it was asked; mend its completer"
            )

    def _again(self, job: Job) -> Iterator[Landed]:
        """Ask again for what is left of a request whose worker was lost, unless it was lost too often."""
        job.losses += 1
        samples = tuple(sample for sample in job.request.samples if sample in job.left)
        job.request = replace(job.request, samples=samples)
        if job.losses >= LOSSES:
            error = f"{UNANSWERED}: its worker was lost {job.losses} times"
            for sample in samples:
                yield job.position, Completion(job.request.question.id, sample, "", "error", error=error)
        elif _is_suspect(job):
            self._suspects.append(job)
        else:
            self._ready.appendleft(job)


def _is_suspect(job: Job) -> bool:
    return job.losses == LOSSES - 1
