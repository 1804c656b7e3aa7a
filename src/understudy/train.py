"""Train one student: text groups -> token-budget batches -> transformers.Trainer -> a saved folder.

The optimiser loop, schedules, checkpoints and mixed precision are the Trainer's. Ours are which examples
share a batch and the objective: a weighted sum over objectives of mean token cross-entropy, which is
plain fine-tuning with one objective and Distilling Step-by-Step with two.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from understudy import batches
from understudy.errors import TrainingError
from understudy.roles import LiveStudent, Spec, Student
from understudy.types import Example

Progress = Callable[[float, str], None]
Group = tuple[Mapping[str, Any], ...]


class Budget(Spec):
    """How long to train. "tokens" counts non-padding source + target tokens, which is proportional to
    FLOPs for students of one size, so methods with short and long targets get equal compute."""

    unit: Literal["tokens", "steps", "epochs"] = "epochs"
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


def train(
    student: Student,
    groups: Sequence[tuple[Example, ...]],
    spec: TrainSpec,
    *,
    learning_rate: float,
    seed: int,
    folder: Path,
    progress: Progress,
    start: Path | None = None,
    dev: Sequence[tuple[Example, ...]] = (),
    related: Sequence[tuple[Example, ...]] = (),
) -> dict[str, Any]:
    """Train `student` on `groups` and save it under `folder/model`; continues from a checkpoint there.

    `start` is the folder of an already trained student to go on from; None starts as the spec says. The
    mean loss on `dev`, if there is any, is measured at the end and decides nothing here. The texts of
    `related`, the groups of the method's other stages, enter a from-scratch vocabulary: a stage that goes
    on from another's weights must find its own words there.

    Returns learning_rate, steps, epochs, tokens (source + target, without padding), target_tokens,
    padding_efficiency, parameters, final_loss, dev_loss, examples, too_long (examples left out), seconds
    (of this call).
    """
    from understudy import trainer

    started = time.monotonic()
    texts = [t for group in (*groups, *related) for e in group for t in (e.source, f" {e.target}")]
    live = student.load(start) if start else student.create(texts, seed)
    encoded, too_long = _encode(live, groups, spec)
    sizes = [_size(group, live.kind) for group in encoded]
    plan = batches.plan(sizes, spec.batch_tokens, spec.budget.unit, spec.budget.amount, seed)
    loss = trainer.fit(live, encoded, plan, spec, learning_rate, seed, folder, progress)
    dev_loss = trainer.mean_loss(live, _encode(live, dev, spec)[0]) if dev else None
    live.save(folder / "model")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return {
        "learning_rate": learning_rate,
        "steps": len(plan.batches),
        "epochs": plan.epochs,
        "tokens": plan.tokens,
        "target_tokens": sum(len(e["target"]) for batch in plan.batches for i in batch for e in encoded[i]),
        "padding_efficiency": plan.tokens / plan.padded,
        "parameters": sum(p.numel() for p in live.model.parameters()),
        "final_loss": loss,
        "dev_loss": dev_loss,
        "examples": sum(map(len, encoded)),
        "too_long": too_long,
        "seconds": time.monotonic() - started,
    }


def _encode(
    live: LiveStudent, groups: Sequence[tuple[Example, ...]], spec: TrainSpec
) -> tuple[list[Group], int]:
    """Token ids of every group that fits the limits, and how many examples did not."""
    rows = iter(live.encode([example for group in groups for example in group]))
    encoded = [tuple(next(rows) for _ in group) for group in groups]
    fitting = [
        group
        for group in encoded
        if all(
            len(e["source"]) <= spec.max_source_tokens and len(e["target"]) <= spec.max_target_tokens
            for e in group
        )
    ]
    if not fitting:
        raise TrainingError(
            f"none of the {sum(map(len, encoded))} training examples fits {spec.max_source_tokens} source "
            f"and {spec.max_target_tokens} target tokens: raise train.max_source_tokens or "
            "train.max_target_tokens"
        )
    return fitting, sum(map(len, encoded)) - sum(map(len, fitting))


def _size(group: Group, kind: str) -> batches.Size:
    tokens = sum(len(e["source"]) + len(e["target"]) for e in group)
    if kind == "causal":
        return batches.Size(len(group), max(len(e["source"]) + len(e["target"]) for e in group), 0, tokens)
    source = max(len(e["source"]) for e in group)
    return batches.Size(len(group), source, max(len(e["target"]) for e in group), tokens)
