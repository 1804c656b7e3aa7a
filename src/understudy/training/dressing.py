"""What a model wears while it is trained, and takes off after: adapters, and attention for packed rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from understudy.roles import LiveStudent
from understudy.training import adapters, packing

if TYPE_CHECKING:
    from understudy.roles import TrainSpec


@contextmanager
def dressed(live: LiveStudent, spec: TrainSpec, seed: int) -> Iterator[None]:
    """Inside the block `live.model` is what is to be trained; after it, what is to be saved."""
    adapters.check(spec)
    with ExitStack() as worn:
        if spec.packing:
            worn.enter_context(packing.attention(live))
        worn.enter_context(adapters.attached(live, spec.lora, seed))
        yield
