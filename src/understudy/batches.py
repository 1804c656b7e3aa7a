"""Which examples share a batch: token-budget batches over length-sorted windows, planned before training.

A plan is a plain list of index lists for the whole training, so the number of steps is known before the
first one, a resumed training skips exactly what was done, and the order depends on the seed alone.
Short sequences are not padded to long ones: groups are shuffled, sorted by length within windows, cut
at the token budget, and the batches of a window are shuffled again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

WINDOW = 4096


@dataclass(frozen=True, slots=True)
class Size:
    """What one group of examples costs: rows, its longest source and target, and its real tokens.

    A decoder reads source and target as one sequence: `source` is then the whole length, `target` 0.
    """

    rows: int
    source: int
    target: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    batches: tuple[tuple[int, ...], ...]
    """Group indices of each step, in training order."""
    tokens: int
    """Non-padding source + target tokens that the whole plan trains on."""
    padded: int
    """The same with padding: `tokens / padded` is the padding efficiency."""
    epochs: float


def _epoch(sizes: Sequence[Size], batch_tokens: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    order = rng.permutation(len(sizes))
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(order), WINDOW):
        window = sorted(
            order[start : start + WINDOW].tolist(), key=lambda i: (sizes[i].source, sizes[i].target)
        )
        cut = _cut(window, sizes, batch_tokens)
        batches.extend(cut[i] for i in rng.permutation(len(cut)))
    return batches


def _cut(window: Sequence[int], sizes: Sequence[Size], batch_tokens: int) -> list[tuple[int, ...]]:
    batches: list[tuple[int, ...]] = []
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


def plan(
    sizes: Sequence[Size],
    batch_tokens: int,
    unit: Literal["tokens", "steps", "epochs"],
    amount: float,
    seed: int,
) -> Plan:
    """Batches until the budget is met: whole batches, the last of which may pass it by less than one.

    A group larger than `batch_tokens` gets a batch of its own. `sizes` must not be empty.
    """
    rng = np.random.default_rng(seed)
    chosen: list[tuple[int, ...]] = []
    tokens = padded = groups = 0
    while True:
        for batch in _epoch(sizes, batch_tokens, rng):
            spent = {"tokens": tokens, "steps": len(chosen), "epochs": groups / len(sizes)}[unit]
            if chosen and spent >= amount:
                return Plan(tuple(chosen), tokens, padded, groups / len(sizes))
            chosen.append(batch)
            groups += len(batch)
            tokens += sum(sizes[i].tokens for i in batch)
            padded += _padded(batch, sizes)
