"""The workers of `engine: ray` as the driver sees them: started, waited for, and replaced when they are lost.

Ray restarts nothing here: a restarted actor would be given the same requests again without end, while a
replaced one gets what the driver decides. The catch: whether a worker was lost by its own fault or by that of
its machine is not to be told, so both count the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.engines._ray_worker import Worker
from understudy.errors import TeacherError
from understudy.roles import Identity, Landed, Teacher
from understudy.types import Request, Sampling

LOSSES = 3
"""How often each worker may be lost with no answer in between, and how often while it holds one request."""
PLACE_S = 300.0
"""Seconds in which the cluster must find a place for a first worker."""
LEAVE_S = 15.0
_SHOWN = 300
_ENVIRONMENT = {"RAY_kill_child_processes_on_worker_exit": "0"}
"""Ray would kill the children of a worker that it ends, such as the guard of a server that the teacher has
started, but not the server, which would keep its GPU. Left alone, the guard sees to the end of both."""


@dataclass(slots=True)
class Job:
    """A request on its way."""

    position: int
    request: Request
    """Cut down, after a loss, to the samples that are left."""
    left: set[int]
    """Samples that are not answered yet."""
    losses: int = 0
    """Workers that were lost while they held it."""


@dataclass(slots=True, eq=False)
class Hand:
    """One worker. `last` is what it was told to do last and has not come back from."""

    actor: Any
    placed: Any
    last: Any
    ready: bool = False
    """It has built its teacher."""
    held: dict[int, Job] = field(default_factory=dict)
    """What it was asked and has not answered, by position."""

    def settle(self, position: int, sample: int) -> None:
        job = self.held.get(position)
        if job:  # one that was never asked for is told on by the ledger
            job.left.discard(sample)
            if not job.left:
                del self.held[position]


@dataclass(frozen=True, slots=True)
class Back:
    """What a worker came back with."""

    hand: Hand
    landed: Sequence[Landed] = ()
    error: Exception | None = None
    lost: bool = False


class Pool:
    """As many workers as were asked for, or as many of them as the cluster has a place for."""

    def __init__(
        self, ray: Any, teacher: Teacher, model: Path | None, actors: int, cpus: float, gpus: float
    ) -> None:
        """`ray` is the module, connected; `cpus` and `gpus` are those of each actor.

        Raises TeacherError when no worker can be placed, or the first cannot build the teacher.
        """
        self.actors = actors
        self._ray = ray
        self._teacher = teacher
        self._model = model
        self._needs = {"CPU": cpus, "GPU": gpus}
        self._kind = ray.remote(Worker).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {**_ENVIRONMENT, "OMP_NUM_THREADS": str(max(1, int(cpus)))}},
        )
        self._hands: list[Hand] = []
        self._fruitless = 0
        """Workers that were lost since the last answer of any."""
        self._identity: Identity | None = None
        try:
            self.identity = self._first()
        except BaseException:
            self.close()
            raise

    def muster(self) -> None:
        """Start as many workers as are missing."""
        while len(self._hands) < self.actors:
            actor = self._kind.remote()
            placed = actor.here.remote()
            self._hands.append(Hand(actor, placed, actor.enter.remote(self._teacher, self._model)))

    def idle(self) -> list[Hand]:
        """Workers that wait for something to do, those that hold the least first."""
        return sorted((h for h in self._hands if h.ready and h.last is None), key=lambda h: len(h.held))

    def held(self) -> int:
        """Requests that workers hold."""
        return sum(len(hand.held) for hand in self._hands)

    def work(self, hand: Hand, sampling: Sampling, fresh: Sequence[Job]) -> None:
        """Hand a worker something more to do, and have it say what has landed."""
        hand.held.update((job.position, job) for job in fresh)
        hand.last = hand.actor.work.remote(sampling, [(job.position, job.request) for job in fresh])

    def returned(self) -> list[Back]:
        """Wait until a worker comes back; what all have that are back by then. A lost one is replaced."""
        waiting = {hand.last: hand for hand in self._hands if hand.last is not None}
        while True:
            first, rest = self._ray.wait(list(waiting), timeout=PLACE_S)
            if first:
                break
            self._check_places()
        if rest:
            first += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        backs = [self._back(waiting[reference]) for reference in first]
        self.muster()
        return backs

    def drop(self) -> None:
        """Nobody wants what is still held: stop those who work on it."""
        for hand in [hand for hand in self._hands if hand.held]:
            self._remove(hand)

    def close(self) -> None:
        """Let every teacher close what it has open, then end all workers."""
        if not self._ray.is_initialized():
            return
        leaving = [hand.actor.leave.remote() for hand in self._hands if hand.ready and hand.last is None]
        if leaving:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE_S)
        for hand in list(self._hands):
            self._remove(hand)

    def _first(self) -> Identity:
        """Start all workers; who the first to be ready says it is."""
        self.muster()
        while True:
            for back in self.returned():
                if back.error:
                    raise back.error
                if self._identity:
                    return self._identity

    def _back(self, hand: Hand) -> Back:
        from ray.exceptions import RayError, RayTaskError

        reference, hand.last = hand.last, None
        try:
            got = self._ray.get(reference)
        except RayTaskError as error:
            if not hand.ready:
                self._remove(hand)
            error.cause.__cause__ = error  # for those who mend a mistake: it happened elsewhere
            return Back(hand, error=error.cause)
        except RayError as error:
            return self._lost(hand, str(error))
        if not hand.ready:
            return self._entered(hand, got)
        self._fruitless = 0 if got else self._fruitless
        return Back(hand, got)

    def _entered(self, hand: Hand, identity: Identity) -> Back:
        hand.ready = True
        first = self._identity = self._identity or identity
        if identity == first:
            return Back(hand)
        error = TeacherError(
            f"the machines of the cluster hold different versions of the teacher {identity.model} "
            f"({first.revision or 'none'} and {identity.revision or 'none'}): pin teacher.revision, or give "
            "all of them the same files"
        )
        return Back(hand, error=error)

    def _lost(self, hand: Hand, why: str) -> Back:
        self._remove(hand)
        self._fruitless += 1
        if self._fruitless < LOSSES * self.actors:
            return Back(hand, lost=True)
        words = " ".join(why.split())
        error = TeacherError(
            f"{self._fruitless} workers of the cluster were lost with no answer between them: look for the "
            "reason there (too little memory, another version of understudy, a library that is missing) and "
            f"run again ({words[:_SHOWN]})"
        )
        return Back(hand, error=error, lost=True)

    def _remove(self, hand: Hand) -> None:
        self._hands.remove(hand)
        self._ray.kill(hand.actor)

    def _check_places(self) -> None:
        """Raise TeacherError if no worker has a place yet."""
        if any(hand.ready for hand in self._hands):
            return
        if not self._ray.wait([hand.placed for hand in self._hands], timeout=0)[0]:
            has = self._ray.cluster_resources()
            raise TeacherError(
                f"the cluster had no place for a worker in {PLACE_S:g} s: each wants {_listed(self._needs)}, "
                f"and there are {_listed(has)} in all; lower ray.cpus_per_actor or ray.gpus_per_actor, or "
                "add machines"
            )


def _listed(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{resources.get(unit, 0):g} {unit}s" for unit in ("CPU", "GPU"))
