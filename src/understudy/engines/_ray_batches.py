"""One window of batches on its way through the workers: whole batches go out, whole batches come back.

What a student writes may depend, in the last bits of its log-probabilities and in what is drawn, on which
texts share a batch. So the driver packs the batches that one process would pack, a worker holds one at a
time, and a lost one is written again as it was. Unlike a teacher's request, a batch that ends three workers
ends the step: an answer that is left out would count as wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from understudy.engines._ray_pool import LOSSES, Back, Job, Pool
from understudy.errors import TrainingError
from understudy.roles import Landed
from understudy.types import Sampling

Batch = Sequence[Job]
"""Requests that are written together; no position comes twice."""


class Batches:
    def __init__(self, pool: Pool, batches: Iterable[Batch], sampling: Sampling) -> None:
        self._pool = pool
        self._waiting = deque(batches)
        self._sampling = sampling
        self._error: Exception | None = None
        """Ends the call: nothing more is handed out; what is being written is waited for."""

    def run(self) -> Iterator[Sequence[Landed]]:
        """What has landed, a batch at a time, in any order."""
        self._pool.muster()
        try:
            self._hand_out()
            while self._pool.held() or (self._waiting and not self._error):
                for back in self._pool.returned():
                    self._take(back)
                    if back.landed:
                        yield back.landed
                self._hand_out()
        finally:
            self._pool.drop()
        if self._error:
            raise self._error

    def _hand_out(self) -> None:
        """Give every worker that waits a batch, or have it say the rest of the one that it holds."""
        for hand in self._pool.idle():
            fresh: Batch = ()
            if not hand.held and self._waiting and not self._error:
                fresh = self._waiting.popleft()
            if fresh or hand.held:
                self._pool.work(hand, self._sampling, fresh)

    def _take(self, back: Back) -> None:
        for position, said in back.landed:
            back.hand.settle(position, said.sample)
        self._error = self._error or back.error
        held = list(back.hand.held.values())
        if back.lost:
            if held:
                self._again(held)
        elif back.error:
            back.hand.held.clear()
        elif held and not back.landed:
            back.hand.held.clear()
            self._error = self._error or TrainingError(
                "an actor ended without writing all that it was asked; look for the reason in its log"
            )

    def _again(self, batch: Batch) -> None:
        for job in batch:
            job.losses += 1
        if batch[0].losses >= LOSSES:
            self._error = self._error or TrainingError(
                f"{LOSSES} actors were lost while they wrote one batch of {len(batch)} texts: give them more "
                "memory, or lower evaluate.batch_tokens"
            )
        self._waiting.appendleft(batch)
