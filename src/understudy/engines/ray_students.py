"""Evaluation on many machines: a step's trained students in every actor of a Ray cluster, one ledger here.

    many = spread_students({"answer": Copy(...)}, {"answer": here}, 16384, RaySpec(actors=4))

gives for each stage a completer that is asked like the student in this process. An actor holds the students
of all stages, so that none waits for another's part. Batches are packed here, see `_ray_batches`; with the
same library versions, kind of processor and number of threads the answers are those of one process, bit by
bit. Engines are measured here, once, and actors trust that. The catch: an actor reads the weights from the
folder of the run, so all machines must see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from understudy import shelves
from understudy.engines._ray_batches import Batch, Batches
from understudy.engines._ray_pool import Job, Pool
from understudy.engines.ray import RaySpec, connected
from understudy.generators.trusted import Measured, trusted
from understudy.roles import Apprenticeship, Completer, Identity, Landed, LiveStudent, Teacher
from understudy.streams import windows
from understudy.students._completer import Row, StudentCompleter, packed, rows_of
from understudy.types import Message, Request, Sampling

__all__ = ["Copy", "Here", "spread_students"]

Count = Callable[[Sequence[str]], list[int]]
"""How many tokens each text has."""
Here = tuple[Identity, Count]
"""Of a stage's student in this process: who it is to the ledger, and how it counts."""

_WHO = Identity("local", "trained students")


class Copy(BaseModel):
    """What an actor loads for one stage. Plain values, to be sent."""

    model_config = ConfigDict(frozen=True)

    student: dict[str, Any]
    """The student's entry of the recipe."""
    model: Path
    """The folder of the trained student, as the actor's machine sees it."""
    cache: Path
    measured: Measured


class Students(Teacher):
    """Trained students as what an actor builds. Each request begins with a message that names its stage."""

    name: Literal["students"] = "students"
    copies: dict[str, Copy]
    batch_tokens: int

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        return _WHO

    def build(self, model: Path | None) -> Completer:
        """Raises TrainingError where this machine does not run what was measured."""
        del model
        return _Together({stage: self._load(copy) for stage, copy in self.copies.items()})

    def _load(self, copy: Copy) -> StudentCompleter:
        student = shelves.load("students", str(copy.student["name"]))(**copy.student)
        live: LiveStudent = student.load(copy.model)
        writer = trusted(live, copy.model, copy.measured, copy.cache)
        return StudentCompleter(live, _WHO, self.batch_tokens, writer)


class _Together:
    """The far side: all that it is asked in one round is one batch of one stage."""

    identity = _WHO

    def __init__(self, students: Mapping[str, StudentCompleter]) -> None:
        self._students = students

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        batch = list(requests)
        bare = [replace(request, messages=request.messages[1:]) for request in batch]
        if batch:
            yield from self._students[batch[0].messages[0].content].complete(bare, sampling)

    def close(self) -> None:
        with ExitStack() as stack:
            for student in self._students.values():
                stack.callback(student.close)


class Spread:
    """The completers of all stages, which share the actors."""

    def __init__(self, ray: Any, ours: bool, pool: Pool, here: Mapping[str, Here], batch_tokens: int) -> None:
        self._ray = ray
        self._ours = ours
        self._pool = pool
        self.stages: dict[str, Completer] = {
            stage: _Stage(stage, who, count, batch_tokens, pool) for stage, (who, count) in here.items()
        }

    def close(self) -> None:
        """End the actors, and the cluster if it was started for them."""
        self._pool.close()
        if self._ours:
            self._ray.shutdown()


class _Stage:
    """The near side of one stage's student."""

    def __init__(self, stage: str, identity: Identity, count: Count, batch_tokens: int, pool: Pool) -> None:
        self.identity = identity
        self._address = Message("system", stage)
        self._count = count
        self._batch_tokens = batch_tokens
        self._pool = pool

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """See `roles.Completer`. When the iterator is dropped, actors that hold a batch are ended."""
        first = 0
        for window in windows(requests):
            rows = packed(rows_of(window, self._count), sampling.max_tokens, self._batch_tokens)
            batches = [self._batch(batch, window) for batch in rows]
            for landed in Batches(self._pool, batches, sampling).run():
                yield [(first + position, said) for position, said in landed]
            first += len(window)

    def _batch(self, rows: Sequence[Row], window: Sequence[Request]) -> Batch:
        """The samples of a request stand together in a batch, because they are equally long."""
        jobs = []
        for position, same in groupby(rows, key=lambda row: row[0]):
            samples = tuple(sample for _, sample, _ in same)
            messages = (self._address, *window[position].messages)
            request = Request(window[position].question, messages, samples)
            jobs.append(Job(position, request, set(samples)))
        return jobs

    def close(self) -> None:
        """The actors are shared: see `Spread.close`."""


def spread_students(
    copies: Mapping[str, Copy], here: Mapping[str, Here], batch_tokens: int, spec: RaySpec
) -> Spread:
    """The students of these stages on many machines. Waits until a first actor is ready.

    Raises TeacherError when there is no Ray, no cluster or no room in it, and TrainingError when the students
    cannot be loaded there, or would be run otherwise than they were measured.
    """
    ray, ours = connected(spec)
    try:
        sent = Students(copies=dict(copies), batch_tokens=batch_tokens)
        pool = Pool(ray, sent, None, spec.actors, spec.cpus_per_actor, spec.gpus_per_actor)
    except BaseException:
        if ours:
            ray.shutdown()
        raise
    return Spread(ray, ours, pool, here, batch_tokens)
