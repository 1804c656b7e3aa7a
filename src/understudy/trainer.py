"""transformers.Trainer with our batches and our objective, and nothing else of its own.

Imports torch: reached only from `train.train`. Labels arrive aligned with the logits that predict them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from understudy.batches import Plan
from understudy.errors import TrainingError
from understudy.optimizers import factory
from understudy.roles import LiveStudent

if TYPE_CHECKING:
    from understudy.roles import TrainSpec
    from understudy.train import Group, Progress

COMPLETE = "complete"

Rows = Sequence[Mapping[str, Any]]
Loss = Callable[[Any, dict[str, Any], Rows], torch.Tensor]
"""A learner's own loss of (model, inputs, rows). `inputs` are what `LiveStudent.collate` made, with `labels`
and `token_weights`, on the model's device; `rows` are the encoded rows in the order of the batch, each with
its `group`: the place of its group in the batch."""


def objective(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The loss: sum over positions of weight x cross-entropy, in fp32.

    `logits` (rows, positions, vocabulary), `labels` (rows, positions) with -100 off target, `weights`
    (rows, positions) from `token_weights`.
    """
    flat = labels.reshape(-1)
    target = flat != -100
    chosen = logits.reshape(-1, logits.shape[-1])[target].float()
    losses = torch.nn.functional.cross_entropy(chosen, flat[target], reduction="none")
    return (losses * weights.reshape(-1)[target]).sum()


def token_weights(labels: torch.Tensor, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Weights (rows, positions) under which `objective` is the weighted sum of per-objective mean losses.

    A target token of objective k weighs weight_k / (target tokens of k in the batch). The weights of the
    objectives present are scaled to sum to 1.
    """
    target = (labels != -100).float()
    weights = torch.zeros_like(target)
    present = {row["objective"]: row["weight"] for row in rows}
    for name, weight in present.items():
        members = torch.tensor([row["objective"] == name for row in rows])
        weights[members] = target[members] * (weight / sum(present.values()) / target[members].sum())
    return weights


def use_bf16(precision: str) -> bool:
    """Whether to compute in bf16: asked for, or "auto" on hardware that has it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


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
        args=_arguments(spec, plan, learning_rate, seed, folder),
        train_dataset=_Groups(groups),
        data_collator=_Collator(live, keep_rows=loss is not None),
        own_loss=loss,
        callbacks=[_Watch(progress)],
        optimizer_cls_and_kwargs=_optimizer(spec, learning_rate),
    )
    # The Trainer would print each log line; ours go through `progress`.
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_complete(folder / "checkpoints"))
    return _last_mean(trainer.state.log_history, len(plan.batches))


def mean_loss(live: LiveStudent, groups: Sequence[Group], rows_per_batch: int = 32) -> float:
    """Mean of `objective` over `groups`, each batch weighted by its target tokens."""
    collate = _Collator(live)
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


def _optimizer(spec: TrainSpec, learning_rate: float) -> tuple[Any, dict[str, Any]] | None:
    """What the Trainer makes its optimizer from; None for the AdamW of its arguments."""
    if spec.optimizer == "adamw":
        return None
    settings = {"lr": learning_rate, "weight_decay": spec.weight_decay, "betas": (0.9, spec.beta2)}
    return factory, settings


def _arguments(
    spec: TrainSpec, plan: Plan, learning_rate: float, seed: int, folder: Path
) -> TrainingArguments:
    steps = len(plan.batches)
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=steps,
        learning_rate=learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(spec.schedule, spec.schedule),
        warmup_steps=math.ceil(spec.warmup * steps),
        weight_decay=spec.weight_decay,
        adam_beta2=spec.beta2,
        max_grad_norm=spec.clip,
        optim="adamw_torch_fused",
        bf16=use_bf16(spec.precision),
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        seed=seed,
        data_seed=seed,
        logging_steps=max(1, steps // 50),
        # The Trainer's default logs an earlier mean in the place of a loss that is not a number.
        logging_nan_inf_filter=False,
        save_strategy="steps" if spec.checkpoints else "no",
        save_steps=max(1, math.ceil(steps / (spec.checkpoints + 1))),
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        accelerator_config={"dispatch_batches": False, "even_batches": False, "split_batches": False},
    )


def _last_mean(history: Sequence[Mapping[str, float]], steps: int) -> float:
    """From the Trainer's history, which checkpoints carry: a resumed training may log nothing itself."""
    losses = [entry for entry in history if "loss" in entry]
    tail = [entry["loss"] for entry in losses if entry["step"] > 0.9 * steps] or [losses[-1]["loss"]]
    return sum(tail) / len(tail)


def _last_complete(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; a half-written one is passed over."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if found else None


class _Groups(torch.utils.data.Dataset["Group"]):
    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Group:
        return self.groups[index]


class _Planned(Sampler[list[int]]):
    """The plan's batches, in order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(batch) for batch in self.plan.batches])

    def __len__(self) -> int:
        return len(self.plan.batches)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Rows on their way to a loss, in a box that nobody opens to look for tensors."""

    rows: Rows


class _Collator:
    """Groups -> model inputs, labels and token weights; and the rows themselves, where a loss wants them."""

    def __init__(self, live: LiveStudent, keep_rows: bool = False) -> None:
        self.live = live
        self.keep_rows = keep_rows

    def __call__(self, groups: Sequence[Group]) -> dict[str, Any]:
        rows = [{**row, "group": place} for place, group in enumerate(groups) for row in group]
        tensors = self.live.collate(rows)
        inputs = {**tensors, "token_weights": token_weights(tensors["labels"], rows)}
        return {**inputs, "rows": _Kept(rows)} if self.keep_rows else inputs


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
            batch_sampler=_Planned(self.plan),
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
            kept: _Kept = inputs.pop("rows")
            loss = self.own_loss(model, inputs, kept.rows)
            return (loss, {}) if return_outputs else loss
        labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
        outputs = model(**inputs, use_cache=False)
        loss = objective(outputs.logits, labels, weights)
        return (loss, outputs) if return_outputs else loss


class _Watch(TrainerCallback):  # type: ignore[misc]
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
