"""transformers.Trainer with our batches and our objective, and nothing else of its own.

Imports torch: reached only from `run.train` and from learners. Labels arrive aligned with the logits that
predict them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback

from understudy.batches import Plan
from understudy.roles import LiveStudent
from understudy.training.arguments import arguments, optimizer
from understudy.training.checkpoints import last_complete
from understudy.training.collate import Collator, Groups, Kept, Planned, Rows
from understudy.training.objective import objective
from understudy.training.watching import Watch

if TYPE_CHECKING:
    from understudy.roles import TrainSpec
    from understudy.training.encode import Group, Progress

Loss = Callable[[Any, dict[str, Any], Rows], torch.Tensor]
"""A learner's own loss of (model, inputs, rows). `inputs` are what `LiveStudent.collate` made, with `labels`
and `token_weights`, on the model's device; `rows` are the encoded rows in the order of the batch, each with
its `group`: the place of its group in the batch."""


def fit(
    live: LiveStudent,
    groups: Sequence[Group],
    plan: Plan,
    spec: TrainSpec,
    learning_rate: float,
    seed: int,
    folder: Path,
    progress: Progress,
    loss: Loss | None = None,
) -> float:
    """Train `live` in place along `plan`; returns the mean loss of the last tenth of the steps.

    `loss` stands in for `objective`. Raises TrainingError as soon as a logged loss is not finite.
    """
    trainer = _PlannedTrainer(
        plan=plan,
        model=live.model,
        args=arguments(spec, plan, learning_rate, seed, folder),
        train_dataset=Groups(groups),
        data_collator=Collator(live, keep_rows=loss is not None),
        own_loss=loss,
        callbacks=[Watch(progress)],
        optimizer_cls_and_kwargs=optimizer(spec, learning_rate),
    )
    # The Trainer would print each log line; ours go through `progress`.
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_complete(folder / "checkpoints"))
    return last_mean(trainer.state.log_history, len(plan.batches))


def mean_loss(live: LiveStudent, groups: Sequence[Group], rows_per_batch: int = 32) -> float:
    """Mean of `objective` over `groups`, each batch weighted by its target tokens."""
    collate = Collator(live)
    device = next(live.model.parameters()).device
    order = sorted(groups, key=lambda group: max(len(row["source"]) for row in group))
    total = tokens = 0.0
    live.model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), rows_per_batch):
            inputs = {
                name: t.to(device) for name, t in collate(order[start : start + rows_per_batch]).items()
            }
            labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
            count = float((labels != -100).sum())
            total += count * float(objective(live.model(**inputs, use_cache=False).logits, labels, weights))
            tokens += count
    return total / tokens


def last_mean(history: Sequence[Mapping[str, float]], steps: int) -> float:
    """From the Trainer's history, which checkpoints carry: a resumed training may log nothing itself."""
    losses = [entry for entry in history if "loss" in entry]
    tail = [entry["loss"] for entry in losses if entry["step"] > 0.9 * steps] or [losses[-1]["loss"]]
    return sum(tail) / len(tail)


class _PlannedTrainer(Trainer):  # type: ignore[misc]
    """The Trainer, fed by a plan and trained on `objective` or a learner's own loss."""

    def __init__(self, plan: Plan, own_loss: Loss | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.plan = plan
        self.own_loss = own_loss
        # Either loss is already a mean over the batch.
        self.model_accepts_loss_kwargs = False

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=Planned(self.plan),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        del num_items_in_batch
        if self.own_loss is not None:
            kept: Kept = inputs.pop("rows")
            loss = self.own_loss(model, inputs, kept.rows)
            return (loss, {}) if return_outputs else loss
        labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
        outputs = model(**inputs, use_cache=False)
        loss = objective(outputs.logits, labels, weights)
        return (loss, outputs) if return_outputs else loss
