"""What a training says while it runs, when a checkpoint is due, and what becomes of its errors."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from understudy.errors import TrainingError

if TYPE_CHECKING:
    from understudy.roles import TrainSpec
    from understudy.training.encode import Progress
    from understudy.training.journal import Journal
    from understudy.training.stopping import Stopper

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
_TOGETHER = 16
"""Steps between two looks at the clock where several processes must agree on what it says."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports progress about twice a second, and stops at a logged loss that is none."""

    def __init__(self, progress: Progress, journal: Journal | None = None) -> None:
        self.progress = progress
        self.journal = journal
        self.loss = ""
        self.told = 0.0
        self.fraction = 0.0
        self.saved = time.monotonic()

    def tell(self, sentence: str) -> None:
        """A sentence that must not be lost: for who watches, the result and the step's log."""
        if self.journal is not None:
            self.journal.note(sentence)
        self.progress(self.fraction, sentence)

    def fixed(self) -> None:
        """A checkpoint is being written."""
        self.saved = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        del control
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss became {logs['loss']} by step {state.global_step} of {state.max_steps} at "
                f"learning rate {args.learning_rate:g}: lower it, or set precision fp32"
            )
        self.loss = f", loss {logs['loss']:.3f}"

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, control
        now = time.monotonic()
        self.fraction = state.global_step / state.max_steps
        if now - self.told > 0.5 or state.global_step == state.max_steps:
            self.told = now
            self.progress(self.fraction, f"step {state.global_step} of {state.max_steps}{self.loss}")


class Timed(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when the last one is `minutes` old."""

    def __init__(self, minutes: float | None, watch: Watch) -> None:
        self.minutes = minutes
        self.watch = watch

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, state, control
        self.watch.fixed()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.minutes is None or control.should_save:
            return
        due = time.monotonic() - self.watch.saved > 60 * self.minutes
        if args.world_size > 1:
            if state.global_step % _TOGETHER:
                return
            # Clocks differ, and a checkpoint is written by all or none.
            said = torch.tensor(float(due), device=args.device)
            torch.distributed.broadcast(said, src=0)
            due = bool(said)
        control.should_save = due


class Early(TrainerCallback):  # type: ignore[misc]
    """Measures on dev when it is time, and ends the training when that has brought nothing for long."""

    def __init__(
        self, stopper: Stopper, model: Any, watch: Watch, log: Callable[[dict[str, float]], None]
    ) -> None:
        """`log` tells trackers, too."""
        self.log = log
        self.stopper = stopper
        self.model = model
        self.watch = watch

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args
        if not self.stopper.due(state.global_step):
            return
        self.watch.progress(self.watch.fraction, f"step {state.global_step}: measuring on dev")
        ended = self.stopper.measure(state.global_step, self.model)
        self.log({self.stopper.spec.metric: self.stopper.curve[-1].value})
        if ended:
            # With a checkpoint, so that a training that is killed now knows that it has ended.
            control.should_training_stop = control.should_save = True


@contextmanager
def sentences(where: Callable[[], tuple[int, int]], spec: TrainSpec) -> Iterator[None]:
    """Turn too little memory into a sentence that says what to do; `where` gives (steps done, steps)."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        scarce = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not scarce and not any(words in str(error) for words in NO_MEMORY):
            raise
        done, steps = where()
        raise TrainingError(
            f"there is not enough memory for step {done + 1} of {steps}: lower train.batch_tokens (now "
            f"{spec.batch_tokens}) or take a smaller student, and run again; what was finished and the last "
            "checkpoint are kept"
        ) from error
