"""What makes trainings fast leaves them what they were: the same loss and gradients, whatever the chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tiny import GROUPS, STUDENTS, SUMS, TEXTS, quiet, scratch, spec
from understudy import batches
from understudy.batches import Size
from understudy.roles import TrainSpec
from understudy.students._flops import count
from understudy.training import encode, head, machine, tokens, train
from understudy.training.collate import Collator
from understudy.training.encode import longest_row
from understudy.training.objective import objective, token_weights
from understudy.training.parts import Costs, Parts, rows, split
from understudy.types import Example

NAMES = tuple(STUDENTS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---------------------------------------------------------------- the objective in chunks


@pytest.mark.parametrize("at_a_time", [1, 4, 100])
def test_chunks_have_the_loss_and_the_gradients_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    vocabulary = 50
    monkeypatch.setattr(head, "CHUNK", at_a_time * vocabulary)
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 7, 16, generator=draw, requires_grad=True)
    weight = torch.randn(vocabulary, 16, generator=draw, requires_grad=True)
    labels = torch.randint(0, vocabulary, (3, 7), generator=draw)
    labels[:, :2] = -100
    weights = torch.rand(3, 7, generator=draw)
    plain = objective(hidden @ weight.T, labels, weights)
    target = labels != -100
    ours = head.cross_entropy(hidden[target], weight, labels[target], weights[target])
    assert ours.item() == pytest.approx(plain.item(), rel=1e-6)
    # Twice the loss, so that what comes back from above is not one.
    wanted = torch.autograd.grad(2 * plain, (hidden, weight))
    found = torch.autograd.grad(2 * ours, (hidden, weight))
    for got, want in zip(found, wanted, strict=True):
        assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_a_frozen_head_gets_no_gradient_and_no_target_is_no_loss() -> None:
    hidden = torch.ones(2, 4, requires_grad=True)
    weight = torch.ones(3, 4)
    loss = head.cross_entropy(hidden, weight, torch.tensor([0, 1]), torch.ones(2))
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(2 * np.log(3), rel=1e-6)
    assert (hidden.grad is not None, weight.grad) == (True, None)
    none = head.cross_entropy(
        hidden[:0], weight.requires_grad_(), torch.tensor([], dtype=torch.long), torch.ones(0)
    )
    torch.autograd.backward(none)
    assert none.item() == 0
    assert weight.grad is not None
    assert not weight.grad.any()


def batch_of(name: str, live: Any) -> dict[str, Any]:
    encoded = live.encode(SUMS)
    inputs = live.collate(encoded)
    return {**inputs, "token_weights": token_weights(inputs["labels"], encoded)}


def gradients(live: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    live.model.zero_grad()
    torch.autograd.backward(loss)
    return {name: p.grad.clone() for name, p in live.model.named_parameters() if p.grad is not None}


def assert_close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], relative: float) -> None:
    assert found.keys() == wanted.keys()
    assert any(want.any() for want in wanted.values())
    largest = max(want.abs().max() for want in wanted.values())
    for name, want in wanted.items():
        assert (found[name] - want).abs().max() <= relative * largest, name


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_trained_by_the_loss_of_its_logits(name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    inputs = batch_of(name, live)
    own = head.fits(live.model, inputs)
    assert own is live.model.lm_head
    labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
    plain = objective(live.model(**inputs, use_cache=False).logits, labels, weights)
    wanted = gradients(live, plain)
    ours = head.loss_of(live.model, inputs, labels, weights, own)
    assert ours.item() == pytest.approx(plain.item(), rel=1e-6)
    assert_close(gradients(live, ours), wanted, 1e-5)
    assert "forward" not in vars(own), "the head is as it was"


def test_an_untied_head_of_t5() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=30, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    for scaled in (True, False):
        config.scale_decoder_outputs = scaled
        model = T5ForConditionalGeneration(config)
        model.lm_head.weight = torch.nn.Parameter(torch.randn(30, 8))
        ids = torch.tensor([[3, 4, 5]])
        inputs = {"input_ids": ids, "decoder_input_ids": ids, "labels": ids}
        assert head.fits(model, inputs) is model.lm_head


def test_a_model_that_changes_its_logits_is_trained_the_plain_way() -> None:
    """Gemma 2 caps its logits and BART adds a bias: what they predict is not what the head says."""
    from transformers import BartConfig, BartForConditionalGeneration, Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    ids = torch.tensor([[3, 4, 5]])
    gemma = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=30,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
            final_logit_softcapping=0.5,
            pad_token_id=0,
        )
    )
    with torch.no_grad():
        gemma.lm_head.weight.normal_()
    assert head.fits(gemma, {"input_ids": ids, "labels": ids}) is None
    bart = BartForConditionalGeneration(
        BartConfig(
            vocab_size=30,
            d_model=8,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
        )
    )
    assert head.fits(bart, {"input_ids": ids, "decoder_input_ids": ids, "labels": ids}) is None
    assert bart.lm_head(torch.zeros(1, 8)).shape == (1, 30), "the head is as it was"


# ---------------------------------------------------------------- parts of a batch


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokens", [1, 30, 45, 1000])
def test_parts_add_up_to_the_batch(name: str, tokens: int) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    inputs = batch_of(name, live)

    def learn(part: dict[str, Any], last: bool) -> torch.Tensor:
        seen.append((rows(part), last))
        given = dict(part)
        labels, weights = given.pop("labels"), given.pop("token_weights")
        loss = objective(live.model(**given, use_cache=False).logits, labels, weights)
        torch.autograd.backward(loss)
        return loss.detach()

    def run(limit: int | None) -> tuple[float, dict[str, torch.Tensor]]:
        live.model.zero_grad()
        loss = float(Parts(limit).step(live.model, inputs, learn))
        return loss, {key: p.grad.clone() for key, p in live.model.named_parameters() if p.grad is not None}

    seen: list[tuple[int, bool]] = []
    whole, wanted = run(1000)
    seen.clear()
    loss, found = run(tokens)
    # A row has 13 tokens as a decoder reads it and 15 as an encoder and a decoder do.
    assert [many for many, _ in seen] == {1: [1] * 4, 30: [2, 2], 45: [2, 2], 1000: [4]}[tokens]
    assert [last for _, last in seen] == [*[False] * (len(seen) - 1), True]
    assert loss == pytest.approx(whole, rel=1e-6)
    assert_close(found, wanted, 1e-6)


def test_a_step_without_memory_begins_again_with_halves() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    tried: list[int] = []

    def learn(part: dict[str, Any], last: bool) -> torch.Tensor:
        tried.append(rows(part))
        loss = model(part["input_ids"].float()).sum()
        torch.autograd.backward(loss)
        if rows(part) > 2 or (fails and last):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.Tensor(loss.detach())

    fails = False
    inputs = {"input_ids": torch.ones(8, 1)}
    parts = Parts(None)
    parts.tokens = 8
    assert float(parts.step(model, inputs, learn)) == pytest.approx(8 * float(model.weight.detach()))
    assert tried == [8, 4, 2, 2, 2, 2]
    assert model.weight.grad is not None
    assert model.weight.grad.item() == 8, "what failed left no gradient"
    fails = True
    with pytest.raises(torch.OutOfMemoryError):
        parts.step(model, inputs, learn)
    assert tried[-1] == 1
    tried.clear()
    with pytest.raises(torch.OutOfMemoryError):
        Parts(8).step(model, inputs, learn)
    assert tried == [8], "a size that the recipe names is kept"


def test_what_is_affordable_falls_with_length_and_is_never_less_than_a_row() -> None:
    live: Any = scratch("seq2seq").create(TEXTS, 0)
    costs = Costs.of(live.model)
    assert costs.affordable(10) > costs.affordable(1000) > 4096
    assert costs.affordable(10**9) == 10**9


@pytest.mark.parametrize("name", NAMES)
def test_a_training_in_parts_ends_where_a_whole_one_does(tmp_path: Path, name: str) -> None:
    def go(folder: str, settings: TrainSpec) -> Any:
        return train(
            scratch(name),
            GROUPS,
            settings,
            learning_rate=3e-3,
            seed=0,
            folder=tmp_path / folder,
            progress=quiet,
        )

    whole = go("whole", spec(6))
    assert go("parts", spec(6, micro_batch_tokens=20))["final_loss"] == pytest.approx(
        whole["final_loss"], rel=1e-4
    )


def test_parts_are_of_like_size() -> None:
    inputs = {"input_ids": torch.zeros(9, 10)}
    assert [rows(part) for part in split(inputs, 80)] == [5, 4]
    assert [rows(part) for part in split(inputs, None)] == [9]


# ---------------------------------------------------------------- padding


def word_problems(count: int) -> list[Size]:
    """Source and target lengths as GSM8K's: skewed, and long questions have long rationales."""
    draw = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.45], [0.45, 1]], count)
    drawn = np.array([60.0, 110.0]) * np.exp(draw * (0.42, 0.48) - np.square((0.42, 0.48)) / 2)
    return [Size(1, s, t, s + t) for s, t in np.clip(drawn.round(), 8, 400).astype(int).tolist()]


def test_little_of_a_batch_is_padding_in_any_epoch() -> None:
    sizes = word_problems(7473)
    plan = batches.plan(sizes, 4096, "epochs", 2, 0)
    assert plan.tokens / plan.padded > 0.92
    half = len(plan.batches) // 2
    one, two = ({frozenset(batch) for batch in part} for part in (plan.batches[:half], plan.batches[half:]))
    assert len(one & two) < 0.1 * half, "another epoch puts other examples together"
    lengths = [np.mean([sizes[i].tokens for i in batch]) for batch in plan.batches[:half]]
    assert abs(np.corrcoef(lengths, np.arange(half))[0, 1]) < 0.2, "long batches come at any time"


def test_a_decoder_sorts_by_its_only_length() -> None:
    sizes = [Size(1, size.tokens, 0, size.tokens) for size in word_problems(2000)]
    plan = batches.plan(sizes, 4096, "epochs", 1, 0)
    assert plan.tokens / plan.padded > 0.98


def test_a_group_stays_together() -> None:
    """A group is one index of the plan, however many rows it has."""
    sizes = [Size(2, size.source, size.target, 2 * size.tokens) for size in word_problems(300)]
    plan = batches.plan(sizes, 2048, "epochs", 1, 0)
    assert sorted(i for batch in plan.batches for i in batch) == list(range(300))


# ---------------------------------------------------------------- tokens on disk

TASKS = [
    (
        Example("a", "1 + 1?", "2"),
        Example("a", "why 1 + 1?", "one and one", "rationale", 0.25, 4, silent=True),
    ),
    (Example("b", "a question of many words, which no limit of this test allows", "2"),),
    (Example("c", "2 + 1?", "It is 3."),),
]
LIMITS = spec(max_source_tokens=10)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_read_back_as_they_were_encoded(tmp_path: Path, name: str) -> None:
    live: Any = scratch(name).create([e.source + e.target for group in TASKS for e in group], 0)
    found, kept = encode.encode(live, TASKS, LIMITS)
    wanted = [tuple(live.encode(list(group))) for group in (TASKS[0], TASKS[2])]
    assert list(found) == wanted
    assert (found[-1], found[0:1], kept) == (wanted[1], wanted[:1], [TASKS[0], TASKS[2]])
    with pytest.raises(IndexError):
        found[2]
    found.save(tmp_path / "kept")
    again = tokens.load(tmp_path / "kept")
    assert list(again) == wanted
    assert isinstance(again.arrays["ids"], np.memmap)
    flops = count(live.model)
    assert list(again.sizes(name, flops)) == [encode.size(group, name, flops) for group in wanted]
    assert again.longest(name) == longest_row(wanted, name)
    assert again.target_tokens() == [sum(len(row["target"]) for row in group) for group in wanted]
    assert again.rows == 3


def test_tokens_are_found_again_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MANY", 1)
    texts = [e.source + e.target for group in TASKS for e in group]
    live: Any = scratch("causal").create(texts, 0)
    first, kept = encode.encode(live, TASKS, LIMITS, tmp_path)

    def folders() -> int:
        return len(list(tmp_path.iterdir()))

    def never(_: Any) -> Any:
        raise AssertionError("these were tokenized before")

    with monkeypatch.context() as patched:
        patched.setattr(live, "encode", never)
        second, kept_again = encode.encode(live, TASKS, LIMITS, tmp_path)
    assert (list(second), kept_again, folders()) == (list(first), kept, 1)
    changed = [*TASKS[:2], (replace(TASKS[2][0], target="It is 4."),)]
    assert encode.encode(live, changed, LIMITS, tmp_path)[0][0] == first[0]
    encode.encode(live, TASKS, spec(max_source_tokens=11), tmp_path)
    encode.encode(live, TASKS[::-1], LIMITS, tmp_path)
    other: Any = scratch("causal", "char").create(texts, 0)
    encode.encode(other, TASKS, spec(max_source_tokens=99), tmp_path)
    assert folders() == 5, "another text, limit, order or tokenizer is another content"
    encode.encode(live, TASKS, LIMITS)
    assert folders() == 5


def test_a_half_written_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    found, _ = encode.encode(live, GROUPS, spec())

    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(OSError, match="no space"):
            found.save(tmp_path / "cache" / "name")
    assert list((tmp_path / "cache").iterdir()) == []
    for _ in range(2):
        found.save(tmp_path / "cache" / "name")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["name"]


# ---------------------------------------------------------------- the machine


def test_attention_is_as_it_was_after_training() -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    live.model.set_attn_implementation("sdpa")
    with machine.tuned(live.model, "cpu", 100):
        assert live.model.config._attn_implementation == "eager"
    assert live.model.config._attn_implementation == "sdpa"
    with machine.tuned(live.model, "cpu", 10_000):
        assert live.model.config._attn_implementation == "sdpa"
    with machine.tuned(live.model, "cuda", 100):
        assert live.model.config._attn_implementation == "sdpa"


def test_numbers_below_the_smallest_normal_one_are_zero_while_training() -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    tiny = torch.tensor([1e-38])
    with machine.tuned(live.model, "cpu", 100):
        assert (tiny / 100).item() == 0
    assert (tiny / 100).item() > 0


def test_the_longest_row() -> None:
    groups: Any = [({"source": [1] * 3, "target": [1] * 5},), ({"source": [1] * 6, "target": [1]},)]
    assert (longest_row(groups, "seq2seq"), longest_row(groups, "causal")) == (6, 8)


def test_fp16_is_refused_with_its_reason() -> None:
    with pytest.raises(ValidationError, match=r"no numbers above 65,504.*take bf16"):
        TrainSpec(precision="fp16")


def test_collated_parts_carry_the_weights_of_the_whole_batch() -> None:
    live: Any = scratch("seq2seq").create(TEXTS, 0)
    inputs = Collator(live)([(row,) for row in live.encode(SUMS)])
    parts = list(split(inputs, 1))
    assert sum(float(part["token_weights"].sum()) for part in parts) == pytest.approx(1)
