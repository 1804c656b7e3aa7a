"""The plain objective: a weighted sum over objectives of mean token cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


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


def token_weights(
    labels: torch.Tensor, rows: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]] | None = None
) -> torch.Tensor:
    """Weights (rows, positions) under which `objective` is the weighted sum of per-objective mean losses.

    A target token of objective k weighs weight_k / (target tokens of k in the batch). The weights of the
    objectives present are scaled to sum to 1. `whole` are the rows of the whole batch, where `rows` are only
    the share of it that this process computes.
    """
    target = (labels != -100).float()
    weights = torch.zeros_like(target)
    present = {row["objective"]: row["weight"] for row in whole or rows}
    for name in {row["objective"] for row in rows}:
        members = torch.tensor([row["objective"] == name for row in rows])
        tokens = target[members].sum() if whole is None else bearing(whole, name)
        weights[members] = target[members] * (present[name] / sum(present.values()) / tokens)
    return weights


def bearing(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    """How many target tokens of the objective `name` bear loss."""
    return sum(
        len(row["target"]) - (row["cut"] if row["silent"] else 0) for row in rows if row["objective"] == name
    )
