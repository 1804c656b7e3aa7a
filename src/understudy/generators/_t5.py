"""T5's decoder, one token for many rows at a time, on a model's own weights and on memory that never moves.

Written after transformers' `modeling_t5.py` (T5: arXiv 1910.10683; root-mean-square norm: 1910.07467; gated
feed-forward: 2002.05202). T5 knows positions only as distances, so rows of any age share a step.

Axes: rows, heads, length (columns of a row's own text), reach (columns of its source), depth (of a head).
Imports torch: reached only from an engine that builds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from understudy.generators._choosing import choose
from understudy.generators._memory import Memory
from understudy.generators._products import Product, product
from understudy.students._live import inference, pad
from understudy.types import Sampling


@dataclass(frozen=True, slots=True)
class Layer:
    """One block of the decoder."""

    own_norm: Tensor
    own_in: Product
    """Queries, keys and values in one."""
    own_out: Product
    source_norm: Tensor
    source_in: Product
    """Queries alone: keys and values of a source are made once, for all layers."""
    source_out: Product
    wide_norm: Tensor
    wide_in: Product
    """The gate and what it gates in one, where there is a gate."""
    wide_out: Product


class Decoder:
    """A model's encoder as it is, and its decoder as a step on a Memory."""

    def __init__(self, model: Any, dtype: torch.dtype, device: str) -> None:
        config = model.config
        self.heads, self.depth, self.layers = config.num_heads, config.d_kv, config.num_decoder_layers
        self.dtype, self.device = dtype, device
        self._start = config.decoder_start_token_id
        self._pad = config.pad_token_id or 0
        self._epsilon = config.layer_norm_epsilon
        self._scale = config.d_model**-0.5 if config.scale_decoder_outputs else 1.0
        blocks = [block.layer for block in model.decoder.block]
        wide = blocks[0][2].DenseReluDense
        self._gated = config.is_gated_act
        self._bend: Callable[[Tensor], Tensor] = _activation(config.dense_act_fn, wide.act)
        self._encoder = _quick_encoder(model, dtype, device)

        def held(*weights: Tensor) -> Tensor:
            whole = weights[0] if len(weights) == 1 else torch.cat(weights)
            return whole.detach().to(device, dtype)

        with torch.inference_mode():
            self._embedding = held(model.decoder.embed_tokens.weight)
            self._head = product(held(model.lm_head.weight))
            self._norm = held(model.decoder.final_layer_norm.weight)
            crossing = [block[1].EncDecAttention for block in blocks]
            both = [weight for one in crossing for weight in (one.k.weight, one.v.weight)]
            self._sources = product(held(*both))
            self._layers = [_layer(block, held, self._gated) for block in blocks]
            self._table = held(blocks[0][0].SelfAttention.relative_attention_bias.weight)
        self._bucket: Callable[..., Tensor] = blocks[0][0].SelfAttention._relative_position_bucket
        self._buckets = config.relative_attention_num_buckets
        self._farthest = config.relative_attention_max_distance

    def memory(self, slots: int, width: int, reach: int) -> Memory:
        """Room for `slots` rows of `width` tokens, with sources of `reach`."""
        with torch.inference_mode():
            back = torch.arange(width - 1, -1, -1, device=self.device)
            buckets = self._bucket(
                -back, bidirectional=False, num_buckets=self._buckets, max_distance=self._farthest
            )
            bias = self._table[buckets].t()
            return Memory(self.layers, slots, self.heads, self.depth, width, reach, bias)

    def admit(
        self,
        memory: Memory,
        places: Sequence[int],
        sources: Sequence[Sequence[int]],
        begun: Sequence[Sequence[int]],
        drawn: Tensor | None,
    ) -> None:
        """Read `sources` into the slots `places`, whose texts begin with `begun`. `drawn` (rows, width) are
        the numbers between 0 and 1 that decide what is drawn."""
        ids = pad(sources, self._pad).to(self.device)
        mask = pad([[1] * len(source) for source in sources], 0).to(self.device)
        with inference(self._encoder):
            states = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            rows, reach = ids.shape
            # (rows, reach, layers, keys or values, heads, depth) -> (two, layers, rows, heads, reach, depth)
            read = self._sources(states.reshape(rows * reach, -1))
            read = read.view(rows, reach, self.layers, 2, self.heads, self.depth).permute(3, 2, 0, 4, 1, 5)
            given = pad([[self._start, *prefix] for prefix in begun], self._pad).to(self.device)
            lengths = torch.tensor([1 + len(prefix) for prefix in begun], device=self.device)
            memory.seat(torch.tensor(places, device=self.device), read, mask, given, lengths, drawn)

    def step(self, memory: Memory, rows: int, length: int, reach: int, sampling: Sampling) -> None:
        """One more token for the first `rows` slots, of which none has come to column `length`. Reads and
        writes `memory` alone, without a look from the host, so that it can be captured."""
        position = memory.position[:rows]
        lines = memory.lines[:rows]
        flat = rows * self.heads
        at = position.repeat_interleave(self.heads)
        own_bias = memory.bias(position, length).reshape(flat, 1, length)
        source_bias = memory.source_bias[:rows, :, :reach].reshape(flat, 1, reach)
        states = functional.embedding(memory.text[lines, position], self._embedding)
        for number, layer in enumerate(self._layers):
            inner = layer.own_in(self._normed(states, layer.own_norm))
            query, key, value = inner.view(rows, 3, self.heads, self.depth).unbind(1)
            keys, values = memory.keys[number, :flat], memory.values[number, :flat]
            keys[memory.flat[:flat], at] = key.reshape(flat, self.depth)
            values[memory.flat[:flat], at] = value.reshape(flat, self.depth)
            mixed = _attend(query.reshape(flat, 1, -1), keys[:, :length], values[:, :length], own_bias)
            states = states + layer.own_out(mixed.view(rows, -1))

            query = layer.source_in(self._normed(states, layer.source_norm))
            keys = memory.source_keys[number, :flat, :reach]
            values = memory.source_values[number, :flat, :reach]
            mixed = _attend(query.view(flat, 1, -1), keys, values, source_bias)
            states = states + layer.source_out(mixed.view(rows, -1))

            wide = layer.wide_in(self._normed(states, layer.wide_norm))
            if self._gated:
                gate, plain = wide.chunk(2, -1)
                wide = self._bend(gate) * plain
            else:
                wide = self._bend(wide)
            states = states + layer.wide_out(wide)
        states = self._normed(states, self._norm)
        if self._scale != 1.0:
            states = states * self._scale
        logits = self._head(states).float()
        drawn = memory.drawn[lines, position + 1] if sampling.temperature > 0 else None
        memory.write(rows, *choose(logits, sampling, drawn))

    def _normed(self, states: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(states, weight.shape, weight, self._epsilon)


def _layer(block: Any, held: Callable[..., Tensor], gated: bool) -> Layer:
    own, source, wide = block[0].SelfAttention, block[1].EncDecAttention, block[2].DenseReluDense
    ways_in = (wide.wi_0.weight, wide.wi_1.weight) if gated else (wide.wi.weight,)
    return Layer(
        own_norm=held(block[0].layer_norm.weight),
        own_in=product(held(own.q.weight, own.k.weight, own.v.weight)),
        own_out=product(held(own.o.weight)),
        source_norm=held(block[1].layer_norm.weight),
        source_in=product(held(source.q.weight)),
        source_out=product(held(source.o.weight)),
        wide_norm=held(block[2].layer_norm.weight),
        wide_in=product(held(*ways_in)),
        wide_out=product(held(wide.wo.weight)),
    )


def _attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """(flat, 1, depth), (flat, length, depth) twice, (flat, 1, length) -> (flat, 1, depth), unscaled.

    Two plain products: scaled_dot_product_attention takes two to eight times as long for one query on a CPU.
    """
    weights = torch.baddbmm(bias, query, keys.transpose(1, 2)).softmax(-1)
    return torch.bmm(weights, values)


def _quick_encoder(model: Any, dtype: torch.dtype, device: str) -> Any:
    """transformers' own, on the model's own weights if they are of that type, with the quick activation."""
    shared = {id(weight): weight for weight in model.encoder.parameters() if weight.dtype == dtype}
    encoder = copy.deepcopy(model.encoder, shared).to(device, dtype)
    for block in encoder.block:
        wide = block.layer[-1].DenseReluDense
        wide.act = _activation(model.config.dense_act_fn, wide.act)
    return encoder


def _activation(name: str, own: Any) -> Any:
    """The model's own, but for the one that transformers spells out in eight operations."""
    return torch.nn.GELU(approximate="tanh") if name == "gelu_new" else own
