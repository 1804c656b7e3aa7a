"""The contracts of a teacher and of the completer that it builds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from understudy.roles.spec import Spec
from understudy.types import Completion, Request, Sampling


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers. All three enter the ledger's key, so another model never answers from cache."""

    endpoint: str
    model: str
    revision: str = ""


Landed = tuple[int, Completion]
"""(position of its request in the stream of requests, completion)."""


class Completer(Protocol):
    """Anything that continues text: a teacher, or a trained student."""

    @property
    def identity(self) -> Identity: ...

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """Yield what has landed, as it lands, in any order: one completion at a time, or several together
        that the ledger then commits together.

        `requests` is read only as fast as it can be worked on, so that memory stays flat however many
        there are. Every asked sample is yielded exactly once. A bad answer is yielded as data
        (`finish_reason` "error" with `error` set); a bad set-up (no server, bad key) raises TeacherError,
        and what was yielded before stays good.
        """
        ...

    def close(self) -> None: ...


class Teacher(Spec):
    """Spec of a teacher. `build` may import what it needs; validation may not."""

    name: str
    PACE: ClassVar[frozenset[str]] = frozenset()
    """Fields that change when and how fast it answers and never what, or that its identity speaks for: a step
    hangs on the identity, and changing one of these runs nothing again."""

    def decisive(self) -> dict[str, Any]:
        """The fields that decide what it says, as plain values."""
        return self.model_dump(mode="json", exclude=set(self.PACE))

    @abstractmethod
    def apprenticeship(self) -> Apprenticeship | None:
        """What must be trained before this teacher can speak; None for all but `student`."""

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Local files that decide what it says, to be hashed into the annotation step."""

    @abstractmethod
    def identity(self) -> Identity:
        """Who will answer, known before anything is built (the trained folder's hash is added later)."""

    @abstractmethod
    def build(self, model: Path | None) -> Completer:
        """The live teacher. `model` is the folder its apprenticeship produced, if it has one."""


@dataclass(frozen=True, slots=True)
class Apprenticeship:
    """A teacher that is itself trained first: on which split, as which student, by which method."""

    split: str
    student: Mapping[str, Any]
    method: Mapping[str, Any]
    train: Mapping[str, Any]
