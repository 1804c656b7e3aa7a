"""transformers: the reference, as students were trained; in bfloat16 with half the memory traffic."""

from __future__ import annotations

import copy
from importlib import metadata
from pathlib import Path
from typing import Any

from understudy.generators.contract import EXACT, Writer

__all__ = ["Transformers"]


class Transformers:
    """`generate` of transformers, through the student's own `generate`."""

    name = "transformers"

    def version(self) -> str:
        return metadata.version("transformers")

    def refusal(self, live: Any, compute_type: str, device: str) -> str:
        del live, device
        return (
            "" if compute_type in (EXACT, "bfloat16") else f"transformers does not compute in {compute_type}"
        )

    def build(self, live: Any, compute_type: str, device: str, cache: Path) -> Writer:
        """The student itself, or a copy of it in bfloat16, which leaves the student as it is."""
        import torch

        del cache
        if compute_type == EXACT:
            live.model.to(device)
            whole: Writer = live
            return whole
        other: Writer = copy.copy(live)
        other.model = copy.deepcopy(live.model).to(device, torch.bfloat16)  # type: ignore[attr-defined]
        return other
