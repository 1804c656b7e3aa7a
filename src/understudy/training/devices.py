"""How many processes share a training, and which groups of a batch each of them gets.

Every process walks through the same plan. Of each batch it computes its own share, with token weights that
were counted over the whole batch, and gradients are added up. So the loss of a step is that of the whole
batch, whatever the number of processes; only the order in which floats are added differs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.roles import TrainSpec

Group = TypeVar("Group", bound=Sequence[Mapping[str, Any]])


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those that share each batch."""

    rank: int = 0
    ranks: int = 1

    def own(self, groups: Sequence[Group]) -> list[Group]:
        """This process's share of a batch; empty where there are fewer groups than processes."""
        if self.ranks == 1:
            return list(groups)
        return [groups[at] for at in deal([_extent(group) for group in groups], self.ranks)[self.rank]]


ALONE = Place()


def deal(extents: Sequence[tuple[int, int]], ranks: int) -> list[list[int]]:
    """The indices of a batch's groups, dealt to `ranks` shares whose padded sizes are near each other.

    `extents` are (rows, tokens of the longest row). The longest group goes first, each to the share that is
    smallest with it; of equal ones to the first. Within a share the order of the batch is kept.
    """
    shares: list[list[int]] = [[] for _ in range(ranks)]
    rows, wide = [0] * ranks, [0] * ranks
    for at in sorted(range(len(extents)), key=lambda at: (-extents[at][1], -extents[at][0], at)):
        more, length = extents[at]
        padded = [(rows[rank] + more) * max(wide[rank], length) for rank in range(ranks)]
        least = padded.index(min(padded))
        shares[least].append(at)
        rows[least] += more
        wide[least] = max(wide[least], length)
    return [sorted(share) for share in shares]


def _extent(group: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    return len(group), max(len(row["source"]) + len(row["target"]) for row in group)


def processes(spec: TrainSpec) -> int:
    """How many processes this machine trains with. Raises TrainingError where it has fewer devices."""
    import torch

    on_gpus = torch.cuda.is_available() and spec.device in ("auto", "cuda")
    there = torch.cuda.device_count() if on_gpus else os.cpu_count() or 1
    if spec.deepspeed is not None:
        check_strategy(spec, on_gpus)
    if spec.devices == "auto":
        return there if on_gpus else 1
    if spec.devices > 1:
        check_strategy(spec, on_gpus)
    if spec.devices > there:
        has = f"{there} GPU{'s' * (there != 1)}"
        if not on_gpus:
            has = f"no GPU to train on, and {there} core{'s' * (there != 1)}"
        raise TrainingError(
            f"train.devices is {spec.devices}, but this machine has {has}: set train.devices to {there} or "
            "fewer, or to auto"
        )
    return spec.devices


def check_strategy(spec: TrainSpec, on_gpus: bool) -> None:
    """Raises TrainingError where weights would be shared between processors: accelerate shares them between
    GPUs alone (1.15: `state.py`, `AcceleratorState.__init__`, where MULTI_CPU is no case of FSDP's and `not
    cpu` one of DeepSpeed's), and would silently let each process hold all of them."""
    if spec.deepspeed is not None:
        configuration(spec.deepspeed)
        if not on_gpus:
            raise TrainingError("train.deepspeed needs GPUs, and there are none to train on: remove it")
    elif spec.strategy == "fsdp" and not on_gpus:
        raise TrainingError("train.strategy fsdp needs GPUs, and there are none to train on: take ddp")


def configuration(path: Path) -> str:
    """A DeepSpeed configuration's file. Raises TrainingError where it is none, or DeepSpeed is missing."""
    if find_spec("deepspeed") is None:
        raise TrainingError(
            "train.deepspeed needs DeepSpeed, which is not installed: pip install deepspeed, or remove it"
        )
    if not path.is_file():
        raise TrainingError(f"there is no file {path}: correct train.deepspeed")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path} is not JSON ({error}): correct the file of train.deepspeed") from error
    if not isinstance(settings, dict) or "zero_optimization" not in settings:
        raise TrainingError(
            f"{path} does not say what is shared: give it a zero_optimization with a stage, or remove "
            "train.deepspeed"
        )
    return str(path)


def is_worker() -> bool:
    """Whether this process shares a training with others: torchrun and Ray say so in its environment."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def placement(spec: TrainSpec) -> dict[str, Any]:
    """What TrainingArguments are told of the processes; nothing where there is only one.

    Raises TrainingError for a DeepSpeed that is not installed or a configuration that is none.
    """
    if spec.deepspeed is not None:
        return {"deepspeed": configuration(spec.deepspeed)}
    if not is_worker():
        return {}
    if spec.strategy == "ddp":
        # A search for unused parameters at every step; every parameter of ours is used at each.
        return {"ddp_find_unused_parameters": False}
    return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"}}
