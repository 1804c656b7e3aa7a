"""What decides when a training ends, in a form that goes into a job and is read by each of its processes.

job/stopping.json  the tokens of each step, and dev's questions where accuracy decides
job/dev/           dev's examples as token ids where their loss decides
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import TrainingError
from understudy.roles import LiveStudent, TrainSpec
from understudy.store import write_text
from understudy.training import tokens
from understudy.training.accuracy import DevAccuracy
from understudy.training.devices import ALONE, Place

if TYPE_CHECKING:
    from understudy.training.stopping import Stopper

_DEV, _STOPPING = "dev", "stopping.json"


@dataclass(frozen=True, slots=True)
class DevLoss:
    """The mean loss on dev's examples."""

    dev: tokens.Tokens

    def __call__(self, live: LiveStudent, place: Place = ALONE) -> float:
        from understudy.training import trainer

        return trainer.mean_loss(live, self.dev, place=place)


@dataclass(frozen=True, slots=True)
class Measure:
    """Of the student as it is, by one of the processes that measure it together."""

    live: LiveStudent
    by: DevLoss | DevAccuracy
    place: Place = ALONE

    def __call__(self) -> float:
        return self.by(self.live, self.place)


def check(spec: TrainSpec) -> None:
    """Raises TrainingError where no process holds the weights that are to be measured and kept."""
    shared = spec.strategy == "fsdp" and (spec.devices != 1 or spec.ray is not None)
    if shared or spec.deepspeed is not None:
        raise TrainingError(
            "train.stopping keeps whole weights, which no process holds with fsdp or deepspeed: set "
            "train.strategy to ddp and remove train.deepspeed, or remove train.stopping"
        )


def write(stopper: Stopper, job: Path) -> None:
    """Into the folder of a job. Raises TrainingError for a measure that only this process knows."""
    measure = stopper.measure_now
    if not isinstance(measure, Measure):
        raise TrainingError("what decides when the training ends is no training.measuring.Measure: use one")
    plain = None
    if isinstance(measure.by, DevLoss):
        measure.by.dev.save(job / _DEV)
    else:
        plain = measure.by.plain()
    write_text(job / _STOPPING, json.dumps({"tokens": [int(n) for n in stopper.tokens], "accuracy": plain}))


def read(job: Path, live: LiveStudent, spec: TrainSpec, place: Place) -> Stopper | None:
    """What `write` wrote, for the process at `place` and its student; None where nothing is measured."""
    from understudy.training.stopping import Stopper

    if spec.stopping is None:
        return None
    settings = json.loads((job / _STOPPING).read_text(encoding="utf-8"))
    plain = settings["accuracy"]
    by = DevAccuracy.of(plain) if plain else DevLoss(tokens.load(job / _DEV))
    measure = Measure(live, by, place)
    folder = job.parent / "checkpoints"
    return Stopper(spec.stopping, spec.average, measure, settings["tokens"], folder, place)
