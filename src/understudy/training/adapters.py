"""LoRA: small matrices beside the frozen ones are trained, and merged into them when the training ends.

The update of a linear layer is alpha / rank x B A, with A (rank, inputs) random and B (outputs, rank) zero at
first (Hu et al., arXiv 2106.09685); `peft` does it. What is saved is a plain model, so what reads a student
needs to know nothing of this. With `bits: 4` the frozen layers are held in 4-bit NormalFloat while training
(`four_bits`), and the update is merged into the weights as they were before: the catch is that it was learned
beside rounded ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from understudy.errors import TrainingError
from understudy.roles import LiveStudent
from understudy.training import four_bits
from understudy.training.arguments import device_of

if TYPE_CHECKING:
    from understudy.roles import Lora, TrainSpec


def check(spec: TrainSpec) -> None:
    """Raises TrainingError where this machine has not what the spec asks for."""
    if spec.lora is not None and find_spec("peft") is None:
        raise TrainingError("train.lora needs peft, which is not installed: pip install 'understudy[peft]'")
    if spec.lora is not None and spec.optimizer == "muon":
        raise TrainingError(
            "train.lora does not go with optimizer muon, which is for students from scratch: set "
            "train.optimizer to adamw"
        )
    shared = spec.deepspeed is not None or (spec.strategy == "fsdp" and spec.devices != 1)
    if spec.lora is not None and shared:
        raise TrainingError(
            "train.lora does not go with fsdp or deepspeed, where no process holds whole weights: "
            "set train.strategy to ddp"
        )
    if spec.optimizer == "adamw_8bit" and spec.strategy == "fsdp" and spec.devices != 1:
        raise TrainingError(
            "train.optimizer adamw_8bit does not go with fsdp, whose shares of weights bitsandbytes cannot "
            "read: set train.optimizer to adamw, or train.strategy to ddp"
        )
    asked = []
    if spec.lora is not None and spec.lora.bits is not None:
        asked.append("train.lora.bits")
    if spec.optimizer == "adamw_8bit":
        asked.append("train.optimizer adamw_8bit")
    if asked:
        four_bits.check(" and ".join(asked), device_of(spec.device))


@contextmanager
def attached(
    live: LiveStudent,
    lora: Lora | None,
    seed: int,
    device: str = "cpu",
    compute: torch.dtype = torch.float32,
) -> Iterator[None]:
    """Inside the block `live.model` has adapters, and nothing else is trained; after it they are merged.

    4-bit layers lie on `device` and multiply in `compute`. Where the block fails, adapters are taken off.
    Raises TrainingError for targets that the model has not.
    """
    if lora is None:
        yield
        return
    before: Any = live.model
    frozen = {name for name, parameter in before.named_parameters() if not parameter.requires_grad}
    originals = four_bits.quantized(before, device, compute) if lora.bits else {}
    try:
        wearing: Any = adapted(before, lora, seed)
    except BaseException:
        four_bits.whole(before, originals)
        raise
    live.model = wearing
    try:
        yield
    except BaseException:
        live.model = four_bits.whole(wearing.unload(), originals)
        raise
    else:
        live.model = _merged(wearing, originals)
    finally:
        for name, parameter in live.model.named_parameters():
            parameter.requires_grad = name not in frozen


def adapted(model: Any, lora: Lora, seed: int) -> Any:
    """`model` with adapters, as `peft` wraps it."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=lora.targets if lora.targets == "all-linear" else list(lora.targets),
    )
    torch.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            # peft asks transformers by a name that is going away.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            return get_peft_model(model, config)
    except ValueError as error:
        layers = sorted(
            {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        )
        raise TrainingError(
            f"no adapter can be put on {lora.targets}: set train.lora.targets to all-linear, or to some of "
            f"{', '.join(layers)}"
        ) from error


def _merged(wearing: Any, originals: dict[str, torch.nn.Linear]) -> Any:
    """The plain model with the updates in it; those beside 4-bit layers go to the weights as they were."""
    if not originals:
        return wearing.merge_and_unload()
    deltas: dict[str, torch.Tensor] = {}
    for name, layer in wearing.get_base_model().named_modules():
        if not hasattr(layer, "get_delta_weight"):
            continue
        if name in originals:
            deltas[name] = layer.get_delta_weight("default").detach()
        else:
            layer.merge()
    model = four_bits.whole(wearing.unload(), originals)
    with torch.no_grad():
        for name, delta in deltas.items():
            weight: Any = model.get_submodule(name).weight
            weight += delta.to(weight)
    return model
