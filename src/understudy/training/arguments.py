"""A training as transformers.Trainer is told of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from understudy.batches import Plan
from understudy.training.optimizers import factory

if TYPE_CHECKING:
    from understudy.roles import TrainSpec


def use_bf16(precision: str) -> bool:
    """Whether to compute in bf16: asked for, or "auto" on hardware that has it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def optimizer(spec: TrainSpec, learning_rate: float) -> tuple[Any, dict[str, Any]] | None:
    """What the Trainer makes its optimizer from; None for the AdamW of its arguments."""
    if spec.optimizer == "adamw":
        return None
    settings = {"lr": learning_rate, "weight_decay": spec.weight_decay, "betas": (0.9, spec.beta2)}
    return factory, settings


def arguments(
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
