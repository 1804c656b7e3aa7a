"""transformers.Trainer with our batches and our objective, and nothing else of its own.

Imports torch: reached only from `run.train` and from learners. Labels arrive aligned with the logits that
predict them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback

from understudy.batches import Plan
from understudy.roles import LiveStudent
from understudy.training import head, lean, packing, sharing, together
from understudy.training.arguments import arguments, optimizer
from understudy.training.collate import Collator, Groups, Kept, Planned, Rows
from understudy.training.devices import ALONE, Place
from understudy.training.dressing import dressed
from understudy.training.encode import longest_row
from understudy.training.exact import Exact, follow, sample
from understudy.training.machine import tuned
from understudy.training.objective import objective
from understudy.training.parts import Parts
from understudy.training.watching import Watch

if TYPE_CHECKING:
    from understudy.roles import TrainSpec
    from understudy.training.encode import Group, Progress
    from understudy.training.journal import Journal

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
    journal: Journal | None = None,
) -> float:
    """Train `live` in place along `plan`; returns the mean loss of the last tenth of the steps.

    `loss` stands in for `objective`. `journal` takes down what happens, and may end the training early.
    Raises as `exact.follow` does.
    """
    settings = arguments(spec, plan, learning_rate, seed, folder)
    # Several GPUs in one process would be torch.nn.DataParallel; ours are shared by processes.
    settings._n_gpu = min(settings.n_gpu, 1)
    place = Place(settings.process_index, settings.world_size)
    collate: Any = Collator(live, keep_rows=loss is not None, place=place)
    if spec.packing:
        collate = packing.collator(live, groups, spec, place)
    longest = spec.batch_tokens if spec.packing else longest_row(groups, live.kind)
    # Sharded weights are gathered at every pass, for which all processes must make as many of them.
    part = sys.maxsize if settings.fsdp or settings.deepspeed else spec.micro_batch_tokens
    if settings.fsdp:
        sharing.join(live.model)
    with dressed(live, spec, seed), tuned(live.model, settings.device.type, longest), ExitStack() as changed:
        watch = Watch(progress)
        own = None if loss else head.fits(live.model, Collator(live)([groups[plan.batches[0][0]]]))
        if settings.device.type == "cpu":
            changed.enter_context(lean.lean(live.model, own, settings.world_size == 1))
        trainer = _Running(
            plan=plan,
            model=live.model,
            args=settings,
            train_dataset=Groups(groups),
            data_collator=collate,
            own_loss=loss,
            parts=Parts(part, again=settings.world_size == 1),
            head=own,
            callbacks=[watch],
            optimizer_cls_and_kwargs=optimizer(spec, learning_rate),
        )
        # The Trainer would print each log line; ours go through `progress`.
        trainer.remove_callback(PrinterCallback)
        first = sample([row for i in plan.batches[0] for row in groups[i]])
        of = {"rate": learning_rate, "seed": seed, "loss": type(loss).__qualname__, "first": first}
        return follow(trainer, journal, spec, plan, watch, of)


def mean_loss(
    live: LiveStudent, groups: Sequence[Group], rows_per_batch: int = 32, place: Place = ALONE
) -> float:
    """Mean of `objective` over `groups`, each batch weighted by its target tokens. Each of several processes
    computes a part of the batches, and all get the mean over all."""
    collate = Collator(live)
    device = next(live.model.parameters()).device
    order = sorted(groups, key=lambda group: max(len(row["source"]) for row in group))
    live.model.eval()
    own = head.fits(live.model, collate(order[:1]))

    def weighted(start: int) -> tuple[float, float]:
        inputs = {name: t.to(device) for name, t in collate(order[start : start + rows_per_batch]).items()}
        labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
        count = float((labels != -100).sum())
        if own is not None:
            loss = head.loss_of(live.model, inputs, labels, weights, own)
        else:
            loss = objective(live.model(**inputs, use_cache=False).logits, labels, weights)
        return count * float(loss), count

    with torch.inference_mode():
        return together.mean(range(0, len(order), rows_per_batch), weighted, live, place)


class _PlannedTrainer(Trainer):  # type: ignore[misc]
    """The Trainer, fed by a plan and trained on `objective` or a learner's own loss."""

    def __init__(
        self,
        plan: Plan,
        own_loss: Loss | None,
        parts: Parts,
        head: torch.nn.Linear | None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.plan = plan
        self.own_loss = own_loss
        self.parts = parts
        self.head = head
        # Either loss is already a mean over the batch.
        self.model_accepts_loss_kwargs = False

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=Planned(self.plan),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        if self.args.world_size > 1:
            return loader  # every process reads the whole plan; its collator takes its share
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        plain = super().training_step
        if self.own_loss is not None:
            own: torch.Tensor = plain(model, inputs, num_items_in_batch)
            return own

        def learn(part: dict[str, Any], last: bool) -> torch.Tensor:
            # Several processes add up their gradients once, after the last part.
            with nullcontext() if last else self.accelerator.no_sync(model):
                loss: torch.Tensor = plain(model, part, num_items_in_batch)
            return loss

        return self.parts.step(self.model, inputs, learn)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """The plan knows them; the Trainer would walk through all parameters at each step."""
        del inputs
        return 0

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
        with packing.attending(model, inputs) as seen:
            if self.head is not None:
                loss = head.loss_of(model, seen, labels, weights, self.head)
            else:
                loss = objective(model(**seen, use_cache=False).logits, labels, weights)
        return (loss, {}) if return_outputs else loss


class _Running(Exact, _PlannedTrainer):
    """The same, going on exactly where it was."""
