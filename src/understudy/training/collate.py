"""From the groups of a batch to what a model computes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Sampler

from understudy.batches import Plan
from understudy.roles import LiveStudent
from understudy.training.devices import ALONE, Place
from understudy.training.objective import token_weights

if TYPE_CHECKING:
    from understudy.training.encode import Group

Rows = Sequence[Mapping[str, Any]]


class Groups(torch.utils.data.Dataset["Group"]):
    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Group:
        return self.groups[index]


class Planned(Sampler[list[int]]):
    """The plan's batches, in order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(batch) for batch in self.plan.batches])

    def __len__(self) -> int:
        return len(self.plan.batches)


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows on their way to a loss, in a box that nobody opens to look for tensors."""

    rows: Rows


class Collator:
    """Groups -> model inputs, labels and token weights; and the rows themselves, where a loss wants them."""

    def __init__(self, live: LiveStudent, keep_rows: bool = False, place: Place = ALONE) -> None:
        self.live = live
        self.keep_rows = keep_rows
        self.place = place

    def __call__(self, groups: Sequence[Group]) -> dict[str, Any]:
        if self.place.ranks > 1:
            return self._share(groups)
        rows = [{**row, "group": place} for place, group in enumerate(groups) for row in group]
        tensors = self.live.collate(rows)
        inputs = {**tensors, "token_weights": token_weights(tensors["labels"], rows)}
        return {**inputs, "rows": Kept(rows)} if self.keep_rows else inputs

    def _share(self, groups: Sequence[Group]) -> dict[str, Any]:
        """What this process computes of a batch. Its loss and gradients are averaged over the processes with
        those of the others, so weights are multiplied by their number and the average is the whole batch's.
        Without a share, one group is computed for nothing: every process takes part in every step."""
        own = self.place.own(groups)
        rows = [row for group in own or [min(groups, key=len)] for row in group]
        tensors = self.live.collate(rows)
        weights = token_weights(tensors["labels"], rows, [row for group in groups for row in group])
        return {**tensors, "token_weights": weights * (self.place.ranks if own else 0)}
