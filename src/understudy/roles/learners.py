"""The contract of a learner: who trains a stage where plain cross-entropy is not enough."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.roles.spec import Spec
from understudy.roles.students import LiveStudent
from understudy.roles.training import TrainSpec
from understudy.types import Example

if TYPE_CHECKING:
    from understudy.batches import Plan


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a learner gets: a live student and all that its training may stand on.

    `groups` are the examples as text, `encoded` the same as `LiveStudent.encode` gave them. `plan` says which
    groups share a batch, for how many steps. `teacher` is a folder or hub id of a model that gives logits.
    """

    live: LiveStudent
    groups: Sequence[tuple[Example, ...]]
    encoded: Sequence[tuple[Mapping[str, Any], ...]]
    plan: Plan
    spec: TrainSpec
    learning_rate: float
    seed: int
    folder: Path
    progress: Callable[[float, str], None]
    teacher: Path | None = None
    journal: Any = None
    """A training.journal.Journal: what is taken down of the training, and whether dev may end it early."""


class Learner(Spec):
    """How a stage is trained when plain cross-entropy on its examples is not enough: a loss of its own, or
    another trainer. Its fields are the method's keys."""

    name: str
    NEEDS_TEACHER: ClassVar[bool] = False
    """Whether it needs a teacher that gives logits: a `student` or `transformers` one."""
    ARCHITECTURES: ClassVar[tuple[str, ...]] = ("causal", "seq2seq")
    """The kinds of students that it can train."""

    @abstractmethod
    def fit(self, lesson: Lesson) -> float:
        """Train `lesson.live` in place; returns the mean loss of the last tenth of the steps."""
