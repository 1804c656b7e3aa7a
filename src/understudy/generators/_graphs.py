"""A step as a CUDA graph: hundreds of small kernels are launched as one.

Nobody has run this on a GPU yet: it was written by the documentation of `torch.cuda.graph`, and what calls it
is tested on CPUs, where a step is called as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor


class Graphs:
    """Steps on memory that does not move, each captured when it is first wanted."""

    def __init__(self, state: Sequence[Tensor]) -> None:
        """`state` is what a step reads and changes; all else that it writes, it would write again alike."""
        self._state = state
        self._graphs: dict[Hashable, Any] = {}
        # Graphs run one at a time and leave nothing in their pool that another one reads.
        self._pool: Any = torch.cuda.graph_pool_handle()

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        if key not in self._graphs:
            self._graphs[key] = self._captured(step)
        self._graphs[key].replay()

    def _captured(self, step: Callable[[], None]) -> Any:
        before = [tensor.clone() for tensor in self._state]
        # Libraries take their working memory at a first call, which must not be inside the graph.
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            step()
            step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        for tensor, kept in zip(self._state, before, strict=True):
            tensor.copy_(kept)
        return graph
