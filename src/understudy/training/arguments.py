"""A training as transformers.Trainer is told of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from understudy.batches import Plan
from understudy.errors import TrainingError
from understudy.training import four_bits, liger
from understudy.training.devices import placement
from understudy.training.optimizers import factory

if TYPE_CHECKING:
    from understudy.roles import TrainSpec


DECAY = 0.2
"""Share of the steps in which the schedule warmup_stable_decay falls (Hägele et al., arXiv 2405.18392)."""


def device_of(asked: str) -> str:
    """ "cpu", "cuda" or "mps": the one that is asked for, or the best that is there. Raises TrainingError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(name for name, has in there.items() if has)
    if not there[asked]:
        raise TrainingError(
            f"train.device is {asked}, which this machine has not (or torch was built without): set it to "
            f"{' or '.join(['auto', *(name for name, has in there.items() if has)])}"
        )
    return asked


def use_bf16(precision: str, device: str = "auto") -> bool:
    """Whether to compute in bf16: asked for, or "auto" on hardware that has it."""
    if precision != "auto":
        return precision == "bf16"
    if device_of(device) == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def optimizer(spec: TrainSpec, learning_rate: float) -> tuple[Any, dict[str, Any]] | None:
    """What the Trainer makes its optimizer from; None for the AdamW of its arguments."""
    if spec.optimizer == "adamw_8bit":
        four_bits.forget()
    if spec.optimizer != "muon":
        return None
    settings = {"lr": learning_rate, "weight_decay": spec.weight_decay, "betas": (0.9, spec.beta2)}
    return factory, settings


def arguments(
    spec: TrainSpec, plan: Plan, learning_rate: float, seed: int, folder: Path
) -> TrainingArguments:
    steps, device = len(plan.batches), device_of(spec.device)
    warmup = math.ceil(spec.warmup * steps)
    decay = min(steps - warmup, math.ceil(DECAY * steps))
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=steps,
        learning_rate=learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(spec.schedule, spec.schedule),
        lr_scheduler_kwargs={"num_decay_steps": decay} if spec.schedule == "warmup_stable_decay" else None,
        warmup_steps=warmup,
        weight_decay=spec.weight_decay,
        adam_beta2=spec.beta2,
        max_grad_norm=spec.clip,
        optim="adamw_bnb_8bit" if spec.optimizer == "adamw_8bit" else "adamw_torch_fused",
        activation_checkpointing=spec.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if spec.gradient_checkpointing else None,
        bf16=use_bf16(spec.precision, spec.device),
        use_cpu=device == "cpu",
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
        dataloader_pin_memory=device == "cuda",
        accelerator_config={"dispatch_batches": False, "even_batches": False, "split_batches": False},
        **liger.settings(spec),
        **placement(spec),
    )
