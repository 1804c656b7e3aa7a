"""Losses on two rows of one question, added to the plain objective.

Imports torch: reached only from a learner's `fit`. `rows` are those of the batch, each with its `group`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import torch

from understudy.learners._losses import Rows, logits_of
from understudy.training.objective import objective


class Agreed:
    """The plain objective + `weight` x `disagreement`."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, model: Any, inputs: Mapping[str, Any], rows: Rows) -> torch.Tensor:
        logits = logits_of(model, inputs)
        plain = objective(logits, inputs["labels"], inputs["token_weights"])
        return plain + self.weight * disagreement(logits, inputs["labels"], rows)


def disagreement(logits: torch.Tensor, labels: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Half the sum of both KL divergences between the next-token distributions on the answers of two targets:
    the mean over tokens, then over groups of two. 0 where no group has two.

    The answer is the tokens after each `cut` that both targets end with, end of text included.
    """
    apart = []
    for one, other in _pairs(rows):
        length = _common_end(rows[one], rows[other])
        if length:
            p = torch.log_softmax(_on_target(logits, labels, one)[-length:].float(), -1)
            q = torch.log_softmax(_on_target(logits, labels, other)[-length:].float(), -1)
            apart.append(((p.exp() - q.exp()) * (p - q)).sum(-1).mean() / 2)
    return torch.stack(apart).mean() if apart else logits.new_zeros(())


class Shared:
    """The plain objective + `weight` x `unshared`."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, model: Any, inputs: Mapping[str, Any], rows: Rows) -> torch.Tensor:
        logits = logits_of(model, inputs)
        plain = objective(logits, inputs["labels"], inputs["token_weights"])
        return plain + self.weight * unshared(logits, inputs["labels"], rows)


def unshared(logits: torch.Tensor, labels: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Mean over groups of -sum over v of z(v) log softmax(r)(v), where z and r are, for each token v of the
    vocabulary, its highest probability over the positions of the answer's and of the rationale's target. No
    gradient flows into z."""
    terms = []
    for one, other in _pairs(rows):
        answer, rationale = (one, other) if rows[one]["objective"] == "answer" else (other, one)
        z = torch.softmax(_on_target(logits, labels, answer).detach().float(), -1).amax(0)
        r = torch.softmax(_on_target(logits, labels, rationale).float(), -1).amax(0)
        terms.append(-(z * torch.log_softmax(r, -1)).sum())
    return torch.stack(terms).mean() if terms else logits.new_zeros(())


def _pairs(rows: Rows) -> Iterator[tuple[int, int]]:
    """The places of the two rows of each group that has two."""
    groups: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(place)
    for places in groups.values():
        if len(places) == 2:
            yield places[0], places[1]


def _on_target(logits: torch.Tensor, labels: torch.Tensor, row: int) -> torch.Tensor:
    """The logits (target tokens, vocabulary) of one row."""
    return logits[row][labels[row] != -100]


def _common_end(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """How many tokens of their answer parts two targets end with alike."""
    ends = zip(reversed(one["target"][one["cut"] :]), reversed(other["target"][other["cut"] :]), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
