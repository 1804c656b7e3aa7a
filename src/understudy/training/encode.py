"""Groups of examples -> token ids, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from understudy import batches
from understudy.errors import TrainingError
from understudy.roles import LiveStudent, TrainSpec
from understudy.types import Example

if TYPE_CHECKING:
    from understudy.students._flops import Flops

Progress = Callable[[float, str], None]
Group = tuple[Mapping[str, Any], ...]


def encode(
    live: LiveStudent, groups: Sequence[tuple[Example, ...]], spec: TrainSpec
) -> tuple[list[Group], list[tuple[Example, ...]]]:
    """Every group that fits the limits, as token ids and as text."""
    rows = iter(live.encode([example for group in groups for example in group]))
    encoded = [(group, tuple(next(rows) for _ in group)) for group in groups]
    fitting = [
        (group, row)
        for group, row in encoded
        if all(
            len(e["source"]) <= spec.max_source_tokens and len(e["target"]) <= spec.max_target_tokens
            for e in row
        )
    ]
    if not fitting:
        raise TrainingError(
            f"none of the {sum(map(len, groups))} training examples fits {spec.max_source_tokens} source "
            f"and {spec.max_target_tokens} target tokens: raise train.max_source_tokens or "
            "train.max_target_tokens"
        )
    return [row for _, row in fitting], [group for group, _ in fitting]


def size(group: Group, kind: str, flops: Flops | None = None) -> batches.Size:
    tokens = sum(len(e["source"]) + len(e["target"]) for e in group)
    cost = sum(flops.training(len(e["source"]), len(e["target"])) for e in group) if flops else 0.0
    if kind == "causal":
        longest = max(len(e["source"]) + len(e["target"]) for e in group)
        return batches.Size(len(group), longest, 0, tokens, cost)
    source = max(len(e["source"]) for e in group)
    return batches.Size(len(group), source, max(len(e["target"]) for e in group), tokens, cost)
