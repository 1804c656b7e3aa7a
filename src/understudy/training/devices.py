"""How many processes share a training, and which groups of a batch each of them gets.

Every process walks through the same plan. Of each batch it computes its own share, with token weights that
were counted over the whole batch, and gradients are added up. So the loss of a step is that of the whole
batch, whatever the number of processes; only the order in which floats are added differs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.errors import TrainingError

if TYPE_CHECKING:
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
    GPUs alone, and would silently let each process hold all of them."""
    if spec.strategy == "fsdp" and not on_gpus:
        raise TrainingError("train.strategy fsdp needs GPUs, and there are none to train on: take ddp")


def is_worker() -> bool:
    """Whether this process shares a training with others: torchrun and Ray say so in its environment."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def placement(spec: TrainSpec) -> dict[str, Any]:
    """What TrainingArguments are told of the processes; nothing where there is only one.

    Raises TrainingError for DeepSpeed where it is not installed.
    """
    if spec.deepspeed is not None:
        return {"deepspeed": _deepspeed(spec)}
    if not is_worker():
        return {}
    if spec.strategy == "ddp":
        # A search for unused parameters at every step; every parameter of ours is used at each.
        return {"ddp_find_unused_parameters": False}
    return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"}}


def _deepspeed(spec: TrainSpec) -> str:
    from importlib.util import find_spec

    if find_spec("deepspeed") is None:
        raise TrainingError(
            "train.deepspeed needs DeepSpeed, which is not installed: pip install deepspeed, or remove it"
        )
    if spec.deepspeed is None or not spec.deepspeed.is_file():
        raise TrainingError(f"there is no file {spec.deepspeed}: correct train.deepspeed")
    return str(spec.deepspeed)
