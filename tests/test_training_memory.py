"""What a training takes of memory: the estimate against what a real training allocates."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tiny import quiet, scratch, spec
from understudy import sizing
from understudy.batches import Plan
from understudy.recipe import load_recipe
from understudy.training import memory
from understudy.training.counting import Living
from understudy.training.memory import Batch, Memory, estimate, largest
from understudy.training.trainer import fit

BATCH = Batch(rows=4, source=60, target=100)
SHAPES = {"causal": (192, 4, 2000), "seq2seq": (160, 3, 3000)}


def model_of(kind: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

    width, layers, vocabulary = SHAPES[kind]
    if kind == "causal":
        llama = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            tie_word_embeddings=True,
            attn_implementation="eager",
        )
        return LlamaForCausalLM(llama)
    t5 = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=32,
        d_ff=3 * width,
        num_layers=layers,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.1,
        decoder_start_token_id=0,
        attn_implementation="eager",
    )
    return T5ForConditionalGeneration(t5)


def measured(kind: str, settings: Any, folder: Path) -> int:
    """Peak of what torch's allocator says during three steps of the product's own training, in bytes, with
    the weights that were there before. The optimizer's state is there from the second step on."""
    live: Any = scratch(kind).create(["a b c"], 0)
    torch.manual_seed(0)
    live.model = model_of(kind)
    ids = [5 + place % 90 for place in range(200)]
    row = {"source": ids[: BATCH.source], "target": ids[: BATCH.target], "weight": 1.0, "objective": "answer"}
    groups = [({**row, "cut": 0, "silent": False},)] * BATCH.rows
    plan = Plan((tuple(range(BATCH.rows)),) * 3, 1, 1, 3.0)
    before: int = sum(p.numel() * p.element_size() for p in live.model.parameters())
    # What an earlier training left behind would be freed inside, and count as less than nothing.
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        fit(live, groups, plan, settings, 1e-3, 0, folder, quiet)
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    level: int = 0
    peak: int = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        peak = max(peak, level)
    return before + peak


@pytest.mark.parametrize("kind", list(SHAPES))
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"gradient_checkpointing": True}, marks=pytest.mark.slow),
        pytest.param({"lora": {"rank": 8}}, marks=pytest.mark.slow),
        {"lora": {"rank": 8}, "gradient_checkpointing": True},
        pytest.param({"precision": "bf16"}, marks=pytest.mark.slow),
    ],
    ids=["plain", "checkpointing", "lora", "both", "bf16"],
)
def test_the_estimate_is_within_5_percent_of_what_is_allocated(kind: str, more: Any, tmp_path: Path) -> None:
    settings = spec(3, checkpoints=0, **more)
    found = estimate(lambda: model_of(kind), kind, settings, BATCH)
    wanted = measured(kind, settings, tmp_path)
    print(f"{kind} {more}: estimated {found.total:,}, measured {wanted:,}")
    assert found.total == pytest.approx(wanted, rel=0.05), f"{found}, measured {wanted:,}"


def test_storages_are_counted_from_their_making_to_their_end() -> None:
    with Living(vocabulary=7) as living:
        one = torch.ones(10)
        view = one[2:]
        two = one * 2
        assert living.alive["activations"] == 80
        del one
        assert living.alive["activations"] == 80, "a view holds the storage"
        del view
        assert living.alive["activations"] == 40
        wide = torch.ones(3, 7)
        assert living.alive["logits"] == wide.untyped_storage().nbytes() == 84
        del wide, two
    assert living.alive == {"activations": 0, "logits": 0}
    assert living.peak == 124


def test_parts_are_what_they_are_called() -> None:
    plain = estimate(lambda: model_of("causal"), "causal", spec(), BATCH)
    weights = sum(p.numel() for p in model_of("causal").parameters())
    assert plain.weights == 4 * weights
    assert plain.optimizer == 8 * weights
    assert plain.parameters == plain.trained == weights
    adapted = estimate(lambda: model_of("causal"), "causal", spec(lora={"rank": 8}), BATCH)
    assert adapted.optimizer == 8 * adapted.trained < plain.optimizer / 10
    assert adapted.weights == 4 * (weights + adapted.trained)
    bits = spec(lora={"rank": 8, "bits": 4})
    beside = estimate(lambda: model_of("causal"), "causal", bits, BATCH)
    assert adapted.weights < beside.weights < 1.25 * adapted.weights, "a CPU keeps the whole ones beside them"
    # Of a GPU that this machine need not have.
    elsewhere = bits.model_copy(update={"device": "cuda"})
    small = estimate(lambda: model_of("causal"), "causal", elsewhere, BATCH)
    assert small.weights < adapted.weights / 2
    assert Memory(1, 2, 3, 4, 5).total == 15


def test_checkpointing_trades_activations_and_half_a_batch_halves_them() -> None:
    plain = estimate(lambda: model_of("causal"), "causal", spec(), BATCH)
    checkpointed = estimate(lambda: model_of("causal"), "causal", spec(gradient_checkpointing=True), BATCH)
    half = estimate(lambda: model_of("causal"), "causal", spec(), Batch(2, 60, 100))
    assert checkpointed.activations < plain.activations / 2
    assert half.activations == pytest.approx(plain.activations / 2, rel=0.1)


def test_the_largest_batch_is_full_of_the_longest_examples() -> None:
    limits = {"max_source_tokens": 100, "max_target_tokens": 300}
    assert largest(spec(batch_tokens=1700, **limits)) == Batch(4, 100, 300)
    assert largest(spec(batch_tokens=200, **limits)) == Batch(1, 100, 300)
    assert largest(spec(batch_tokens=1700, micro_batch_tokens=900, **limits)) == Batch(2, 100, 300)
    packed = spec(batch_tokens=1600, packing=True, pack_tokens=800, **limits)
    assert largest(packed) == Batch(2, 200, 600)
    assert memory.largest(spec(batch_tokens=400, **limits)).rows == 1


# ---------------------------------------------------------------- as `understudy plan` says it


def recipe_of(folder: Path, student: str) -> Any:
    text = (
        f"name: x\ntask: arithmetic\nteacher: template\nstudents: [{student}]\nmethods: [answer_only]\n"
        "train: {batch_tokens: 1000, max_source_tokens: 60, max_target_tokens: 140}\n"
    )
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return load_recipe(folder / "recipe.yaml", ())


def test_a_config_alone_is_enough(tmp_path: Path) -> None:
    model_of("causal").config.save_pretrained(tmp_path / "shape")
    recipe = recipe_of(tmp_path, f"{{name: causal, checkpoint: {tmp_path / 'shape'}}}")
    (line,) = sizing.lines(recipe)
    weights = sum(p.numel() for p in model_of("causal").parameters())
    assert f"weights {4 * weights / 1e9:.2f}, " in line
    assert "5 rows of 60 + 140 tokens" in line
    assert f"{weights:,} of {weights:,} parameters are trained" in line


def test_a_config_that_is_not_here_is_unknown_and_not_fetched(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "{name: causal, checkpoint: nobody/nothing-of-the-kind}")
    assert list(sizing.lines(recipe)) == [
        "Memory for training causal: unknown: the config of nobody/nothing-of-the-kind is not on this machine"
    ]


def test_of_students_from_scratch_nothing_is_said(tmp_path: Path) -> None:
    assert list(sizing.lines(recipe_of(tmp_path, "{name: causal, config: tiny}"))) == []
