"""Packed rows: which examples share one, that none sees another, and that the objective is the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tiny import GROUPS, NUMBER, STUDENTS, SUMS, TEXTS, quiet, rationale, scratch, spec
from understudy import batches
from understudy.batches import Plan
from understudy.errors import TrainingError
from understudy.learners.agreement import Agreement
from understudy.methods.step_by_step import StepByStep
from understudy.roles import TrainSpec
from understudy.training import packing, train
from understudy.training.collate import Collator
from understudy.training.devices import Place
from understudy.training.encode import size
from understudy.training.objective import objective
from understudy.training.trainer import fit
from understudy.types import Example

NAMES = tuple(STUDENTS)
TASKS = StepByStep(rationale_weight=0.3).examples("predict", NUMBER, [rationale(NUMBER)], "number")
LONGER = (Example("long", "Question: 1 + 2 + 3 + 4? Answer:", "1 + 2 is 3. The answer is 10."),)
MANY = [*GROUPS, LONGER, *TASKS]


def made(name: str, groups: Sequence[tuple[Example, ...]] = MANY) -> tuple[Any, list[Any]]:
    texts = [text for group in groups for e in group for text in (e.source, f" {e.target}")]
    live: Any = scratch(name).create([*TEXTS, *texts], 0)
    return live, [tuple(live.encode(group)) for group in groups]


def packed(live: Any, groups: Sequence[Any], many: int = 3) -> dict[str, torch.Tensor]:
    """About `many` examples to a row."""
    room = (60, 0) if live.kind == "causal" else (13 * many, 9 * many)
    return packing.PackedCollator(live, room)(groups)


def loss_of(live: Any, inputs: dict[str, Any]) -> torch.Tensor:
    given = dict(inputs)
    labels, weights = given.pop("labels"), given.pop("token_weights")
    with packing.attending(live.model, given) as seen:
        return objective(live.model(**seen, use_cache=False).logits, labels, weights)


def gradients(live: Any, inputs: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    live.model.zero_grad()
    loss = loss_of(live, inputs)
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad.clone() for name, p in live.model.named_parameters() if p.grad is not None}
    return loss.item(), found


# ---------------------------------------------------------------- which groups share a row


def test_the_largest_go_first_into_the_first_row_with_room() -> None:
    # By size 7 5 4 3 1: 7 + 3, then 5 + 4 + 1.
    assert packing.first_fit([(3, 0), (7, 0), (1, 0), (5, 0), (4, 0)], (10, 0)) == [[1, 0], [3, 4, 2]]


def test_both_sides_must_have_room_and_the_too_large_stays_alone() -> None:
    assert packing.first_fit([(4, 4), (1, 8), (4, 4), (12, 1)], (10, 10)) == [[3], [1], [0, 2]]


def test_a_row_is_divided_as_sources_and_targets_are() -> None:
    assert packing.room([(10, 30), (20, 60)], 1000, 200) == (50, 150)
    # Room for four of the average 60, in as few equal parts of the batch as hold that.
    assert sum(packing.room([(10, 30), (20, 60)], 1000, None)) == 250
    # And for the largest of 400.
    assert sum(packing.room([(100, 300), *[(5, 15)] * 50], 1000, None)) == 500
    assert packing.room([(10, 0), (20, 0)], 100, None) == (100, 0)


def lengths(many: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(0)
    draws = np.clip(rng.lognormal((4.0, 4.6), (0.4, 0.5), (many, 2)), 8, 400).astype(int)
    return [(int(source), int(target)) for source, target in draws]


def plan_of(
    extents: Sequence[packing.Extent], seed: int = 0, epochs: float = 2
) -> tuple[Plan, packing.Packer]:
    packer = packing.Packer(extents, packing.room(extents, 4096, None), seed)
    sizes = [batches.Size(1, source, target, source + target) for source, target in extents]
    return batches.plan(sizes, 4096, "epochs", epochs, seed, cutting=packer), packer


@pytest.mark.parametrize("sides", [1, 2])
def test_every_epoch_has_every_group_once_with_little_padding_and_other_neighbours(sides: int) -> None:
    extents = lengths(600) if sides == 2 else [(sum(pair), 0) for pair in lengths(600)]
    plan, packer = plan_of(extents)
    drawn = [index for batch in plan.batches for index in batch]
    assert sorted(drawn[:600]) == sorted(range(600))
    assert plan.tokens / plan.padded > (0.95 if sides == 1 else 0.9)
    assert all(packer.padded(batch, ()) <= 4096 for batch in plan.batches)
    assert plan == plan_of(extents)[0], "the seed alone decides"
    assert plan != plan_of(extents, seed=1)[0]
    first, second = (
        {frozenset(batch[i] for i in pack) for batch in part for pack in packs_of(batch, packer)}
        for part in (plan.batches[: len(plan.batches) // 2], plan.batches[len(plan.batches) // 2 :])
    )
    assert len(first & second) < len(first) / 2


def packs_of(batch: Sequence[int], packer: packing.Packer) -> list[list[int]]:
    return packing.first_fit([packer.extents[i] for i in batch], packer.room)


def test_a_batch_packed_again_has_the_packs_that_it_was_planned_with() -> None:
    extents, room = lengths(300), (300, 420)
    whole = packing.first_fit(extents, room)
    rng = np.random.default_rng(0)
    for _ in range(50):
        chosen = [whole[i] for i in rng.choice(len(whole), 5, replace=False)]
        batch = sorted(i for pack in chosen for i in pack)
        again = [[batch[i] for i in pack] for pack in packing.first_fit([extents[i] for i in batch], room)]
        assert sorted(again) == sorted(chosen)


@pytest.mark.parametrize("unit", ["tokens", "steps", "flops"])
def test_budgets_mean_what_they_mean_unpacked(unit: Any) -> None:
    extents = lengths(200)
    sizes = [batches.Size(1, s, t, s + t, 2.0 * (s + t)) for s, t in extents]
    packer = packing.Packer(extents, (500, 500), 0)
    amount = {"tokens": 9000, "steps": 5, "flops": 18000}[unit]
    plan = batches.plan(sizes, 2000, unit, amount, 0, cutting=packer)
    costs = [sum(sizes[i].tokens for i in batch) for batch in plan.batches]
    assert plan.tokens == sum(costs)
    assert plan.flops == 2 * plan.tokens
    spent = {"tokens": 1, "flops": 2}
    if unit == "steps":
        assert len(costs) == 5
    else:
        assert spent[unit] * sum(costs) >= amount > spent[unit] * sum(costs[:-1])
    easy = batches.plan(sizes, 2000, "steps", 9, 0, order="easy_first", difficulty=range(200), cutting=packer)
    assert max(easy.batches[0]) < 100 < max(max(batch) for batch in easy.batches[5:])


# ---------------------------------------------------------------- the same objective


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients_are_those_of_the_unpacked_batch(name: str) -> None:
    live, groups = made(name)
    inputs = packed(live, groups)
    assert len(inputs["labels"]) < len(MANY) - 2, "several examples must share a row"
    loss, found = gradients(live, inputs)
    wanted_loss, wanted = gradients(live, Collator(live)(groups))
    assert loss == pytest.approx(wanted_loss, abs=1e-5)
    assert found.keys() == wanted.keys()
    for key, gradient in wanted.items():
        assert float((found[key] - gradient).norm()) <= 1e-4 * float(gradient.norm()) + 1e-9, key


@pytest.mark.parametrize("name", NAMES)
def test_an_example_does_not_see_its_neighbour_to_the_last_bit(name: str) -> None:
    live, groups = made(name)
    pair = [groups[0], groups[4]]
    inputs = packed(live, pair)
    assert len(inputs["labels"]) == 1
    at = inputs["position_ids"] if name == "causal" else inputs["target_segments"]
    second = at[0].tolist().index(0, 1) if name == "causal" else at[0].tolist().index(1)

    def logits(given: dict[str, Any]) -> torch.Tensor:
        given = {key: value for key, value in given.items() if key not in ("labels", "token_weights")}
        with torch.no_grad(), packing.attending(live.model, given) as seen:
            found: torch.Tensor = live.model(**seen, use_cache=False).logits[0]
            return found

    before = logits(inputs)
    changed = {key: value.clone() for key, value in inputs.items()}
    reads = "input_ids" if name == "causal" else "decoder_input_ids"
    changed[reads][0, 0] += 1
    changed["input_ids"][0, 1] += 1
    after = logits(changed)
    assert torch.equal(before[second:], after[second:])
    assert not torch.allclose(before[1:second], after[1:second])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_end_in_the_same_weights(name: str, tmp_path: Path) -> None:
    ends = []
    for is_packed in (False, True):
        live, groups = made(name)
        settings = spec(20, packing=is_packed, pack_tokens=60, precision="fp32")
        plan = batches.plan([size(group, live.kind) for group in groups], 100, "steps", 20, 0)
        fit(live, groups, plan, settings, 1e-3, 0, tmp_path / str(is_packed), quiet)
        ends.append({key: value.clone() for key, value in live.model.state_dict().items()})
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_shares_of_a_batch_add_up_to_it(name: str) -> None:
    live, groups = made(name)
    room = (60, 0) if name == "causal" else (39, 27)
    shares = [packing.PackedCollator(live, room, Place(rank, 2))(groups) for rank in range(2)]
    with torch.no_grad():
        together = sum(float(loss_of(live, share)) for share in shares) / 2
        assert together == pytest.approx(float(loss_of(live, packed(live, groups))), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_training_on_packed_rows(name: str, tmp_path: Path) -> None:
    settings = spec(30, packing=True, pack_tokens=64, batch_tokens=128)
    result = train(scratch(name), MANY, settings, learning_rate=5e-3, seed=0, folder=tmp_path, progress=quiet)
    assert result["steps"] == 30
    assert result["final_loss"] < 1.0
    assert load_file(tmp_path / "model" / "model.safetensors")


def test_no_pack_splits_a_group() -> None:
    _, groups = made("causal")
    pair = [(groups[0][0], groups[1][0]), groups[2], groups[3]]
    extents = [packing.extent(group, "causal") for group in pair]
    # One token short of the pair: it has a row of its own, which is wider.
    assert packing.first_fit(extents, (extents[0][0] - 1, 0))[0] == [0]


# ---------------------------------------------------------------- models that refuse


def live_of(model: Any, kind: str) -> Any:
    live, _ = made(kind)
    live.model = model.eval()
    return live


def prove(live: Any) -> None:
    packing.prove(live, [tuple(live.encode(group)) for group in MANY])


def decoders() -> dict[str, Any]:
    from transformers import BloomConfig, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

    llama = {
        "vocab_size": 99,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    return {
        "llama": LlamaConfig(**llama),
        "qwen2": Qwen2Config(**llama),
        "sliding": MistralConfig(**llama, sliding_window=4),
        # Fewer positions than the packed pair has tokens: they begin anew with each example.
        "gpt2": GPT2Config(vocab_size=99, n_positions=16, n_embd=32, n_layer=2, n_head=2),
        # Its positions are a slope over the whole row, and no mask of ours reaches it.
        "bloom": BloomConfig(vocab_size=99, hidden_size=32, n_layer=2, n_head=2),
    }


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "sliding", "gpt2"])
def test_decoders_of_several_families_take_packed_rows(family: str, attention: str) -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    prove(
        live_of(AutoModelForCausalLM.from_config(decoders()[family], attn_implementation=attention), "causal")
    )


def test_a_decoder_that_mixes_examples_is_refused() -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with pytest.raises(TrainingError, match=r"Bloom.*packed rows.*set train.packing to false"):
        prove(live_of(AutoModelForCausalLM.from_config(decoders()["bloom"]), "causal"))


def encoder_decoder(attention: str, family: str = "t5") -> Any:
    from transformers import AutoModelForSeq2SeqLM, BartConfig, T5Config

    torch.manual_seed(0)
    bart = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 64}
    bart |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = (
        T5Config(
            vocab_size=99, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0
        )
        if family == "t5"
        else BartConfig(vocab_size=99, **bart)
    )
    return live_of(AutoModelForSeq2SeqLM.from_config(config, attn_implementation=attention), "seq2seq")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_relative_positions_take_packed_rows(attention: str) -> None:
    prove(encoder_decoder(attention))


def test_absolute_positions_of_an_encoder_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"Bart.*set train.packing to false"):
        prove(encoder_decoder("sdpa", "bart"))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_no_number_is_refused(name: str) -> None:
    live, groups = made(name)
    with torch.no_grad():
        next(live.model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="packed rows"):
        packing.prove(live, groups)


def test_a_learner_with_a_loss_of_its_own_refuses(tmp_path: Path) -> None:
    settings: TrainSpec = spec(2, packing=True)
    with pytest.raises(TrainingError, match="'agreement' wants a row for each example"):
        train(
            scratch("causal"),
            GROUPS,
            settings,
            learning_rate=1e-3,
            seed=0,
            folder=tmp_path,
            progress=quiet,
            learner=Agreement(),
        )


def test_bf16_training_stays_finite(tmp_path: Path) -> None:
    """Padding rows see nothing at all, which must not become a number that is none in half the precision."""
    settings = spec(3, packing=True, pack_tokens=40, precision="bf16")
    result = train(
        scratch("seq2seq"), MANY, settings, learning_rate=1e-3, seed=0, folder=tmp_path, progress=quiet
    )
    assert np.isfinite(result["final_loss"])
    assert len(SUMS) == 4
