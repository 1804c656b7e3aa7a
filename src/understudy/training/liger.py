"""Liger's kernels for the norms, rotary positions and gates of a decoder (Hsu et al., arXiv 2410.10989).

The Trainer puts them in when it begins to train (`use_liger_kernel`): into the model at hand, and, which is
the catch, into the classes and functions of its family for the rest of the process, where they fail on what
is not on a GPU. So what was there before is put back after the training. The parts of Liger that compute the
loss stay off: `head` does that, with a weight for each token. Imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from understudy.errors import TrainingError

if TYPE_CHECKING:
    from understudy.roles import TrainSpec

GPU = "cuda"
"""The device that the kernels are for."""
PARTS = {"cross_entropy": False, "fused_linear_cross_entropy": False}
"""What is left out, as Liger calls it; the rest is on by default."""
CLOSE = 1e-2
"""How far logits with and without the kernels may lie apart, as a share of the largest: TF32 stays below, and
another curve in the gates, which Liger does not look at in a model that is already made, is above."""


def settings(spec: TrainSpec) -> dict[str, Any]:
    """What TrainingArguments are told; nothing where the kernels are not asked for."""
    return {"use_liger_kernel": True, "liger_kernel_config": dict(PARTS)} if spec.liger else {}


@contextmanager
def undone(model: Any, device: str) -> Iterator[None]:
    """After the block, whatever the Trainer has put into `model` and its family is as it was before.

    `model` may wear adapters. Raises TrainingError where the kernels cannot be had for it on `device`.
    """
    from transformers.trainer_utils import unwrap_peft_model

    plain = unwrap_peft_model(model)
    check(plain, device)
    with _restored(plain):
        prove(plain, device)
    with _restored(plain):
        yield


def check(model: Any, device: str) -> None:
    """Raises TrainingError without a CUDA device, without the package, and for a family it does not know."""
    if device != GPU:
        raise TrainingError("train.liger needs a CUDA device to train on, and there is none: set it to false")
    if find_spec("liger_kernel") is None:
        raise TrainingError(
            "train.liger needs the package liger-kernel, which is not installed: pip install liger-kernel, "
            "or set train.liger to false"
        )
    family, known = str(model.config.model_type), families()
    if family not in known:
        raise TrainingError(
            f"train.liger has no kernels for students of the family {family}: set it to false, or take one "
            f"of {', '.join(sorted(known))}"
        )


def families() -> frozenset[str]:
    """The values of `model_type` that Liger has kernels for."""
    from liger_kernel.transformers import monkey_patch  # type: ignore[import-not-found]

    return frozenset(monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN)


def prove(model: Any, device: str) -> None:
    """Puts the kernels in. Raises TrainingError unless the model's logits stay what they were."""
    from transformers.integrations.liger import apply_liger_kernel

    model.to(device)
    ids = torch.arange(16, device=device).remainder(model.config.vocab_size).reshape(2, 8)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            wanted = model(input_ids=ids, use_cache=False).logits.float()
            apply_liger_kernel(model, dict(PARTS))
            found = model(input_ids=ids, use_cache=False).logits.float()
    finally:
        model.train(training)
    apart = float((found - wanted).abs().max() / wanted.abs().max())
    # Written so that a number that is none is refused too.
    if not apart <= CLOSE:
        raise TrainingError(
            f"Liger's kernels change the logits of this student ({type(model).__name__}) by {apart:.1e} of "
            "the largest: set train.liger to false"
        )


@contextmanager
def _restored(model: Any) -> Iterator[None]:
    """Names in the module of the model's family, and what was bound to its own modules."""
    family = vars(sys.modules[type(model).__module__])
    before = dict(family)
    try:
        yield
    finally:
        for name, value in before.items():
            if family.get(name) is not value:
                family[name] = value
        for module in model.modules():
            for name, value in list(vars(module).items()):
                # A method of Liger's, or of this model with Liger's class for its own.
                if getattr(value, "__self__", None) is module and _of_liger(value):
                    delattr(module, name)


def _of_liger(method: Any) -> bool:
    return str(getattr(method, "__module__", "")).partition(".")[0] == "liger_kernel"
