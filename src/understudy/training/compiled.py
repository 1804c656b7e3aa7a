"""A model's layers through torch.compile: one graph for all layers of a kind, whatever the shapes.

The layers are what a model repeats (its `ModuleList`s of one class), and each is compiled in place, so names
of weights, hooks, adapters, checkpoints and what is saved stay as they are. Whole models are not: the head's
`forward` is another at each call (`head`), and so every step would be a new graph. Batches of a plan come in
thousands of shapes (rows, source, target), so sizes are variables of a graph and nothing is padded for them;
a single row is told apart from many, which makes a second one.

Only training passes go through the graphs. Whatever runs in evaluation mode, such as measuring on dev or
generating, runs as ever. Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from understudy.errors import TrainingError

GRAPHS = 32
"""Graphs of one kind of layer after which it runs as ever. A layer of a T5 has six: with its own position
biases and without, in the encoder and the decoder, of one row and of many."""


@contextmanager
def compiled(model: torch.nn.Module) -> Iterator[None]:
    """Inside the block the repeated layers of `model` are compiled when they are first trained.

    Raises TrainingError for a model that repeats nothing, and then where this machine cannot compile.
    """
    import torch._dynamo
    import torch.fx.experimental._config as symbols

    layers = list(repeated(model))
    if not layers:
        raise TrainingError(
            "train.compile compiles repeated layers, of which this student "
            f"({type(model).__name__}) has none: set it to false"
        )
    with ExitStack() as changed:
        # Layers are compiled one by one, so there is nothing in a graph to be split between processes.
        changed.enter_context(torch._dynamo.config.patch(recompile_limit=GRAPHS, optimize_ddp=False))
        # Sizes that happen to be equal in one batch are not in the next.
        changed.enter_context(symbols.patch(use_duck_shape=False))  # type: ignore[attr-defined]
        for layer in layers:
            layer._compiled_call_impl = _training(layer)
            changed.callback(setattr, layer, "_compiled_call_impl", None)
        yield


def repeated(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The layers that a model repeats: the members of its outermost lists of modules of one class."""
    for child in module.children():
        if isinstance(child, torch.nn.ModuleList) and len({type(one) for one in child}) == 1:
            yield from child
        else:
            yield from repeated(child)


def _training(layer: torch.nn.Module) -> Callable[..., Any]:
    """Stands for the layer's own call: compiled while it is trained."""
    plain: Callable[..., Any] = layer._call_impl
    graph = torch.compile(plain, dynamic=True)
    failures = _failures()

    def call(*given: Any, **named: Any) -> Any:
        if not (layer.training and torch.is_grad_enabled()):
            return plain(*given, **named)
        try:
            return graph(*given, **named)
        except failures as error:
            raise TrainingError(_sentence(error)) from error

    return call


def _failures() -> tuple[type[Exception], ...]:
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler

    return (BackendCompilerFailed, InductorError, InvalidCxxCompiler, CppCompileError)


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"train.compile cannot compile on this machine ({lines[0] if lines else type(error).__name__}): "
        "install a C++ compiler and Python's headers (on Debian: apt install g++ python3-dev), or set "
        "train.compile to false"
    )
