"""What a decoder's rows hold between two steps: tensors of fixed size, made once and never moved.

A slot is one row's place in all of them. Keys and values have a line for each slot and head, slot by slot,
so that the first so many slots are the first part of every tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Memory:
    """Room for `slots` rows of `width` tokens. `bias` (heads, width) is what attention adds from the
    farthest distance, width - 1, to 0; its type and device are everything's."""

    def __init__(
        self, layers: int, slots: int, heads: int, depth: int, width: int, reach: int, bias: Tensor
    ) -> None:
        kind, device = bias.dtype, bias.device
        self.slots, self.width, self.reach = slots, width, reach
        self._heads = heads
        self.text = torch.zeros(slots, width + 1, dtype=torch.long, device=device)
        """The start token, what was given, what was written. The column beyond `width` is never read."""
        self.logprobs = torch.zeros(slots, width + 1, device=device)
        self.drawn = torch.zeros(slots, width + 1, device=device)
        self.position = torch.zeros(slots, dtype=torch.long, device=device)
        """The column of the token that is read next."""
        self.given = torch.ones(slots, dtype=torch.long, device=device)
        """How many columns of the text were given, the start token among them."""
        # Keys lie turned in bfloat16 on a CPU: the product with one query is three times as fast there.
        turned = kind == torch.bfloat16 and device.type == "cpu"

        def keys(columns: int) -> Tensor:
            if turned:
                whole = torch.zeros(layers, slots * heads, depth, columns, dtype=kind, device=device)
                return whole.transpose(2, 3)
            return values(columns)

        def values(columns: int) -> Tensor:
            return torch.zeros(layers, slots * heads, columns, depth, dtype=kind, device=device)

        self.keys, self.values = keys(width), values(width)
        self.source_keys, self.source_values = keys(reach), values(reach)
        self.source_bias = torch.zeros(slots, heads, reach, dtype=kind, device=device)
        self.lines = torch.arange(slots, device=device)
        self.flat = torch.arange(slots * heads, device=device)
        never = torch.full((heads, width), -torch.inf, dtype=kind, device=device)
        # Window p of this holds what position width - 1 - p adds to columns 0, 1, ...; nothing is copied.
        self._windows = torch.cat([bias, never], 1).unfold(1, width, 1).transpose(0, 1)

    def bias(self, position: Tensor, length: int) -> Tensor:
        """(rows, heads, length): by distance, and minus infinity for columns that are yet to come."""
        return self._windows[:, :, :length][self.width - 1 - position]

    def seat(
        self, places: Tensor, read: Tensor, mask: Tensor, given: Tensor, lengths: Tensor, drawn: Tensor | None
    ) -> None:
        """New rows in the slots `places`. `read` (two, layers, rows, heads, reach, depth) are the keys and
        values of their sources, `mask` (rows, reach) is 0 for padding, `given` (rows, longest) begins
        their texts, of which `lengths` columns count."""
        reach, longest = mask.shape[1], given.shape[1]
        self._by_slot(self.source_keys)[:, places, :, :reach] = read[0]
        self._by_slot(self.source_values)[:, places, :, :reach] = read[1]
        self.source_bias[places] = -torch.inf
        hidden = torch.zeros_like(mask, dtype=self.source_bias.dtype).masked_fill(mask == 0, -torch.inf)
        self.source_bias[places, :, :reach] = hidden[:, None]
        self.text[places, :longest] = given
        self.given[places] = lengths
        self.position[places] = 0
        if drawn is not None:
            self.drawn[places] = drawn

    def write(self, rows: int, tokens: Tensor, logprobs: Tensor) -> None:
        """The next token of the first `rows` slots: what was chosen, or what is given there."""
        lines, position = self.lines[:rows], self.position[:rows]
        column = position + 1
        held = self.text[lines, column]
        self.text[lines, column] = torch.where(column < self.given[:rows], held, tokens)
        self.logprobs[lines, column] = logprobs
        # A slot whose row is over goes on until somebody looks, and stays inside.
        position.copy_(column.clamp(max=self.width - 1))

    def move(self, from_: Sequence[int], to: Sequence[int], length: int) -> None:
        """Rows to other slots; `length` columns of their own text are in use."""
        source = torch.tensor(from_, device=self.lines.device)
        target = torch.tensor(to, device=self.lines.device)
        for whole in (self.text, self.logprobs, self.drawn, self.position, self.given, self.source_bias):
            whole[target] = whole[source]
        for whole in (self.source_keys, self.source_values):
            slots = self._by_slot(whole)
            slots[:, target] = slots[:, source]
        for whole in (self.keys, self.values):
            slots = self._by_slot(whole)[:, :, :, :length]
            slots[:, target] = slots[:, source]

    def _by_slot(self, whole: Tensor) -> Tensor:
        """(layers, slots, heads, columns, depth)"""
        return whole.view(whole.shape[0], self.slots, self._heads, *whole.shape[2:])
