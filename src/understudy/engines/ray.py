"""Annotation on many machines: any teacher of the shelf in the actors of a Ray cluster, one ledger here.

    spread(teacher, None, RaySpec(actors=4, gpus_per_actor=1))

gives a completer that stands in front of one teacher in each actor and is asked like it. Answers come back as
they land, so a killed driver or a lost worker loses no more than was in flight there.

It stands on Ray's actors and not on Ray Data, which wants its input whole or from tasks of its own, while the
ledger feeds a stream; which asks for a whole batch again when an actor is lost; and which does so without end
(Ray 2.60: `from_items`, and `max_restarts` and `max_task_retries` of its actor pools). The catch: every actor
keeps the teacher's limits for itself, so four actors ask four times `concurrency`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from understudy.engines._ray_call import Call
from understudy.engines._ray_pool import Pool
from understudy.errors import TeacherError
from understudy.roles import Completer, Identity, Landed, Spec, Teacher
from understudy.types import Request, Sampling

__all__ = ["RaySpec", "spread"]

_ALONE = "local"
"""Ray's word for a cluster of this machine that is started here."""
_STORE_BYTES = 256 << 20
"""Shared memory of a cluster of our own: Ray would take a third of the machine's, and we pass only text."""


class RaySpec(Spec):
    """Where the actors run, and what each gets."""

    address: str | None = None
    """The cluster, "auto" for one that runs on this machine. When absent, the variable RAY_ADDRESS, which Ray
    sets for its jobs, or else a cluster of this machine alone that is started and ended with the step."""
    actors: int = Field(2, gt=0)
    cpus_per_actor: float = Field(1, ge=0)
    gpus_per_actor: float = Field(0, ge=0)
    """As many as one copy of the teacher takes; no other GPU is visible to it."""
    batch: int = Field(2048, gt=0)
    """Requests that an actor holds at once, asked or about to be. A teacher behind HTTP reads five times its
    `concurrency` ahead; with less it has short pauses. Students get one batch of theirs at a time instead."""


def spread(teacher: Teacher, model: Path | None, spec: RaySpec) -> Completer:
    """The teacher on many machines; `model` is as in `Teacher.build`. Waits until a first actor is ready.

    Raises TeacherError when there is no Ray, no cluster, no room in it, or the teacher cannot be built there.
    """
    ray, ours = connected(spec)
    try:
        pool = Pool(ray, teacher, model, spec.actors, spec.cpus_per_actor, spec.gpus_per_actor)
    except BaseException:
        if ours:
            ray.shutdown()
        raise
    return _Spread(ray, ours, pool, spec.batch)


class _Spread:
    def __init__(self, ray: Any, ours: bool, pool: Pool, batch: int) -> None:
        self._ray = ray
        self._ours = ours
        self._pool = pool
        self._batch = batch

    @property
    def identity(self) -> Identity:
        """Who the teacher in the actors says it is."""
        return self._pool.identity

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """See `roles.Completer`. When the iterator is dropped, actors that hold requests are ended."""
        return Call(self._pool, requests, sampling, self._batch).run()

    def close(self) -> None:
        """End the actors, and the cluster if it was started for them."""
        self._pool.close()
        if self._ours:
            self._ray.shutdown()


def connected(spec: RaySpec) -> tuple[Any, bool]:
    """Ray's module, connected to a cluster, and whether we made that connection, or that cluster."""
    try:
        import ray
    except ImportError as error:
        raise TeacherError("work on many machines needs Ray: pip install 'understudy[ray]'") from error
    if ray.is_initialized():
        return ray, False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no report to anybody about what is run here
    address = spec.address or os.environ.get("RAY_ADDRESS") or _ALONE
    alone = {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if address == _ALONE else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise TeacherError(
            f"no Ray cluster can be reached at '{address}' ({error}): start one with `ray start --head`, "
            "correct ray.address, or leave it out to use this machine alone"
        ) from error
    if address == _ALONE:
        _check_room(ray, spec)
    return ray, True


def _check_room(ray: Any, spec: RaySpec) -> None:
    """Raise TeacherError if this machine has no room for all actors: unlike a cluster, it will not grow."""
    has = ray.cluster_resources()
    for unit, each in (("CPU", spec.cpus_per_actor), ("GPU", spec.gpus_per_actor)):
        if spec.actors * each > has.get(unit, 0):
            ray.shutdown()
            raise TeacherError(
                f"{spec.actors} actors with {each:g} {unit}s each want more than the {has.get(unit, 0):g} of "
                f"this machine: lower ray.actors or ray.{unit.lower()}s_per_actor"
            )
