"""Bytes that are alive while something is computed: storages of tensors, from their making to their end."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside the block, counts every storage that an operation makes, by what it is for.

    On fake tensors it says what a computation would take, and computes nothing. `peak` is the largest sum and
    `at_peak` its parts. What an operation allocates and frees within itself is not seen.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vocabulary = vocabulary
        self.alive: dict[str, int] = {}
        self.peak = 0
        self.at_peak: Mapping[str, int] = {}
        self._kinds: dict[int, tuple[str, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor):
                wide = tensor.shape[-1:] == (self.vocabulary,)
                self.note(tensor, "logits" if wide else "activations")
        return out

    def note(self, tensor: torch.Tensor, kind: str) -> None:
        """Count the tensor's storage, or count it under another kind from now on."""
        if tensor.is_sparse:
            # What it holds are tensors that were counted when they were made.
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._kinds:
            before, size = self._kinds[key]
            # Only gradients are told apart after they were made.
            if kind == "gradients":
                self.alive[before] -= size
                self._kinds[key] = (kind, size)
                self.alive[kind] = self.alive.get(kind, 0) + size
            return
        size = storage.nbytes()
        self._kinds[key] = (kind, size)
        weakref.finalize(storage, self._ended, key)
        self.alive[kind] = self.alive.get(kind, 0) + size
        total = sum(self.alive.values())
        if total > self.peak:
            self.peak, self.at_peak = total, dict(self.alive)

    def made(self, tensor: torch.Tensor, kind: str) -> torch.Tensor:
        """The tensor, counted."""
        self.note(tensor, kind)
        return tensor

    def _ended(self, key: int) -> None:
        kind, size = self._kinds.pop(key)
        self.alive[kind] -= size
