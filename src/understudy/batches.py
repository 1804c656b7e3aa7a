"""Which examples share a batch: token-budget batches over length-sorted windows, planned before training.

A plan is a plain list of index lists for the whole training, so the number of steps is known before the
first one, a resumed training skips exactly what was done, and the order depends on the seed alone.
Short sequences are not padded to long ones: groups are shuffled, sorted by length within windows, cut
at the token budget, and the batches of a window are shuffled again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

WINDOW = 8192
FIRST_SHARE = 0.01
"""Share of the groups, the easiest, that a training on easy examples first begins with: the paper's c0."""
RAMP = 0.5
"""Share of the budget after which such a training draws from all groups."""
_POOL = 16
"""Batches' worth of groups that are drawn by lot and sorted by length to make one batch of them."""

Unit = Literal["tokens", "steps", "epochs", "flops"]
Order = Literal["random", "easy_first"]
Batch = tuple[int, ...]
Cut = Callable[[Sequence[int], "Sequence[Size]", int], list[Batch]]


@dataclass(frozen=True, slots=True)
class Size:
    """What one group of examples costs: rows, its longest source and target, and its real tokens.

    A decoder reads source and target as one sequence: `source` is then the whole length, `target` 0.
    """

    rows: int
    source: int
    target: int
    tokens: int
    flops: float = 0.0
    """Floating-point operations of one training pass, where somebody counts them."""


@dataclass(frozen=True, slots=True)
class Plan:
    batches: tuple[Batch, ...]
    """Group indices of each step, in training order."""
    tokens: int
    """Non-padding source + target tokens that the whole plan trains on."""
    padded: int
    """The same with padding: `tokens / padded` is the padding efficiency."""
    epochs: float
    flops: float = 0.0


class Cutting(Protocol):
    """Another way of making batches: of examples that share rows."""

    def cut(self, window: Sequence[int], sizes: Sequence[Size], batch_tokens: int) -> list[Batch]: ...

    def padded(self, batch: Batch, sizes: Sequence[Size]) -> int:
        """Tokens of the batch, padding included."""
        ...


def plan(
    sizes: Sequence[Size],
    batch_tokens: int,
    unit: Unit,
    amount: float,
    seed: int,
    *,
    order: Order = "random",
    difficulty: Sequence[float] = (),
    cutting: Cutting | None = None,
) -> Plan:
    """Batches until the budget is met: whole batches, the last of which may pass it by less than one.

    A group larger than `batch_tokens` gets a batch of its own. `sizes` must not be empty. In "random" order
    no group comes twice before each came once. "easy_first" needs each group's `difficulty`, low is easy, and
    draws as `_easy_first` says. A budget of flops needs sizes that say theirs. `cutting` makes the batches of
    a window in the place of `_cut`, which gives every example a row of its own.
    """
    if unit == "flops" and not all(size.flops > 0 for size in sizes):
        raise ValueError("a budget of flops needs the flops of every group")
    rng = np.random.default_rng(seed)
    chosen: list[Batch] = []
    spent = dict.fromkeys(("tokens", "steps", "epochs", "flops"), 0.0)
    padded = groups = 0

    def done() -> float:
        return spent[unit] / amount

    cut, width = (cutting.cut, cutting.padded) if cutting else (_cut, _padded)
    if order == "easy_first":
        stream = _easy_first(sizes, batch_tokens, rng, difficulty, done, cut)
    else:
        stream = _in_turn(sizes, batch_tokens, rng, cut)
    for batch in stream:
        if chosen and spent[unit] >= amount:
            break
        chosen.append(batch)
        groups += len(batch)
        padded += width(batch, sizes)
        spent["tokens"] += sum(sizes[i].tokens for i in batch)
        spent["flops"] += sum(sizes[i].flops for i in batch)
        spent["steps"], spent["epochs"] = len(chosen), groups / len(sizes)
    return Plan(tuple(chosen), int(spent["tokens"]), padded, spent["epochs"], spent["flops"])


def competence(progress: float) -> float:
    """Share of the groups, the easiest first, that may be drawn at this part of the ramp (0 to 1): the square
    root of progress x (1 - c0^2) + c0^2, from Platanios et al. (arXiv 1903.09848)."""
    return min(1.0, math.sqrt(progress * (1 - FIRST_SHARE**2) + FIRST_SHARE**2))


def _in_turn(sizes: Sequence[Size], batch_tokens: int, rng: np.random.Generator, cut: Cut) -> Iterator[Batch]:
    """One epoch after another, without end."""
    while True:
        yield from _epoch(sizes, batch_tokens, rng, cut)


def _easy_first(
    sizes: Sequence[Size],
    batch_tokens: int,
    rng: np.random.Generator,
    difficulty: Sequence[float],
    done: Callable[[], float],
    cut: Cut,
) -> Iterator[Batch]:
    """Competence-based curriculum: each batch is drawn from the easiest groups alone, as many as `competence`
    allows at the share of the budget that is `done`, then, from `RAMP` of it on, epoch after epoch of all.

    Whatever the share is, it fills a batch. Groups of one difficulty stand in an order by lot.
    """
    lot = {index: place for place, index in enumerate(rng.permutation(len(sizes)).tolist())}
    values = dict(zip(range(len(sizes)), difficulty, strict=True))
    easiest = sorted(range(len(sizes)), key=lambda index: (values[index], lot[index]))
    least = _filling(easiest[:WINDOW], sizes, batch_tokens, cut)
    while done() < RAMP:
        reach = max(least, math.ceil(competence(done() / RAMP) * len(sizes)))
        pool = rng.choice(reach, size=min(reach, _POOL * least), replace=False)
        made = cut(
            _by_length([easiest[place] for place in pool], sizes, batch_tokens, rng), sizes, batch_tokens
        )
        yield made[rng.integers(len(made))]
    yield from _in_turn(sizes, batch_tokens, rng, cut)


def _filling(order: Sequence[int], sizes: Sequence[Size], batch_tokens: int, cut: Cut) -> int:
    """How many groups, in this order, it takes to fill a batch."""
    first, *_ = cut(order, sizes, batch_tokens)
    return len(first)


def _epoch(sizes: Sequence[Size], batch_tokens: int, rng: np.random.Generator, cut: Cut) -> Iterator[Batch]:
    order = rng.permutation(len(sizes))
    for start in range(0, len(order), WINDOW):
        made = cut(
            _by_length(order[start : start + WINDOW].tolist(), sizes, batch_tokens, rng), sizes, batch_tokens
        )
        yield from [made[i] for i in rng.permutation(len(made))]


def _by_length(
    indices: Sequence[int], sizes: Sequence[Size], batch_tokens: int, rng: np.random.Generator
) -> list[int]:
    """In an order in which neighbours are alike in both lengths: in strips of like sources, by target up one
    strip and down the next.

    A batch of n groups is padded by about half of a strip's range of sources, and by half of the range of
    targets x n / groups in the strip. Their sum is smallest at sqrt(groups / n x spread of sources / spread
    of targets) strips. Without targets, as for decoders, it is the order of the sources. Where the strips
    are cut is drawn by lot, so that another epoch puts other neighbours together.
    """
    chosen = np.asarray(indices)
    table = np.array([(sizes[i].source, sizes[i].target, sizes[i].rows) for i in indices])
    source, target = table[:, 0], table[:, 1]
    order = np.lexsort((target, source))
    spread = np.quantile(table[:, :2], 0.9, axis=0) - np.quantile(table[:, :2], 0.1, axis=0)
    together = max(1.0, batch_tokens / float(((source + target) * table[:, 2]).mean()))
    if spread[0] and spread[1]:
        strips = max(1, round(math.sqrt(len(chosen) / together * spread[0] / spread[1])))
        ends = ((np.arange(strips) + rng.random()) * len(order) / strips).astype(int)
        parts = [part[np.argsort(target[part], kind="stable")] for part in np.split(order, ends)]
        order = np.concatenate([part[:: 1 - 2 * (place % 2)] for place, part in enumerate(parts)])
    return [int(i) for i in chosen[order]]


def _cut(window: Sequence[int], sizes: Sequence[Size], batch_tokens: int) -> list[Batch]:
    batches: list[Batch] = []
    batch: list[int] = []
    rows = source = target = 0
    for index in window:
        size = sizes[index]
        wide = max(source, size.source) + max(target, size.target)
        if batch and (rows + size.rows) * wide > batch_tokens:
            batches.append(tuple(batch))
            batch, rows, source, target = [], 0, 0, 0
        batch.append(index)
        rows += size.rows
        source, target = max(source, size.source), max(target, size.target)
    if batch:
        batches.append(tuple(batch))
    return batches


def _padded(batch: Sequence[int], sizes: Sequence[Size]) -> int:
    rows = sum(sizes[i].rows for i in batch)
    return rows * (max(sizes[i].source for i in batch) + max(sizes[i].target for i in batch))
