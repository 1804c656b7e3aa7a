"""Trainers that go on exactly where they were: checkpoints that are atomic, checked and told apart.

`Exact` is put in front of a trainer class. It keeps the loss of every step, writes a checkpoint under another
name until it is whole, and goes on training where one cannot be written. Imports torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

from understudy.batches import Plan
from understudy.errors import TrainingError
from understudy.store import digest
from understudy.training import checkpoints
from understudy.training.journal import Journal
from understudy.training.tracking import check_trackers, told
from understudy.training.watching import Early, Timed, Watch, sentences

if TYPE_CHECKING:
    from understudy.roles import TrainSpec


class Exact(Trainer):  # type: ignore[misc]
    """In front of a trainer class: `class Ours(Exact, ItsTrainer)`. `follow` trains with it."""

    journal: Journal
    fingerprint: Mapping[str, str]
    watch: Watch
    _writing: Path | None = None

    def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*given, **named)
        self.journal.heard(loss)
        return loss

    def settle(self) -> None:
        """Read the losses of the steps since the last time. Raises TrainingError at one that is no number."""
        losses = self.journal.unread()
        if losses is None:
            return
        if self.args.world_size > 1:
            losses = self.accelerator.gather(losses).reshape(self.args.world_size, -1).mean(0)
        self.journal.wrote(losses.tolist(), self.args.learning_rate, self.state.max_steps)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._writing or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.settle()
        self._check_weights()
        self.watch.fixed()
        folder = Path(self.args.output_dir)
        self.journal.logged, self.journal.partial = self._globalstep_last_logged, float(self._tr_loss)
        why = ""
        self._writing = folder / checkpoints.WRITING
        try:
            if self.args.should_save:
                shutil.rmtree(self._writing, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            why = _unwritten(error)
        # Nobody goes on before everybody's part is on the disk.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self._publish(self._writing / f"checkpoint-{self.state.global_step}", folder, why)
        self._writing = None
        self.accelerator.wait_for_everyone()

    def _publish(self, written: Path, folder: Path, why: str) -> None:
        try:
            if not why:
                state = {"fingerprint": dict(self.fingerprint), **self.journal.state()}
                (written / checkpoints.STATE).write_text(json.dumps(state), encoding="utf-8")
                checkpoints.seal(written)
                checkpoints.publish(written, folder)
                if self.journal.stopper is not None:
                    self.journal.stopper.tidy(checkpoints.found(folder))
        except OSError as error:
            why = _unwritten(error)
        shutil.rmtree(folder / checkpoints.WRITING, ignore_errors=True)
        if why:
            self.watch.tell(
                f"the checkpoint after step {self.state.global_step} could not be written ({why}): the "
                "training goes on, and those before it are kept; free some space on the disk"
            )

    def _check_weights(self) -> None:
        """A step whose loss is a number may still have spoiled the weights: such ones are not kept."""
        for name, parameter in self.model.named_parameters():
            own = parameter.to_local() if isinstance(parameter, DTensor) else parameter
            if parameter.requires_grad and not bool(torch.isfinite(own).all()):
                raise TrainingError(
                    f"the weights are no longer numbers ({name}) at step {self.state.global_step} of "
                    f"{self.state.max_steps} at learning rate {self.args.learning_rate:g}: lower it, or set "
                    "precision fp32 (the checkpoint before is kept)"
                )


class _Restored(TrainerCallback):  # type: ignore[misc]
    """Gives a resumed trainer the sum that its next log line is made of, which it sets to nothing."""

    def __init__(self, running: Exact) -> None:
        self.running = running

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, control
        journal = self.running.journal
        if state.global_step:
            self.running._tr_loss += journal.partial
            self.running._globalstep_last_logged = journal.logged

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, state, control
        self.running.settle()


def follow(
    running: Exact, journal: Journal | None, spec: TrainSpec, plan: Plan, watch: Watch, of: Mapping[str, Any]
) -> float:
    """Train to the end, from the last checkpoint of this very training if there is one; returns the mean loss
    of the last tenth of the steps.

    `of` says what is trained beside the model, the plan and the settings, as plain values. Where the journal
    has a stopper, the weights that the model ends with are those it chose. Raises TrainingError for a loss
    that is no number and for too little memory; the checkpoints before stay.
    """
    journal = journal or Journal()
    running.journal, running.watch = journal, watch
    running.fingerprint = fingerprint(running.model, plan, spec, of)
    watch.journal = journal
    # Losses are read and judged before anybody tells them.
    running.callback_handler.callbacks.insert(0, _Restored(running))
    running.add_callback(Timed(spec.checkpoint_minutes, watch))
    folder = Path(running.args.output_dir)
    check_trackers(spec.report_to)
    running.args.run_name = journal.name or None
    running.args.report_to = list(spec.report_to)
    with (
        sentences(lambda: (running.state.global_step, len(plan.batches)), spec),
        told(spec.report_to, journal.name, journal.trackers),
    ):
        for callback in get_reporting_integration_callbacks(list(spec.report_to)):
            running.add_callback(callback)
        last = checkpoints.last_complete(folder, running.fingerprint, journal.note)
        if last is not None:
            journal.restore(checkpoints.load_state(last))
        stopper = journal.stopper
        if stopper is not None:
            running.add_callback(Early(stopper, running.model, watch, running.log))
        if stopper is not None and stopper.stopped:
            # It had ended: what is left is to choose, on a model that computes as it did.
            running.accelerator.prepare_model(running.model)
        else:
            running.train(resume_from_checkpoint=str(last) if last else None)
            running.settle()
        if stopper is not None:
            stopper.choose(running.model)
    return journal.final_loss(stopper.steps_done if stopper else len(plan.batches))


def fingerprint(model: Any, plan: Plan, spec: TrainSpec, of: Mapping[str, Any]) -> dict[str, str]:
    """What a training is of, part by part: nothing goes on from a checkpoint of something else."""
    shapes = [[name, list(parameter.shape)] for name, parameter in model.named_parameters()]
    settings = {key: value for key, value in spec.decisive().items() if key != "checkpoints"}
    settings.pop("learning_rate", None)
    return {
        "model": digest([type(model).__name__, shapes])[:16],
        "plan": digest(plan.batches)[:16],
        "settings": digest([settings, of])[:16],
    }


def sample(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Some token ids of a training, to tell one data set or vocabulary from another."""
    return [[[int(i) for i in row["source"]], [int(i) for i in row["target"]]] for row in rows]


def _unwritten(error: Exception) -> str:
    """Why a checkpoint was not written. What has nothing to do with writing is raised again."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = str(error)
    if isinstance(error, SafetensorError) or "PytorchStreamWriter" in text or "inline_container" in text:
        return text.strip().splitlines()[0]
    raise error
