"""LoRA: small matrices beside the frozen ones are trained, and merged into them when the training ends.

The update of a linear layer is alpha / rank x B A, with A (rank, inputs) random and B (outputs, rank) zero at
first (Hu et al., arXiv 2106.09685); `peft` does it. What is saved is a plain model, so what reads a student
needs to know nothing of this. With `bits: 4` the frozen layers are held in 4-bit NormalFloat while training
(QLoRA, Dettmers et al., arXiv 2305.14314), and the update is merged into the weights as they were before: the
catch is that it was learned beside rounded ones.
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
    asked = []
    if spec.lora is not None and spec.lora.bits is not None:
        asked.append("train.lora.bits")
    if spec.optimizer == "adamw_8bit":
        asked.append("train.optimizer adamw_8bit")
    if asked and (find_spec("bitsandbytes") is None or not torch.cuda.is_available()):
        missing = "bitsandbytes, which is not installed" if torch.cuda.is_available() else "a CUDA device"
        raise TrainingError(
            f"{' and '.join(asked)} needs {missing}: pip install bitsandbytes on a machine with one, or "
            "remove the key"
        )


@contextmanager
def attached(live: LiveStudent, lora: Lora | None, seed: int) -> Iterator[None]:
    """Inside the block `live.model` has adapters, and nothing else is trained; after it they are merged.

    Where the block fails, they are taken off. Raises TrainingError for targets that the model has not.
    """
    if lora is None:
        yield
        return
    before: Any = live.model
    frozen = {name for name, parameter in before.named_parameters() if not parameter.requires_grad}
    originals = quantized(before) if lora.bits else {}
    wearing: Any = adapted(before, lora, seed)
    live.model = wearing
    try:
        yield
    except BaseException:
        live.model = _whole(wearing.unload(), originals)
        raise
    else:
        deltas = {name: _delta(wearing, name) for name in originals}
        plain = wearing.unload() if originals else wearing.merge_and_unload()
        live.model = _whole(plain, originals)
        with torch.no_grad():
            for name, delta in deltas.items():
                weight: Any = live.model.get_submodule(name).weight
                weight += delta.to(weight)
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


# ---------------------------------------------------------------- 4-bit weights


def quantized(model: Any) -> dict[str, torch.nn.Linear]:
    """Puts 4-bit layers into the places of all linear ones but the output head, which become 4-bit when they
    are moved to the device. Returns the original layers by name."""
    import bitsandbytes as bnb  # type: ignore[import-not-found]

    head = model.get_output_embeddings()
    originals = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    for name, module in originals.items():
        small = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=torch.bfloat16,
            quant_type="nf4",
        )
        small.weight = bnb.nn.Params4bit(module.weight.data.clone(), requires_grad=False, quant_type="nf4")
        if module.bias is not None:
            small.bias = module.bias
        model.set_submodule(name, small)
    return originals


def _whole(model: Any, originals: dict[str, torch.nn.Linear]) -> Any:
    """The model with its original layers back in their places."""
    for name, module in originals.items():
        device = model.get_submodule(name).weight.device
        model.set_submodule(name, module.to(device))
    return model


def _delta(adapted: Any, name: str) -> torch.Tensor:
    layer = adapted.get_base_model().get_submodule(name)
    update: Any = getattr(layer, "get_delta_weight", None)
    if update is None:
        return torch.zeros(())
    delta: torch.Tensor = update("default").detach()
    return delta
