"""Weights that no process holds as a whole: FSDP 2 and DeepSpeed keep a share of them in each.

Imports torch.
"""

from __future__ import annotations

from typing import Any

import torch


def join(model: Any) -> None:
    """Have one module stand in all the places of a table of embeddings that several modules share (T5's: the
    encoder's, the decoder's, and one more). FSDP 2 wants all that share a weight in one group, and
    accelerate puts there the input embedding and the head alone (`fsdp_utils.fsdp2_prepare_model`)."""
    table = model.get_input_embeddings()
    for name, module in list(model.named_modules()):
        if module is not table and type(module) is type(table) and module.weight is table.weight:
            model.set_submodule(name, table)
    names = _names(model)

    def once(_: Any, state: dict[str, Any], prefix: str, __: Any) -> None:
        # torch shares out a state by each module's first name, and finds no other.
        for name in names[1:]:
            state.pop(prefix + name, None)

    def everywhere(_: Any, state: dict[str, Any], prefix: str, *__: Any) -> None:
        for name in names[1:]:
            if prefix + names[0] in state:
                state.setdefault(prefix + name, state[prefix + names[0]])

    model.register_state_dict_post_hook(once)
    model.register_load_state_dict_pre_hook(everywhere)


def _names(model: Any) -> list[str]:
    """What the weight of the input embedding is called, in all places of its module."""
    table = model.get_input_embeddings()
    return [f"{name}.weight" for name, each in model.named_modules(remove_duplicate=False) if each is table]


def whole(model: Any) -> dict[str, torch.Tensor] | None:
    """The weights in fp32, by name and on the CPU, where processes share them or compute with copies of less
    precision; None if each process has all of them. All processes must ask; the first one gets them."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.tensor import DTensor

    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        found: Any = get_model_state_dict(model, options=options)
        names = _names(model)
        return {**found, **{name: found[names[0]] for name in names if found}}
    # So DeepSpeed marks what it has in shares: "ds_id" where weights are, too.
    if not any(hasattr(each, "ds_id") or hasattr(each, "_hp_mapping") for each in model.parameters()):
        return None
    from deepspeed.utils import safe_get_full_fp32_param  # type: ignore[import-not-found]

    state: dict[str, torch.Tensor] = dict(model.state_dict())
    for name, parameter in model.named_parameters(remove_duplicate=False):
        full = safe_get_full_fp32_param(parameter)
        if full is not None:
            state[name] = full.detach().cpu().clone()
    return state
