"""What a training says while it runs, and when it is stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from understudy.errors import TrainingError
from understudy.training.checkpoints import COMPLETE

if TYPE_CHECKING:
    from understudy.training.encode import Progress


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports progress about twice a second, stops at a loss that is none, and marks whole checkpoints."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.loss = ""
        self.told = 0.0

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
        if now - self.told > 0.5 or state.global_step == state.max_steps:
            self.told = now
            detail = f"step {state.global_step} of {state.max_steps}{self.loss}"
            self.progress(state.global_step / state.max_steps, detail)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del control
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()
