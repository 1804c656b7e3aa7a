"""Train one student."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from understudy.roles import Spec


class Budget(Spec):
    """How long to train. "tokens" counts non-padding source + target tokens, which is proportional to
    FLOPs for students of one size, so methods with short and long targets get equal compute."""

    unit: Literal["tokens", "steps", "epochs"] = "epochs"
    amount: float = Field(3, gt=0)


class TrainSpec(Spec):
    """How students are trained. A list of learning rates is searched on dev, per method."""

    budget: Budget = Budget()
    learning_rate: float | tuple[float, ...] = 3e-4
    search_share: float = Field(0.25, gt=0, le=1)
    """Part of the budget that each candidate learning rate is tried with before one is chosen."""
    batch_tokens: int = Field(4096, gt=0)
    """Source + target tokens of a batch, padding included."""
    warmup: float = Field(0.05, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    weight_decay: float = Field(0.01, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    max_source_tokens: int = Field(512, gt=0)
    max_target_tokens: int = Field(512, gt=0)
    checkpoints: int = Field(4, ge=0)
    """How many times a resumable checkpoint is written during one training."""
