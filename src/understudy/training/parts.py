"""A step's batch in parts, so that memory never decides the objective.

The weights of all tokens are those of the whole batch, so the losses of its parts add up to its loss, and
their gradients to its gradient. Parts are rows; how many are one part follows from
`train.micro_batch_tokens`. Without it a part is as large as memory allows: on CPUs by an estimate from the
model's shape and a share of the machine's memory, which is the same every time; on CUDA the whole batch is
tried, and halved for as long as it does not fit. Imports torch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from understudy.training.watching import NO_MEMORY

SHARE = 0.25
"""Of the machine's memory, for what one training holds between forward and backward: several may run at
once."""
SAVED = 1.5
"""Tensors as large as the inputs and outputs of all linear layers that a backward pass finds. Counted on
T5 and Llama shapes in fp32 they are 0.8 and 1.15; the rest is for what the pass itself makes."""
TABLES = 1.5
"""The same for tables of attention's scores, with eager attention: 1 and 1.15."""


class Parts:
    """How large a part is, which a step without memory halves for those that follow."""

    def __init__(self, tokens: int | None, again: bool = True) -> None:
        """`again` is whether a step may begin again: not where several processes take it together."""
        self.tokens = tokens
        self.fixed = tokens is not None or not again
        self._costs: Costs | None = None

    def step(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, Any],
        learn: Callable[[dict[str, Any], bool], torch.Tensor],
    ) -> torch.Tensor:
        """The batch's loss; `learn` adds a part's gradients to the model's, and is told which part is the
        last.

        Where a part does not fit, the step begins again with halves, down to single rows.
        """
        limit = self.tokens
        if limit is None and next(model.parameters()).device.type == "cpu":
            self._costs = self._costs or Costs.of(model)
            limit = self._costs.affordable(width(inputs))
        while True:
            parts = list(split(inputs, limit))
            try:
                return _sum(learn(part, at == len(parts) - 1) for at, part in enumerate(parts))
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if self.fixed or not _scarce(error) or max(map(rows, parts)) == 1:
                    raise
                limit = self.tokens = max(rows(part) for part in parts) * width(inputs) // 2
            # Outside of the handler, which still holds the tensors of the failed pass.
            model.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def split(inputs: Mapping[str, Any], tokens: int | None) -> Iterator[dict[str, Any]]:
    """Parts of at most so many tokens, padding included, and of one row at least; everything where None."""
    many = rows(inputs)
    size = many if tokens is None else max(1, tokens // width(inputs))
    # Parts of like size: a small last one would use the machine badly.
    size = math.ceil(many / math.ceil(many / size))
    for start in range(0, many, size):
        yield {name: value[start : start + size] for name, value in inputs.items()}


def rows(inputs: Mapping[str, Any]) -> int:
    return int(inputs["input_ids"].shape[0])


def width(inputs: Mapping[str, Any]) -> int:
    """Tokens of a row, padding included; an encoder-decoder's are those of both sides."""
    decoder = inputs.get("decoder_input_ids")
    return int(inputs["input_ids"].shape[1]) + (0 if decoder is None else int(decoder.shape[1]))


@dataclass(frozen=True, slots=True)
class Costs:
    """What a token of a model's shape holds between forward and backward. Counted once: the walk through all
    modules would be felt in each step of a small student."""

    wide: int
    """Inputs and outputs of all linear layers but the head."""
    tables: int
    """Heads, summed over layers: as many scores a token has for each position of its row."""

    @classmethod
    def of(cls, model: Any) -> Costs:
        linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
        head = model.get_output_embeddings()
        settings = model.config.to_dict()
        heads = int(settings.get("num_attention_heads") or settings.get("num_heads") or 1)
        layers = int(settings.get("num_hidden_layers") or settings.get("num_layers") or 1)
        layers += int(settings.get("num_decoder_layers") or settings.get("decoder_layers") or 0)
        wide = sum(module.in_features + module.out_features for module in linear if module is not head)
        return cls(wide, layers * heads)

    def affordable(self, length: int) -> int:
        """Tokens whose activations fit into `SHARE` of this machine's memory, of rows that are `length`
        long."""
        each = 4 * (SAVED * self.wide + TABLES * self.tables * length)
        return max(length, int(SHARE * memory() / each))


def memory() -> int:
    """Bytes of this machine; 16 GB on a system that does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**34


def _scarce(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)


def _sum(losses: Iterator[torch.Tensor]) -> torch.Tensor:
    total = next(losses)
    for loss in losses:
        total = total + loss
    return total
