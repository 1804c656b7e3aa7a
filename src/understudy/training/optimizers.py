"""Muon for the matrices of hidden layers, AdamW for everything else: one optimizer to the Trainer.

Muon (Jordan et al., 2024; torch.optim.Muon) orthogonalises the update of each weight matrix. It trains a
small model from scratch on a fraction of AdamW's tokens; embeddings, the output head, norms and biases
are not matrices that map activations to activations, and stay with AdamW. Its update is scaled to
AdamW's usual size, so one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """The two optimizers side by side, with joined parameter groups and state."""

    def __init__(self, model: Any, lr: float, weight_decay: float, betas: tuple[float, float]) -> None:
        matrices, others = split(model)
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, betas=betas, fused=True),
        )
        super().__init__([{"params": matrices}, {"params": others}], {"lr": lr})
        # A scheduler writes learning rates into these groups, so they must be the parts' own.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def split(model: Any) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Trainable parameters: (weights of linear layers but the output head, all others)."""
    head = model.get_output_embeddings()
    matrices = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [p for p in trainable if id(p) in matrices], [p for p in trainable if id(p) not in matrices]


def factory() -> Callable[..., MuonWithAdamW]:
    """What `transformers.Trainer` calls for an optimizer that must see the whole model."""
    return MuonWithAdamW
