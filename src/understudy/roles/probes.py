"""The contract of a probe: what it changes in what a student reads before it answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from understudy.roles.spec import Spec
from understudy.types import AnswerForm, Message, Question


@dataclass(frozen=True, slots=True)
class Material:
    """One question, and the reasoning on it that is to be changed."""

    question: Question
    rationale: str
    """What the student wrote of itself before it stated its answer; empty for probes of the question."""
    form: AnswerForm
    others: Sequence[str] = ()
    """The student's reasoning on every question of the split; this one's own may be among it."""
    said: str = ""
    """The reply to `Probe.messages`, if somebody was asked."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What the student reads instead: another rationale, or another question."""

    rationale: str = ""
    question: Question | None = None
    """Asked in the place of the question; the student then reasons about it by itself."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why the probe says nothing about a question, in words that several questions can share."""

    reason: str


class Probe(Spec):
    """A change, and whether the answer should follow it. Text in, text out; its fields are its settings."""

    name: str
    CHANGES: ClassVar[str] = ""
    """What the student reads, as it stands in a table: "the first part of its rationale"."""
    SOURCE: ClassVar[str] = ""
    """Where it comes from: a paper, with its arXiv number; empty for our own."""
    GOES_ON: ClassVar[bool] = False
    """Whether the student goes on reasoning from the changed rationale, or must answer at once."""
    OF_QUESTION: ClassVar[bool] = False
    """Whether it changes the question, so that it needs no rationale."""
    ASKS: ClassVar[bool] = False
    """Whether it needs somebody's reply to `messages`."""

    @abstractmethod
    def change(self, material: Material, random: Random) -> Changed | Skipped:
        """Deterministic, given `random`. A change that leaves all as it was is a Skipped."""

    def messages(self, material: Material) -> tuple[Message, ...]:
        """What somebody must be asked before `change`; nothing as a rule."""
        del material
        return ()

    @property
    def label(self) -> str:
        """How a recipe writes it: "swapped", "early:0.5"."""
        own = [getattr(self, field) for field in type(self).model_fields if field != "name"]
        return ":".join(
            (self.name, *(f"{value:g}" if isinstance(value, float) else str(value) for value in own))
        )
