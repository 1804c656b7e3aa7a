"""What a training writes down beside its weights: the loss of every step, and what befell it.

Checkpoints carry it, so that a resumed training has each step once, with the very numbers of one that nothing
interrupted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from understudy.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.training.stopping import Stopper

LAST = 0.9
"""The final loss is the mean over the steps after this share of them."""


class Journal:
    """Of one training, over all its resumptions."""

    def __init__(self, stopper: Stopper | None = None, name: str = "", trackers: Path | None = None) -> None:
        """`name` is what trackers call the training, `trackers` where those that write files write them."""
        self.stopper = stopper
        self.name = name
        self.trackers = trackers
        self.losses: list[float] = []
        self.notes: list[str] = []
        self.logged = 0
        """The step of the last log line."""
        self.partial = 0.0
        """The sum of the losses since: what the Trainer makes its next log line of."""
        self._fresh: list[torch.Tensor] = []

    def note(self, sentence: str) -> None:
        """A sentence for the result and for the step's log."""
        self.notes.append(sentence)
        logging.getLogger("understudy.training").warning(sentence)

    def heard(self, loss: torch.Tensor) -> None:
        """The loss of a step, left on its device: reading it would make the device wait."""
        self._fresh.append(loss.detach().float().reshape(()))

    def unread(self) -> torch.Tensor | None:
        """The losses that `heard` has gathered (steps,), which are then forgotten here."""
        fresh, self._fresh = self._fresh, []
        return torch.stack(fresh) if fresh else None

    def wrote(self, losses: list[float], learning_rate: float, steps: int) -> None:
        """Take down the losses of the next steps. Raises TrainingError at the first that is no number."""
        for loss in losses:
            self.losses.append(loss)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} by step {len(self.losses)} of {steps} at learning rate "
                    f"{learning_rate:g}: lower it, or set precision fp32 (the checkpoint before is kept)"
                )

    def final_loss(self, steps: int) -> float:
        """Mean loss of the last tenth of `steps`, or of the last step where they are too few."""
        tail = self.losses[math.floor(LAST * steps) :] or self.losses[-1:]
        return math.fsum(tail) / len(tail)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "losses": self.losses,
            "notes": self.notes,
            "logged": self.logged,
            "partial": self.partial,
        }
        if self.stopper is not None:
            found |= {"stopper": self.stopper.state(), "beside": self.stopper.files()}
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        self.losses = [float(loss) for loss in state["losses"]]
        self.notes = [*state["notes"], *(note for note in self.notes if note not in state["notes"])]
        self.logged, self.partial = int(state["logged"]), float(state["partial"])
        if self.stopper is not None:
            self.stopper.restore(state["stopper"])
