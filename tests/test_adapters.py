"""Adapters and checkpointing: only adapters learn, a plain model is saved, and losses stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tiny import GROUPS, STUDENTS, SUMS, TEXTS, quiet, scratch, spec
from understudy.errors import TrainingError
from understudy.roles import Lora
from understudy.training import adapters, four_bits, train
from understudy.training.encode import encode
from understudy.training.trainer import mean_loss

pytest.importorskip("peft", reason="adapters are those of peft")
NAMES = tuple(STUDENTS)
LORA = Lora(rank=4, alpha=8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def live_of(name: str) -> Any:
    return scratch(name).create(TEXTS, 0)


def logits(live: Any) -> torch.Tensor:
    batch = live.collate(live.encode(SUMS))
    batch.pop("labels")
    live.model.eval()
    with torch.no_grad():
        found: torch.Tensor = live.model(**batch).logits
    return found


def shaken(model: Any) -> None:
    """Adapters that are not the zero they begin as."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_merged_logits_are_the_adapters_logits(name: str) -> None:
    live = live_of(name)
    before, kind, keys = logits(live), type(live.model), set(live.model.state_dict())
    with adapters.attached(live, LORA, 0):
        torch.testing.assert_close(logits(live), before, msg="an adapter begins as nothing")
        shaken(live.model)
        adapted = logits(live)
    assert type(live.model) is kind
    assert set(live.model.state_dict()) == keys
    assert not torch.allclose(adapted, before, atol=0.01)
    torch.testing.assert_close(logits(live), adapted, atol=1e-4, rtol=1e-4)
    assert all(parameter.requires_grad for parameter in live.model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_only_adapters_learn(name: str) -> None:
    live = live_of(name)
    weights = sum(p.numel() for p in live.model.parameters())
    with adapters.attached(live, LORA, 0):
        names = [key for key, p in live.model.named_parameters() if p.requires_grad]
        assert names
        assert all("lora_" in key for key in names)
        assert sum(p.numel() for p in live.model.parameters() if p.requires_grad) < weights / 4
        assert not any("lm_head" in key for key in names)


def test_what_fails_leaves_the_model_as_it_was() -> None:
    live = live_of("causal")
    before = logits(live)

    def go() -> None:
        with adapters.attached(live, LORA, 0):
            shaken(live.model)
            raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        go()
    torch.testing.assert_close(logits(live), before, atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_with_adapters_learns_and_saves_a_plain_student(name: str, tmp_path: Path) -> None:
    settings = spec(30, lora=Lora(rank=8, alpha=32))
    result = train(
        scratch(name), GROUPS, settings, learning_rate=2e-2, seed=0, folder=tmp_path, progress=quiet
    )
    first = train(
        scratch(name), GROUPS, spec(1), learning_rate=1e-9, seed=0, folder=tmp_path / "x", progress=quiet
    )
    assert result["final_loss"] < 0.85 * first["final_loss"]
    assert result["parameters"] == first["parameters"]
    assert sorted(path.name for path in (tmp_path / "model").glob("*adapter*")) == []
    live: Any = scratch(name).load(tmp_path / "model")
    merged = mean_loss(live, encode(live, GROUPS, settings)[0])
    assert merged < 0.85 * first["final_loss"]


class Killed(Exception):  # noqa: N818
    """Stands for a machine that went away."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_training_of_adapters_ends_in_the_same_weights(name: str, tmp_path: Path) -> None:
    settings = spec(12, lora=Lora(rank=4, alpha=8, dropout=0.1), checkpoints=3)

    def go(folder: Path, progress: Any) -> dict[str, Any]:
        return train(
            scratch(name), GROUPS, settings, learning_rate=1e-2, seed=0, folder=folder, progress=progress
        )

    def kill(fraction: float, detail: str) -> None:
        del detail
        if fraction > 0.6 and any((tmp_path / "two" / "checkpoints").glob("checkpoint-*")):
            raise Killed

    go(tmp_path / "one", quiet)
    with pytest.raises(Killed):
        go(tmp_path / "two", kill)
    saved = list((tmp_path / "two" / "checkpoints").glob("checkpoint-*/adapter_model.safetensors"))
    assert saved, "a checkpoint holds the adapters alone"
    go(tmp_path / "two", quiet)
    one, two = (load_file(tmp_path / end / "model" / "model.safetensors") for end in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_targets_that_the_model_has_not_are_told() -> None:
    with (
        pytest.raises(TrainingError, match=r"train.lora.targets to all-linear, or to some of .*q_proj"),
        adapters.attached(live_of("causal"), Lora(targets=("query",)), 0),
    ):
        pass


def test_targets_by_name() -> None:
    live = live_of("causal")
    with adapters.attached(live, Lora(targets=("q_proj", "v_proj")), 0):
        named = {
            key.split(".lora_")[0].rsplit(".", 1)[1]
            for key, _ in live.model.named_parameters()
            if "lora_" in key
        }
        assert named == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"lora": {"bits": 4}}, "train.lora.bits"), ({"optimizer": "adamw_8bit"}, "optimizer adamw_8bit")],
)
def test_what_needs_bitsandbytes_says_so_before_anything_is_made(
    changes: Any, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(four_bits, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=f"{named} needs bitsandbytes"):
        train(
            scratch("causal"),
            GROUPS,
            spec(2, **changes),
            learning_rate=1e-3,
            seed=0,
            folder=tmp_path,
            progress=quiet,
        )
    assert not list(tmp_path.iterdir())


def test_muon_is_for_whole_models() -> None:
    with pytest.raises(TrainingError, match="does not go with optimizer muon"):
        adapters.check(spec(lora=LORA, optimizer="muon"))


def test_weights_that_no_process_holds_as_a_whole_are_refused() -> None:
    with pytest.raises(TrainingError, match="does not go with fsdp"):
        adapters.check(spec(lora=LORA, strategy="fsdp", devices=2))
    adapters.check(spec(lora=LORA, strategy="fsdp"))


def test_a_missing_peft_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="pip install 'understudy\\[peft\\]'"):
        adapters.check(spec(lora=LORA))


# ---------------------------------------------------------------- checkpointing


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "more",
    [
        {},
        pytest.param({"lora": {"rank": 4}}, marks=pytest.mark.slow),
        pytest.param({"packing": True, "pack_tokens": 60}, marks=pytest.mark.slow),
    ],
    ids=["plain", "lora", "packing"],
)
def test_checkpointing_changes_no_loss(name: str, more: Any, tmp_path: Path) -> None:
    ends = [
        train(
            scratch(name),
            GROUPS,
            spec(6, gradient_checkpointing=on, **more),
            learning_rate=1e-2,
            seed=0,
            folder=tmp_path / str(on),
            progress=quiet,
        )["final_loss"]
        for on in (False, True)
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_computes_layers_twice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the equal losses above are not those of a key that nobody reads."""
    calls = []
    before = torch.nn.Linear.forward

    def counted(layer: torch.nn.Linear, given: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return before(layer, given)

    monkeypatch.setattr(torch.nn.Linear, "forward", counted)
    many = []
    for on in (False, True):
        calls.clear()
        settings = spec(2, gradient_checkpointing=on)
        folder = tmp_path / str(on)
        train(scratch(name), GROUPS, settings, learning_rate=1e-2, seed=0, folder=folder, progress=quiet)
        many.append(len(calls))
    assert many[1] > 1.3 * many[0]
