"""Floating-point operations: by hand, and against what torch itself counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tiny import STUDENTS, SUMS, TEXTS, scratch
from understudy.students._flops import Flops, count
from understudy.training.objective import objective, token_weights

NAMES = tuple(STUDENTS)


def test_a_decoder_by_hand() -> None:
    # Ten weights and a head of five, read by 3 + 2 - 1 tokens: forward 2 x 15 x 4 = 120. Attention of width 2
    # over 4 x 4 pairs, twice multiplied: 4 x 2 x 16 = 128. Backward costs twice as much again.
    flops = Flops(encoder=0, across=0, decoder=10, head=5, encoder_width=0, across_width=0, decoder_width=2)
    assert flops.training(source=3, target=2) == 3 * (120 + 128)
    assert flops.generated == 30


def test_an_encoder_decoder_by_hand() -> None:
    # The encoder's 100 weights and the 10 of cross-attention's keys and values read 3 tokens: 660. The
    # decoder's 20 and the head's 5 read 2: 100. Pairs: 9 x 1 + 6 x 2 + 4 x 3 = 33, four times: 132.
    flops = Flops(
        encoder=100, across=10, decoder=20, head=5, encoder_width=1, across_width=2, decoder_width=3
    )
    assert flops.training(source=3, target=2) == 3 * (660 + 100 + 132)
    assert flops.generated == 50


def test_the_matrices_of_a_small_decoder() -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    # Two layers: four projections of 64 x 64, three of 64 x 176. Two heads of 32 in each.
    layers = 2 * (4 * 64 * 64 + 3 * 64 * 176)
    assert count(live.model) == Flops(0, 0, layers, 64 * len(live.tokenizer), 0, 0, 128)


def test_the_matrices_of_a_small_encoder_decoder() -> None:
    live: Any = scratch("seq2seq").create(TEXTS, 0)
    square, wide = 64 * 64, 3 * 64 * 176
    assert count(live.model) == Flops(
        encoder=2 * (4 * square + wide),
        across=2 * 2 * square,
        decoder=2 * (6 * square + wide),
        head=64 * len(live.tokenizer),
        encoder_width=128,
        across_width=128,
        decoder_width=128,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("long", [1, 8])
def test_torch_counts_the_same(name: str, long: int) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    rows = live.encode(SUMS[:1])
    rows = [{**row, "source": row["source"] * long} for row in rows]
    batch = live.collate(rows)
    labels = batch.pop("labels")
    with FlopCounterMode(display=False) as counter:
        logits = live.model(**batch, use_cache=False).logits
        loss: Any = objective(logits, labels, token_weights(labels, rows))
        loss.backward()
    wanted = count(live.model).training(len(rows[0]["source"]), len(rows[0]["target"]))
    # Rotary positions and the like are multiplications too, which nobody need count.
    assert counter.get_total_flops() == pytest.approx(wanted, rel=0.01)


def test_queries_that_are_made_together_with_keys_and_values() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=50, n_positions=32, n_embd=24, n_layer=3, n_head=2, attn_implementation="eager"
    )
    model = GPT2LMHeadModel(config)
    assert count(model) == Flops(0, 0, 3 * 12 * 24 * 24, 50 * 24, 0, 0, 3 * 24)
    ids = torch.ones((1, 20), dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    assert counter.get_total_flops() == pytest.approx(count(model).training(15, 6), rel=0.01)


def test_another_encoder_decoder_family() -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    shape = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    model = BartForConditionalGeneration(
        BartConfig(
            vocab_size=40,
            d_model=32,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            **shape,
            attn_implementation="eager",
            max_position_embeddings=64,
        )
    )
    source, target = torch.ones((1, 30), dtype=torch.long) * 5, torch.ones((1, 10), dtype=torch.long) * 5
    with FlopCounterMode(display=False) as counter:
        model(input_ids=source, decoder_input_ids=target, use_cache=False).logits.sum().backward()
    assert counter.get_total_flops() == pytest.approx(count(model).training(30, 10), rel=0.01)
