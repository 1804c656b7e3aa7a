"""What a running path says while it works: plain records that the command line draws.

`distill` first emits one "planned" event per step with its estimated cost, so that a listener can
show the time left from the very first second; then "started", "progress" and "done", or "reused".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EventKind = Literal["planned", "started", "progress", "done", "reused", "note"]


@dataclass(frozen=True, slots=True)
class Event:
    kind: EventKind
    step: str = ""
    """The step's unique name within the run, such as "train/small/single_stage/seed0/answer"."""
    title: str = ""
    """What a person reads: "train single_stage (seed 0)"."""
    fraction: float = 0.0
    """Share of the step that is done, 0 to 1."""
    detail: str = ""
    """The latest figure, such as "loss 0.21" or "312 of 400 completions"."""
    cost: float = 0.0
    """Estimated work of the step in arbitrary units that are comparable within a run."""


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that draws nothing."""
