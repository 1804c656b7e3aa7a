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
from itertools import chain, repeat
from typing import Any, Literal, Protocol, overload

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
Cut = Callable[[Sequence[int], "Sizes", int], list[Batch]]
Numbers = np.ndarray[Any, np.dtype[Any]]


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


@dataclass(frozen=True, slots=True, eq=False)
class Sizes(Sequence[Size]):
    """Sizes of many groups as arrays (groups,): a million of them are added up in milliseconds."""

    rows: Numbers
    source: Numbers
    target: Numbers
    tokens: Numbers
    flops: Numbers

    @classmethod
    def of(cls, sizes: Sequence[Size]) -> Sizes:
        if isinstance(sizes, cls):
            return sizes
        return cls(
            np.array([size.rows for size in sizes]),
            np.array([size.source for size in sizes]),
            np.array([size.target for size in sizes]),
            np.array([size.tokens for size in sizes]),
            np.array([size.flops for size in sizes], dtype=float),
        )

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Size: ...
    @overload
    def __getitem__(self, index: slice) -> Sizes: ...
    def __getitem__(self, index: int | slice) -> Size | Sizes:
        columns = (self.rows, self.source, self.target, self.tokens, self.flops)
        if isinstance(index, slice):
            return Sizes(*(column[index] for column in columns))
        return Size(*(column[index].item() for column in columns))

    def spent(self, batches: Sequence[Batch]) -> tuple[list[int], list[float]]:
        """Tokens and flops of each batch. Flops are whole numbers, so the order of adding changes none."""
        members, starts = _flat(batches)
        return (
            np.add.reduceat(self.tokens[members], starts).tolist(),
            np.add.reduceat(self.flops[members], starts).tolist(),
        )

    def padded(self, batches: Sequence[Batch]) -> list[int]:
        """Tokens of each batch where every group has rows of its own, padding included."""
        members, starts = _flat(batches)
        wide = [np.maximum.reduceat(side[members], starts) for side in (self.source, self.target)]
        found: list[int] = (np.add.reduceat(self.rows[members], starts) * (wide[0] + wide[1])).tolist()
        return found


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
    table = Sizes.of(sizes)
    if unit == "flops" and not (table.flops > 0).all():
        raise ValueError("a budget of flops needs the flops of every group")
    rng = np.random.default_rng(seed)
    chosen: list[Batch] = []
    spent = dict.fromkeys(("tokens", "steps", "epochs", "flops"), 0.0)
    padded = groups = 0

    def done() -> float:
        return spent[unit] / amount

    cut = cutting.cut if cutting else _cut
    if order == "easy_first":
        stream = _easy_first(table, batch_tokens, rng, difficulty, done, cut)
    else:
        stream = _in_turn(table, batch_tokens, rng, cut)
    for made in stream:
        widths = map(cutting.padded, made, repeat(table)) if cutting else table.padded(made)
        for batch, tokens, flops, width in zip(made, *table.spent(made), widths, strict=True):
            if chosen and spent[unit] >= amount:
                return Plan(tuple(chosen), int(spent["tokens"]), padded, spent["epochs"], spent["flops"])
            chosen.append(batch)
            groups += len(batch)
            padded += width
            spent["tokens"] += tokens
            spent["flops"] += flops
            spent["steps"], spent["epochs"] = len(chosen), groups / len(table)
    raise AssertionError("batches have no end")


def competence(progress: float) -> float:
    """Share of the groups, the easiest first, that may be drawn at this part of the ramp (0 to 1): the square
    root of progress x (1 - c0^2) + c0^2, from Platanios et al. (arXiv 1903.09848)."""
    return min(1.0, math.sqrt(progress * (1 - FIRST_SHARE**2) + FIRST_SHARE**2))


def _in_turn(sizes: Sizes, batch_tokens: int, rng: np.random.Generator, cut: Cut) -> Iterator[list[Batch]]:
    """The batches of one window after another, epoch after epoch, without end."""
    while True:
        order = rng.permutation(len(sizes))
        for start in range(0, len(order), WINDOW):
            window = _by_length(order[start : start + WINDOW], sizes, batch_tokens, rng)
            made = cut(window, sizes, batch_tokens)
            yield [made[i] for i in rng.permutation(len(made)).tolist()]


def _easy_first(
    sizes: Sizes,
    batch_tokens: int,
    rng: np.random.Generator,
    difficulty: Sequence[float],
    done: Callable[[], float],
    cut: Cut,
) -> Iterator[list[Batch]]:
    """Competence-based curriculum: each batch is drawn from the easiest groups alone, as many as `competence`
    allows at the share of the budget that is `done`, then, from `RAMP` of it on, epoch after epoch of all.

    Whatever the share is, it fills a batch. Groups of one difficulty stand in an order by lot.
    """
    if len(difficulty) != len(sizes):
        raise ValueError("the list of difficulties is shorter or longer than that of groups")
    lot = rng.permutation(len(sizes))
    # Stable, so that those of one difficulty stay in the order of the lot.
    easiest = lot[np.argsort(np.asarray(difficulty, dtype=float)[lot], kind="stable")]
    first, *_ = cut(easiest[:WINDOW].tolist(), sizes, batch_tokens)
    least = len(first)
    while done() < RAMP:
        reach = max(least, math.ceil(competence(done() / RAMP) * len(sizes)))
        pool = rng.choice(reach, size=min(reach, _POOL * least), replace=False)
        made = cut(_by_length(easiest[pool], sizes, batch_tokens, rng), sizes, batch_tokens)
        yield [made[rng.integers(len(made))]]
    yield from _in_turn(sizes, batch_tokens, rng, cut)


def _by_length(chosen: Numbers, sizes: Sizes, batch_tokens: int, rng: np.random.Generator) -> list[int]:
    """In an order in which neighbours are alike in both lengths: in strips of like sources, by target up one
    strip and down the next.

    A batch of n groups is padded by about half of a strip's range of sources, and by half of the range of
    targets x n / groups in the strip. Their sum is smallest at sqrt(groups / n x spread of sources / spread
    of targets) strips. Without targets, as for decoders, it is the order of the sources. Where the strips
    are cut is drawn by lot, so that another epoch puts other neighbours together.
    """
    source, target = sizes.source[chosen], sizes.target[chosen]
    order = np.lexsort((target, source))
    spread = _spread(source), _spread(target)
    together = max(1.0, batch_tokens / float(((source + target) * sizes.rows[chosen]).mean()))
    if spread[0] and spread[1]:
        strips = max(1, round(math.sqrt(len(chosen) / together * spread[0] / spread[1])))
        ends = ((np.arange(strips) + rng.random()) * len(order) / strips).astype(int)
        parts = [part[np.argsort(target[part], kind="stable")] for part in np.split(order, ends)]
        order = np.concatenate([part[:: 1 - 2 * (place % 2)] for place, part in enumerate(parts)])
    found: list[int] = chosen[order].tolist()
    return found


def _spread(values: Numbers) -> float:
    """From the tenth to the ninetieth percentile: `np.quantile` to the last digit, without its detours."""
    ordered = np.sort(values)

    def quantile(share: float) -> float:
        at = (len(ordered) - 1) * share
        low = int(at)
        one, two = int(ordered[low]), int(ordered[min(low + 1, len(ordered) - 1)])
        part = at - low
        return one + (two - one) * part if part < 0.5 else two - (two - one) * (1 - part)

    return quantile(0.9) - quantile(0.1)


def _cut(window: Sequence[int], sizes: Sizes, batch_tokens: int) -> list[Batch]:
    places = np.asarray(window)
    extents = zip(*(side[places].tolist() for side in (sizes.rows, sizes.source, sizes.target)), strict=True)
    batches: list[Batch] = []
    begin = rows = source = target = 0
    for at, (more, one, two) in enumerate(extents):
        rows += more
        source, target = one if one > source else source, two if two > target else target
        if rows * (source + target) > batch_tokens and at > begin:
            batches.append(tuple(window[begin:at]))
            begin, rows, source, target = at, more, one, two
    return [*batches, tuple(window[begin:])]


def _flat(batches: Sequence[Batch]) -> tuple[Numbers, Numbers]:
    """The groups of all batches one after the other, and where each batch begins."""
    counts = np.fromiter(map(len, batches), np.int64, len(batches))
    members = np.fromiter(chain.from_iterable(batches), np.int64, int(counts.sum()))
    return members, np.cumsum(counts) - counts
