"""What the processes that share a training find out together: each a part of it, and all know the whole.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from understudy.training.devices import ALONE, Place

if TYPE_CHECKING:
    from understudy.roles import LiveStudent

Part = TypeVar("Part")


def mean(
    parts: Sequence[Part], of: Callable[[Part], tuple[float, float]], live: LiveStudent, place: Place = ALONE
) -> float:
    """`of` gives a sum and what it is a sum over; this is the sum over all parts by what it is over.

    Each process computes every n-th part. They get each other's numbers as they are, for a number plus
    zeros is that number, and add them up in the order of the parts: so it is the same to the last bit in all
    of them, and the same as in one process that has the same weights.
    """
    found = [(0.0, 0.0)] * len(parts)
    for at in range(place.rank, len(parts), place.ranks):
        found[at] = of(parts[at])
    total = over = 0.0
    for one, count in exchanged(found, live.model, place):
        total += one
        over += count
    return total / over


def meet(model: torch.nn.Module, place: Place) -> None:
    """No process goes on before all are here."""
    exchanged([(0.0, 0.0)], model, place)


def exchanged(
    found: list[tuple[float, float]], model: torch.nn.Module, place: Place
) -> list[tuple[float, float]]:
    """`found`, of which each process has filled other places than the rest, with all of them filled."""
    if place.ranks == 1:
        return found
    device = next(model.parameters()).device
    table = torch.tensor(found, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(table)
    return [(one, count) for one, count in table.tolist()]
