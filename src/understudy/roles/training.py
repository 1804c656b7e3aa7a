"""How long and how students are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from understudy.roles.spec import Spec


class Budget(Spec):
    """How long to train. "tokens" counts non-padding source + target tokens, which is proportional to
    FLOPs for decoders of one size. "flops" counts floating-point operations, so that methods with short and
    long targets get equal compute on encoder-decoders and between sizes too."""

    unit: Literal["tokens", "steps", "epochs", "flops"] = "epochs"
    amount: float = Field(3, gt=0)

    def times(self, share: float) -> Budget:
        return Budget(unit=self.unit, amount=self.amount * share)


class TrainSpec(Spec):
    """How students are trained. Of a list of learning rates, each method gets the one with the lowest loss
    on dev, whose questions the teacher then annotates too."""

    budget: Budget = Budget()
    learning_rate: float | tuple[float, ...] = 3e-4
    search_share: float = Field(0.25, gt=0, le=1)
    """Part of the budget that each candidate learning rate is tried with before one is chosen."""
    batch_tokens: int = Field(4096, gt=0)
    """Source + target tokens of a batch, padding included."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    optimizer: Literal["adamw", "muon"] = "adamw"
    """"muon" for students trained from scratch; checkpoints are fine-tuned with "adamw"."""
    weight_decay: float = Field(0.01, ge=0)
    beta2: float = Field(0.999, gt=0, lt=1)
    """AdamW's memory of squared gradients. Short trainings from scratch learn faster at 0.98."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """"auto" is bf16 where the hardware computes in it, else fp32."""
    max_source_tokens: int = Field(512, gt=0)
    max_target_tokens: int = Field(512, gt=0)
    """Longer examples are left out and counted, never cut: half a rationale teaches to stop half-way."""
    checkpoints: int = Field(4, ge=0)
    """How many resumable checkpoints are written during one training; the last one is kept."""
