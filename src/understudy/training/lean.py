"""Parts of T5 computed in fewer passes over memory on CPUs: the same numbers but for the last digits.

A step of a small T5 is two thirds matrix products, and the rest is reading and writing. Four places write
what nobody needs: the norm hands on fp32 that each layer behind it casts again, forward and back; the gated
feed-forward casts its inner activations to fp32 and back; the curve in it is eight passes where torch has
one; and scores of attention are multiplied by one. An embedding that is also the head gets a gradient for
every word, most of it zeros, from each of its two uses as an embedding, beside that of the head; as sparse
gradients they are added to it where they are not zero.

What stands in for a module is tried first on drawn numbers, and left out where it gives others. Imports
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.activations import NewGELUActivation
from transformers.masking_utils import eager_mask

ATTENTION = "understudy_unscaled"
CLOSE = 1e-4
"""How far outputs may lie apart in fp32, as a share of the largest."""


@contextmanager
def lean(model: Any, head: torch.nn.Linear | None, alone: bool) -> Iterator[None]:
    """Inside the block `model` computes in fewer passes. `head` is the head whose gradient is made in chunks
    (`head.fits`), None without; `alone` is whether one process has the training to itself."""
    with ExitStack() as changed:
        for module in list(model.modules()):
            if (forward := _stand_in(module)) is not None:
                changed.enter_context(_set(module, "forward", forward))
        # Several processes are told beforehand which gradients are sparse, and these are not in the end.
        if head is not None and alone:
            for module in list(model.modules()):
                if isinstance(module, torch.nn.Embedding) and module.weight is head.weight:
                    changed.enter_context(_set(module, "sparse", True))
        yield


def unscaled(model: Any) -> bool:
    """Whether the scores of attention are as they come: T5 has the factor in its weights."""
    scales = [m.scaling for m in model.modules() if type(m).__name__.endswith("T5Attention")]
    return bool(scales) and all(scale == 1.0 for scale in scales)


@contextmanager
def _set(module: Any, name: str, value: object) -> Iterator[None]:
    before = vars(module).get(name)
    setattr(module, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)
        else:
            setattr(module, name, before)


def _stand_in(module: Any) -> Callable[..., torch.Tensor] | None:
    kind = type(module).__name__
    if "forward" in vars(module):
        return None
    if isinstance(module, NewGELUActivation):
        return MethodType(_gelu, module)
    if kind.endswith("T5LayerNorm"):
        own, width = MethodType(_norm, module), module.weight.shape[0]
    elif kind.endswith("T5DenseGatedActDense"):
        own, width = MethodType(_gated, module), module.wi_0.in_features
    else:
        return None
    return own if _same(module, own, width) else None


def _same(module: Any, own: Callable[..., torch.Tensor], width: int) -> bool:
    weight = next(each for each in module.parameters() if each.is_floating_point())
    if isinstance(weight, FakeTensor):
        # Of shapes alone there is nothing to compare.
        return True
    drawn = torch.randn(1, 3, width, generator=torch.Generator().manual_seed(0)).to(weight)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            wanted, given = module(drawn), own(drawn)
    finally:
        module.train(training)
    return bool((wanted - given).abs().max() <= CLOSE * wanted.abs().max())


def _gelu(_: Any, inputs: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = torch.nn.functional.gelu(inputs, approximate="tanh")
    return out


def _gated(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Without the cast to the weights' type, which autocast undoes at once."""
    inner = module.act(module.wi_0(hidden)) * module.wi_1(hidden)
    out: torch.Tensor = module.wo(module.dropout(inner))
    return out


def _norm(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    out: torch.Tensor = _RootMeanSquare.apply(hidden, module.weight, module.variance_epsilon, dtype)  # type: ignore[no-untyped-call]
    return out


class _RootMeanSquare(torch.autograd.Function):
    """hidden / sqrt(mean(hidden^2) + eps) x weight over the last axis, in fp32, handed on as `dtype`
    (Zhang & Sennrich, arXiv 1910.07467)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, eps: float, dtype: torch.dtype
    ) -> torch.Tensor:
        wide = hidden.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = norm.square_().div_(wide.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(hidden, weight, scale)
        out: torch.Tensor = (wide * scale).mul_(weight).to(dtype)
        return out

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, scale = ctx.saved_tensors
        normed = hidden.float() * scale
        of_weight = (normed * grad[0]).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        back = grad[0] * weight.float()
        along = (back * normed).mean(-1, keepdim=True)
        back = back.sub_(normed.mul_(along)).mul_(scale)
        return back.to(hidden.dtype), of_weight, None, None


def _unscaled(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    position_bias: torch.Tensor | None = None,
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """transformers' eager attention without a factor for the scores."""
    scores = query @ key.transpose(2, 3)
    for added in (position_bias, attention_mask):
        scores = scores if added is None else scores + added
    seen = torch.nn.functional.dropout(torch.softmax(scores, -1), dropout, module.training)
    return (seen @ value).transpose(1, 2).contiguous(), seen


AttentionInterface.register(ATTENTION, _unscaled)
AttentionMaskInterface.register(ATTENTION, eager_mask)
