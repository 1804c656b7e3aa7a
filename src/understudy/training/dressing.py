"""What a model wears while it is trained, and takes off after: adapters, kernels, and attention for packs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from understudy.roles import LiveStudent
from understudy.training import adapters, compiled, liger, packing
from understudy.training.arguments import device_of, use_bf16

if TYPE_CHECKING:
    from understudy.roles import TrainSpec


@contextmanager
def dressed(live: LiveStudent, spec: TrainSpec, seed: int) -> Iterator[None]:
    """Inside the block `live.model` is what is to be trained; after it, what is to be saved."""
    adapters.check(spec)
    with ExitStack() as worn:
        if spec.packing:
            worn.enter_context(packing.attention(live))
        compute = torch.bfloat16 if use_bf16(spec.precision, spec.device) else torch.float32
        device = device_of(spec.device)
        worn.enter_context(adapters.attached(live, spec.lora, seed, device, compute))
        if spec.liger:
            worn.enter_context(liger.undone(live.model, device))
        if spec.compile:
            worn.enter_context(compiled.compiled(live.model))
        yield
