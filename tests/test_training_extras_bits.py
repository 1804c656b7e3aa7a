"""Weights in four bits and an optimizer that remembers in bytes, on processors, by bitsandbytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from test_training_memory import BATCH, measured, model_of
from tiny import GROUPS, STUDENTS, SUMS, TEXTS, quiet, scratch, spec
from understudy.errors import TrainingError
from understudy.roles import Lora
from understudy.training import adapters, four_bits, train
from understudy.training.memory import estimate

NAMES = tuple(STUDENTS)
SMALL = Lora(rank=8, alpha=32, bits=4)
needed = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(folder: Path, name: str = "causal", rate: float = 1e-2, **changes: Any) -> dict[str, Any]:
    settings = spec(changes.pop("steps", 30), device="cpu", **changes)
    return train(scratch(name), GROUPS, settings, learning_rate=rate, seed=0, folder=folder, progress=quiet)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


# ---------------------------------------------------------------- four bits


@needed
@needs_peft
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_adapters_beside_four_bits_learn_and_a_plain_student_is_saved(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(tmp_path / "x", name, rate=1e-9, steps=1)
    result = trained(tmp_path / "y", name, rate=2e-2, lora=SMALL)
    assert result["final_loss"] < 0.85 * first["final_loss"]
    assert result["parameters"] == first["parameters"]
    begun, ended = weights(tmp_path / "x"), weights(tmp_path / "y")
    assert {key: value.dtype for key, value in ended.items()} == dict.fromkeys(begun, torch.float32)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "peft", None)
    live: Any = scratch(name).load(tmp_path / "y" / "model")
    inputs = live.collate(live.encode(SUMS))
    assert float(live.model(**inputs).loss.detach()) < 0.9 * first["final_loss"]


@needed
@needs_peft
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_the_update_goes_to_the_weights_as_they_were() -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    before = {name: p.detach().clone() for name, p in live.model.named_parameters()}
    targets = Lora(rank=4, alpha=8, bits=4, targets=("q_proj", "embed_tokens"))
    deltas: dict[str, torch.Tensor] = {}
    with adapters.attached(live, targets, 0):
        torch.manual_seed(1)
        with torch.no_grad():
            for name, parameter in live.model.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.1)
        for name, layer in live.model.get_base_model().named_modules():
            if hasattr(layer, "get_delta_weight"):
                deltas[f"{name}.weight"] = layer.get_delta_weight("default").detach().clone()
    assert any("embed_tokens" in name for name in deltas), "a layer that is not in four bits has one too"
    assert any("q_proj" in name for name in deltas)
    for name, after in live.model.named_parameters():
        wanted = before[name] + deltas[name] if name in deltas else before[name]
        torch.testing.assert_close(after, wanted, atol=1e-6, rtol=0)
        assert after.requires_grad


@needed
@needs_peft
def test_gradients_reach_the_lowest_layer_after_an_evaluation() -> None:
    """bitsandbytes repacks weights in an evaluation on some processors, for a product without a gradient."""
    live: Any = scratch("causal").create(TEXTS, 0)
    with adapters.attached(live, SMALL, 0, compute=torch.bfloat16):
        inputs = live.collate(live.encode(SUMS))
        with torch.no_grad():
            live.model.eval()(**inputs)
        live.model.train()(**inputs).loss.backward()
        found = [
            float(p.grad.abs().sum())
            for name, p in live.model.named_parameters()
            if "layers.0." in name and "lora_B" in name and p.grad is not None
        ]
    assert len(found) == 7
    assert min(found) > 0


@needed
def test_biases_stay_as_they_were() -> None:
    """The layer casts its own in place."""
    model: Any = torch.nn.Module()
    model.one = torch.nn.Linear(64, 64)
    model.get_output_embeddings = lambda: None
    bias = model.one.bias.detach().clone()
    originals = four_bits.quantized(model, "cpu", torch.bfloat16)
    out = model.one(torch.ones(1, 64))
    assert not torch.equal(out, originals["one"](torch.ones(1, 64))), "four bits are not the same"
    torch.testing.assert_close(out, originals["one"](torch.ones(1, 64)), atol=0.3, rtol=0)
    assert torch.equal(four_bits.whole(model, originals).one.bias, bias)


@needed
@needs_peft
@pytest.mark.slow
def test_a_killed_training_beside_four_bits_ends_in_the_same_weights(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 12, "lora": SMALL, "checkpoints": 3}

    class Killed(Exception):  # noqa: N818
        pass

    def kill(fraction: float, detail: str) -> None:
        del detail
        if fraction > 0.6 and any((tmp_path / "two" / "checkpoints").glob("checkpoint-*")):
            raise Killed

    trained(tmp_path / "one", **settings)
    with pytest.raises(Killed):
        train(
            scratch("causal"),
            GROUPS,
            spec(12, device="cpu", lora=SMALL, checkpoints=3),
            learning_rate=1e-2,
            seed=0,
            folder=tmp_path / "two",
            progress=kill,
        )
    trained(tmp_path / "two", **settings)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.equal(one[key], two[key]) for key in one)


@needed
def test_what_an_architecture_wants_in_full_precision_is_left_so() -> None:
    """T5 would cast its activations to bytes."""
    live: Any = scratch("seq2seq").create(TEXTS, 0)
    names = {name.rsplit(".", 1)[1] for name in four_bits.quantized(live.model, "cpu", torch.float32)}
    assert "wo" not in names
    assert {"q", "k", "v", "o", "wi_0"} <= names
    assert {p.dtype for name, p in live.model.named_parameters() if ".wo." in name} == {torch.float32}


@needed
def test_a_student_without_linear_layers_says_so() -> None:
    model: Any = torch.nn.Module()
    model.head = torch.nn.Linear(4, 4)
    model.get_output_embeddings = lambda: model.head
    with pytest.raises(TrainingError, match="none but its output head"):
        four_bits.quantized(model, "cpu", torch.float32)


# ---------------------------------------------------------------- eight bits


@needed
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_in_bytes_follows_the_one_in_fp32(name: str, tmp_path: Path) -> None:
    plain = trained(tmp_path / "32", name, rate=3e-3)
    bytes_ = trained(tmp_path / "8", name, rate=3e-3, optimizer="adamw_8bit")
    assert bytes_["final_loss"] == pytest.approx(plain["final_loss"], rel=0.05)
    one, two = weights(tmp_path / "32"), weights(tmp_path / "8")
    assert any(not torch.equal(one[key], two[key]) for key in one), "it was the same optimizer"


@needed
@needs_peft
@pytest.mark.slow
def test_a_training_is_the_same_after_another_in_the_same_process(tmp_path: Path) -> None:
    """bitsandbytes remembers by place which parameters of an earlier one stay in fp32."""
    more: dict[str, Any] = {"optimizer": "adamw_8bit", "lora": Lora(rank=64, alpha=64), "steps": 8}
    trained(tmp_path / "one", **more)
    trained(tmp_path / "between", optimizer="adamw_8bit", steps=2)
    trained(tmp_path / "two", **more)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.equal(one[key], two[key]) for key in one)


# ---------------------------------------------------------------- memory


@needed
def test_bytes_of_a_layer_in_four_bits_are_those_that_it_has() -> None:
    model: Any = torch.nn.Module()
    model.one = torch.nn.Linear(200, 300, bias=False)
    model.get_output_embeddings = lambda: None
    four_bits.quantized(model, "cpu", torch.float32)
    state = model.one.weight.quant_state
    parts = (model.one.weight, state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
    assert four_bits.weight_bytes(60_000) == sum(each.numel() * each.element_size() for each in parts)


@needed
def test_bytes_of_the_optimizer_are_those_that_it_has() -> None:
    from bitsandbytes.optim import AdamW, GlobalOptimManager  # type: ignore[import-not-found]

    four_bits.forget()
    model = torch.nn.Sequential(
        torch.nn.Embedding(100, 64), torch.nn.Linear(64, 100), torch.nn.Linear(100, 30)
    )
    # As transformers.Trainer does.
    GlobalOptimManager.get_instance().register_module_override(model[0], "weight", {"optim_bits": 32})
    optimizer = AdamW(model.parameters(), optim_bits=8)
    model(torch.arange(9)).sum().backward()
    optimizer.step()
    has = sum(
        each.numel() * each.element_size()
        for state in optimizer.state.values()
        for key, each in state.items()
        if isinstance(each, torch.Tensor) and not key.startswith("qmap")
    )
    four_bits.forget()
    assert four_bits.state_bytes(model) == has
    # 6,400 weights in bytes with 25 scales, twice; the rest is an embedding, or fewer than 4,096.
    assert has == 2 * (6400 + 4 * 25) + 8 * (6400 + 100 + 3000 + 30)


@needed
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["causal"])
@pytest.mark.parametrize("more", [{"lora": {"rank": 8, "bits": 4}}, {"optimizer": "adamw_8bit"}], ids=str)
def test_the_estimate_is_near_what_is_allocated(kind: str, more: Any, tmp_path: Path) -> None:
    if "lora" in more:
        pytest.importorskip("peft")
    settings = spec(3, checkpoints=0, device="cpu", **more)
    found = estimate(lambda: model_of(kind), kind, settings, BATCH)
    wanted = measured(kind, settings, tmp_path)
    print(f"{kind} {more}: estimated {found.total:,}, measured {wanted:,}; {found}")
    assert found.total == pytest.approx(wanted, rel=0.05)


# ---------------------------------------------------------------- what is refused

ASKING = [
    ({"lora": {"bits": 4}}, "train.lora.bits needs"),
    ({"optimizer": "adamw_8bit"}, "train.optimizer adamw_8bit needs"),
    (
        {"optimizer": "adamw_8bit", "lora": {"bits": 4}},
        "train.lora.bits and train.optimizer adamw_8bit needs",
    ),
]


@needs_peft
@pytest.mark.parametrize(("changes", "said"), ASKING)
def test_a_missing_bitsandbytes_is_told(changes: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=f"{said} bitsandbytes, .*pip install bitsandbytes"):
        adapters.check(spec(device="cpu", **changes))


@needs_peft
@pytest.mark.parametrize(("changes", "said"), ASKING)
def test_a_bitsandbytes_for_gpus_alone_is_told(
    changes: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old: Any = type(sys)("bitsandbytes")
    old.__version__ = "0.45.0"
    monkeypatch.setitem(sys.modules, "bitsandbytes", old)
    monkeypatch.setattr(four_bits, "find_spec", lambda name: name)
    monkeypatch.setattr(four_bits, "_has", lambda operation, where: False)
    with pytest.raises(TrainingError, match=f"{said} a CUDA device, or .*newer bitsandbytes than 0.45.0"):
        adapters.check(spec(device="cpu", **changes))


def test_an_operation_that_nobody_has_is_none() -> None:
    assert four_bits._has("aten::add.Tensor", "CPU")
    assert not four_bits._has("nobody::nothing", "CPU")
