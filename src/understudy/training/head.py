"""The plain objective without a table of logits: head and cross-entropy at targets alone, in chunks.

A vocabulary of 32,000 and a batch of 1,000 target tokens are 128 MB of logits in fp32, and their gradient as
much again. Here a chunk of positions goes through the head, gives its part of the loss and at once its part
of the gradient, and is forgotten: as many products as the plain way, and memory for one chunk (the idea of
Liger Kernel, arXiv 2410.10989, in plain torch and with a weight for each token). Source positions of
decoders and padding never reach the head.

The model is called as ever, with its head's `forward` replaced for the call: so scaling in front of the head
(T5's), adapters, hooks and wrappers stay as they are. What a model does to its logits after the head
(softcaps, biases) would be lost, so `fits` compares the two on a real example first. Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from understudy.training.objective import objective

CHUNK = 2**26
"""Logits at a time: 128 MB in bf16. Each further chunk reads and writes the gradient of the whole table."""
CACHED = 2**19
"""Logits at a time from which a CPU makes probabilities: 2 MB in fp32, which stay in its cache."""
TINY = torch.finfo(torch.float32).tiny
CLOSE = 1e-3
"""How far the two losses of one example may lie apart, of the loss. They are computed in fp32; a model whose
head is not where it seems is off by far more."""


def loss_of(
    model: torch.nn.Module,
    inputs: Mapping[str, Any],
    labels: torch.Tensor,
    weights: torch.Tensor,
    head: torch.nn.Linear,
) -> torch.Tensor:
    """`objective` of the model's logits for `inputs`, which the head never writes down as a whole.

    `labels` (rows, positions) with -100 off target, `weights` (rows, positions) from `token_weights`.
    """

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        target = labels != -100
        return cross_entropy(hidden[target], head.weight, labels[target], weights[target])

    with _Instead(head, forward):
        loss: torch.Tensor = model(**inputs, use_cache=False).logits
    return loss


def cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Sum over tokens of weight x cross-entropy of the logits `hidden` @ `weight`.T, in fp32.

    `hidden` (tokens, width), `weight` (vocabulary, width), `labels` and `weights` (tokens,). Products are in
    autocast's type inside autocast, else in the tensors' own.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    rows = max(1, CHUNK // weight.shape[0])
    cached = max(1, CACHED // weight.shape[0]) if kind == "cpu" else rows
    learning = torch.is_grad_enabled()
    with torch.autocast(kind, enabled=False):
        loss: torch.Tensor = _Chunked.apply(  # type: ignore[no-untyped-call]
            hidden, weight, labels, weights.float(), dtype, rows, cached, learning
        )
    return loss


class _Chunked(torch.autograd.Function):
    """Makes the gradients together with the loss: the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor,
        dtype: torch.dtype,
        rows: int,
        cached: int,
        learning: bool,
    ) -> torch.Tensor:
        of_hidden, of_weight = (learning and needed for needed in ctx.needs_input_grad[:2])
        cast, states = weight.to(dtype), hidden.to(dtype)
        total = torch.zeros((), device=hidden.device)
        back = torch.empty_like(states) if of_hidden else None
        sums: torch.Tensor | None = None
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            state, label, scale = states[part], labels[part, None], weights[part, None]
            table = state @ cast.T
            for few in range(0, len(label), cached):
                here = slice(few, few + cached)
                chance = torch.softmax(table[here], -1, dtype=torch.float32)
                at = chance.gather(-1, label[here])
                # No chance is too small for a logarithm: a loss ends at 87 per token, its gradient does not.
                total -= (at.clamp_min(TINY).log() * scale[here]).sum()
                if of_hidden or of_weight:
                    # Of the logits: softmax minus one at the label. The tokens' weights go to the narrow
                    # factors.
                    table[here] = chance.scatter_(-1, label[here], at - 1)
            if back is not None:
                back[part] = (table @ cast) * scale
            if of_weight:
                own = (table.T @ (state * scale).to(dtype)).float()
                sums = own if sums is None else sums.add_(own)
        if of_weight and sums is None:
            sums = torch.zeros_like(weight, dtype=torch.float32)
        ctx.save_for_backward(
            None if back is None else back.to(hidden.dtype), None if sums is None else sums.to(weight.dtype)
        )
        return total

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        back, sums = ctx.saved_tensors
        # A look at the number costs nothing where it need not be fetched; a fake tensor has none.
        if type(grad[0]) is torch.Tensor and grad[0].device.type == "cpu" and grad[0] == 1:
            return back, sums, None, None, None, None, None, None
        scaled = [None if saved is None else saved * grad[0].to(saved.dtype) for saved in (back, sums)]
        return (*scaled, None, None, None, None, None, None)


def head_of(model: Any) -> torch.nn.Linear | None:
    """The output head, where it is a plain product; None elsewhere."""
    try:
        head = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    if type(head) is not torch.nn.Linear or "forward" in vars(head):
        return None
    # A module says that its bias is always there.
    bias: torch.Tensor | None = head.bias
    return head if bias is None else None


def fits(model: Any, inputs: Mapping[str, Any]) -> torch.nn.Linear | None:
    """The head to be given to `loss_of`, or None where that would not be the loss of the model's logits.

    `inputs` are those of an example or a few, with `labels`.
    """
    head = head_of(model)
    if head is None:
        return None
    device = head.weight.device
    given = {name: value.to(device) for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    labels = given.pop("labels")
    weights = given.pop("token_weights", torch.ones_like(labels, dtype=torch.float32))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(**given, use_cache=False).logits
            plain = objective(logits, labels, weights)
            ours = loss_of(model, given, labels, weights, head)
    except (RuntimeError, TypeError, ValueError, IndexError):
        # The head's place is taken by a scalar, which some models go on to reckon with.
        return None
    finally:
        model.train(training)
    same = ours.ndim == 0 and bool((ours - plain).abs() <= CLOSE * plain.abs())
    return head if same else None


class _Instead:
    """Inside the block the module's `forward` is another."""

    def __init__(self, module: torch.nn.Module, forward: Callable[..., torch.Tensor]) -> None:
        self.module, self.forward = module, forward

    def __enter__(self) -> None:
        # On the instance, so that the hooks of `__call__` still run.
        self.module.forward = self.forward

    def __exit__(self, *_: object) -> None:
        del self.module.forward
