"""When a training ends before its budget, and which of its weights are kept: by dev, never by test data.

Every so many steps the student is measured on dev. The first best measurement's weights are what is saved,
or, where the recipe says so, the mean of the weights at the last few measurements (Izmailov et al., arXiv
1803.05407, without their learning rate). Measuring draws no chance from the training's generators.

Processes that share a training each have a stopper, and all of them measure at the same steps and get the
same numbers, so that they decide alike; the first one keeps the weights for all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from understudy.batches import Plan, Size
from understudy.errors import TrainingError
from understudy.training.checkpoints import checksum, load_state, sync
from understudy.training.devices import ALONE, Place
from understudy.training.together import meet

if TYPE_CHECKING:
    from understudy.roles import StoppingSpec

MEASURED = "measured"
"""The folder, beside the checkpoints, of the weights that were measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement: after how many steps and tokens, and what it said."""

    step: int
    tokens: int
    value: float


class Stopper:
    """Of one training. `measure_now` returns the dev loss or accuracy of the model as it is, the same in
    every process; `tokens` are those of each step; `folder` is where the checkpoints are, which all processes
    see; `place` is that of this process."""

    def __init__(
        self,
        spec: StoppingSpec,
        average: int,
        measure_now: Callable[[], float],
        tokens: Sequence[int],
        folder: Path,
        place: Place = ALONE,
    ) -> None:
        self.spec = spec
        self.average = average
        self.measure_now = measure_now
        self.tokens = tokens
        self.folder = folder
        self.place = place
        self.curve: list[Measured] = []
        self.averaged: dict[str, Any] | None = None
        self._sums: dict[str, str] = {}
        total = len(tokens)
        times = math.ceil(1 / spec.every)
        self._due = {min(total, math.ceil(n * spec.every * total - 1e-9)) for n in range(1, times + 1)}

    # ------------------------------------------------------------ while it trains

    def due(self, step: int) -> bool:
        return step in self._due and all(measured.step < step for measured in self.curve)

    def measure(self, step: int, model: Any) -> bool:
        """Measure the weights after `step`, keep them if they may be wanted; returns whether to stop."""
        self.curve.append(Measured(step, sum(self.tokens[:step]), self._value()))
        if self.place.rank == 0:
            name = _file(step)
            write_weights(model, self.folder / name)
            self._sums[name] = checksum(self.folder / name)
            self._sums = {name: self._sums[name] for name in self._wanted()}
        # What is written here is what all may choose in the end.
        meet(model, self.place)
        return self.stopped

    @property
    def best(self) -> Measured | None:
        """The first of the best; a value that is no number is never one."""
        sign = 1 if self.spec.metric == "dev_loss" else -1
        numbers = [measured for measured in self.curve if math.isfinite(measured.value)]
        return min(numbers, key=lambda measured: (sign * measured.value, measured.step), default=None)

    @property
    def stopped(self) -> bool:
        """Whether the last `patience` measurements brought nothing better."""
        best = self.best
        since = sum(best is None or measured.step > best.step for measured in self.curve)
        return bool(since >= self.spec.patience)

    @property
    def steps_done(self) -> int:
        return self.curve[-1].step if self.curve else len(self.tokens)

    # ------------------------------------------------------------ at its end

    def choose(self, model: Any) -> None:
        """Give the model the weights that are to be saved."""
        if self.best is None:
            raise TrainingError(
                "no measurement on dev was a number: lower train.learning_rate, or remove train.stopping"
            )
        if not self.average:
            read_weights(model, [self.folder / _file(self.best.step)])
            return
        last = self.curve[-self.average :]
        read_weights(model, [self.folder / _file(measured.step) for measured in last])
        self.averaged = {"steps": [measured.step for measured in last], "value": self._value()}

    def told(self) -> dict[str, Any]:
        """For the result: the curve, which was best, and what was saved."""
        best = self.best
        return {
            "metric": self.spec.metric,
            "curve": [asdict(measured) for measured in self.curve],
            "best": best.step if best else None,
            "planned": len(self.tokens),
            "stopped": self.curve[-1].step if self.steps_done < len(self.tokens) else None,
            "averaged": self.averaged,
        }

    def learn(self, told: Mapping[str, Any]) -> None:
        """Take over what the stopper of this training told in the processes that did it."""
        self.curve = [Measured(**measured) for measured in told["curve"]]
        self.averaged = told["averaged"]

    # ------------------------------------------------------------ across a restart

    def state(self) -> dict[str, Any]:
        return {"curve": [asdict(measured) for measured in self.curve]}

    def files(self) -> dict[str, str]:
        """The weights that a training which goes on from here counts on: file -> SHA-256."""
        return dict(self._sums)

    def restore(self, state: Mapping[str, Any]) -> None:
        self.curve = [Measured(**measured) for measured in state["curve"]]
        self._sums = {name: checksum(self.folder / name) for name in self._wanted()}

    def tidy(self, kept: Sequence[Path]) -> None:
        """Drop the weights that neither this training nor a checkpoint that it may go back to counts on."""
        wanted = set(self._wanted())
        for checkpoint in kept:
            wanted |= set(load_state(checkpoint).get("beside", {}))
        for path in (self.folder / MEASURED).glob("step-*"):
            if f"{MEASURED}/{path.name}" not in wanted:
                path.unlink(missing_ok=True)

    def _wanted(self) -> list[str]:
        last = self.curve[-self.average :] if self.average else []
        steps = {measured.step for measured in (*last, *filter(None, [self.best]))}
        return [_file(step) for step in sorted(steps)]

    def _value(self) -> float:
        with undisturbed():
            return float(self.measure_now())


def _file(step: int) -> str:
    return f"{MEASURED}/step-{step}.safetensors"


def shortened(plan: Plan, sizes: Sequence[Size], steps: int) -> Plan:
    """The part of a plan that was trained. Its padding is taken to be as everywhere in the plan."""
    if steps >= len(plan.batches):
        return plan
    done = [index for batch in plan.batches[:steps] for index in batch]
    tokens = sum(sizes[index].tokens for index in done)
    return Plan(
        plan.batches[:steps],
        tokens,
        round(plan.padded * tokens / plan.tokens),
        len(done) / len(sizes),
        sum(sizes[index].flops for index in done),
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Every generator is afterwards as it was: what is measured changes nothing that is trained."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def write_weights(model: Any, path: Path) -> None:
    """The weights that are trained, whole or not at all. A full disk is an OSError or a SafetensorError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    temporary = path.with_name(f".{path.name}")
    save_file(weights, temporary)
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


@torch.no_grad()
def read_weights(model: Any, paths: Sequence[Path]) -> None:
    """The mean of what `write_weights` wrote into `paths`, summed in fp64, into the model's own tensors."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total: dict[str, torch.Tensor] = {}
    for path in paths:
        for name, tensor in load_file(path).items():
            tensor = tensor if len(paths) == 1 else tensor.double()
            total[name] = total[name] + tensor if name in total else tensor
    for name, parameter in trained.items():
        parameter.copy_(total[name] if len(paths) == 1 else total[name] / len(paths))
