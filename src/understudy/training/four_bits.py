"""What bitsandbytes does for a training: frozen weights in four bits, and an AdamW that remembers in bytes.

4-bit NormalFloat (QLoRA, Dettmers et al., arXiv 2305.14314) keeps half a byte of each weight, and for each 64
of them one byte of scale, whose own scale stands once for 256 (double quantization). A product unpacks the
layer's weights and forgets them. 8-bit AdamW (Dettmers et al., arXiv 2110.02861) keeps its two moments in a
byte each, with a scale for each 256.

The catch: the weights as they were wait in the host's memory for the update. So a GPU holds an eighth of
them, and a training on processors, which is slow besides, holds an eighth more. Imports torch.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from understudy.errors import TrainingError

BLOCK = 64
"""Weights that share a scale, which is a byte."""
SCALES = 256
"""Scales that share one of their own, and numbers of the optimizer that share one: four bytes each."""
SMALLEST = 4096
"""Numbers of a tensor from which the optimizer remembers in bytes; of smaller ones in fp32."""


def check(asked: str, device: str) -> None:
    """Raises TrainingError where bitsandbytes is missing or cannot do `asked` on `device`."""
    if find_spec("bitsandbytes") is None:
        raise TrainingError(
            f"{asked} needs bitsandbytes, which is not installed: pip install bitsandbytes, or remove the key"
        )
    if device == "cuda":
        return
    import bitsandbytes  # type: ignore[import-not-found]

    # What both need; releases before 0.49 have it for GPUs alone.
    kernel = "bitsandbytes::optimizer_update_8bit_blockwise"
    if device != "cpu" or not _has(kernel, "CPU"):
        raise TrainingError(
            f"{asked} needs a CUDA device, or processors and a newer bitsandbytes than "
            f"{bitsandbytes.__version__}; to train on {device}, remove the key"
        )


def _has(operation: str, where: str) -> bool:
    try:
        return bool(torch._C._dispatch_has_kernel_for_dispatch_key(operation, where))
    except RuntimeError:
        # There is no such operation at all.
        return False


def forget() -> None:
    """Have bitsandbytes forget the trainings before this one in this process: which of their parameters, by
    place and by address, an 8-bit optimizer was to treat otherwise."""
    from bitsandbytes.optim import GlobalOptimManager  # type: ignore[import-not-found]

    GlobalOptimManager.get_instance().initialize()


def layers(model: Any) -> dict[str, torch.nn.Linear]:
    """The linear layers that are held in four bits, by name: not the output head, nor those that the
    architecture wants in full precision. T5 casts what goes into such a one to its weights' type."""
    head = model.get_output_embeddings()
    kept: set[str] = set()
    for listed in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"):
        kept |= set(getattr(model, listed, None) or ())
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and not kept & set(name.split("."))
    }


def quantized(model: Any, device: str, compute: torch.dtype) -> dict[str, torch.nn.Linear]:
    """Puts 4-bit layers into the places of `layers`, and moves the model to `device`. Returns the original
    layers by name. Raises TrainingError where there are none."""
    import bitsandbytes as bnb

    originals = layers(model)
    if not originals:
        raise TrainingError(
            "train.lora.bits is for linear layers, and this student has none but its output head: remove it"
        )
    for name, module in originals.items():
        small = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=compute,
            quant_type="nf4",
            device="meta",
        )
        weight = module.weight.detach()
        small.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", module=small)
        if module.bias is not None:
            # A copy: the layer casts its bias in place.
            small.bias = torch.nn.Parameter(module.bias.detach().clone(), requires_grad=False)
        # On such processors the first pass in evaluation repacks the weights for a product that has no
        # gradient, and training goes on without one.
        small.support_avx512bf16_for_cpu = False
        # Moving is what quantizes.
        model.set_submodule(name, small.to(device))
    model.to(device)
    return originals


def whole(model: Any, originals: dict[str, torch.nn.Linear]) -> Any:
    """The model with its original layers back in their places."""
    for name, module in originals.items():
        device = model.get_submodule(name).weight.device
        model.set_submodule(name, module.to(device))
    return model


def weight_bytes(weights: int) -> int:
    """Bytes of a 4-bit layer with so many weights: halves of a byte, scales, and scales of scales."""
    scales = -(-weights // BLOCK)
    return -(-weights // 2) + scales + 4 * -(-scales // SCALES) + _TABLES


_TABLES = 4 * (16 + 256 + 1)
"""What each layer has of its own besides: the 16 values of four bits, the 256 of a scale, and its offset."""


def state_bytes(model: Any) -> int:
    """Bytes that 8-bit AdamW remembers of a model's trained parameters. The Trainer has it remember
    embeddings in fp32."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    total = 0
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        many = parameter.numel()
        full = many < SMALLEST or id(parameter) in embeddings
        total += 8 * many if full else 2 * (many + 4 * -(-many // SCALES))
    return total
