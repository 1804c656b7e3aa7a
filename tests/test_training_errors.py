"""What can go wrong in a training: one sentence that says what to do, and nothing that was done is lost."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr
from safetensors import SafetensorError
from safetensors.torch import load_file

from small import recipe
from tiny import GROUPS, TEXTS, quiet, scratch, spec
from understudy import distill
from understudy.errors import TrainingError
from understudy.roles import Learner, Lesson, TrainSpec
from understudy.training import checkpoints as stored
from understudy.training import train
from understudy.training.arguments import arguments, device_of
from understudy.training.exact import Exact
from understudy.training.objective import objective
from understudy.training.trainer import fit

TWELVE = spec(12, checkpoints=2)
"""Checkpoints are due after steps 4 and 8, and at the end."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class At(Learner):
    """The plain objective, until something happens at a step."""

    name: str = "at"
    _step: int = PrivateAttr(0)
    _do: Any = PrivateAttr(None)

    def fit(self, lesson: Lesson) -> float:
        done = [0]

        def loss(model: Any, inputs: dict[str, Any], rows: Any) -> torch.Tensor:
            given = {key: value for key, value in inputs.items() if key not in ("labels", "token_weights")}
            logits = model(**given, use_cache=False).logits
            plain = objective(logits, inputs["labels"], inputs["token_weights"])
            done[0] += 1
            out: torch.Tensor = self._do(plain, model) if done[0] == self._step else plain
            return out

        return fit(
            lesson.live,
            lesson.encoded,
            lesson.plan,
            lesson.spec,
            lesson.learning_rate,
            lesson.seed,
            lesson.folder,
            lesson.progress,
            journal=lesson.journal,
            loss=loss,
        )


def at(step: int, do: Callable[[torch.Tensor, Any], torch.Tensor]) -> At:
    learner = At()
    learner._step, learner._do = step, do
    return learner


def go(folder: Path, settings: TrainSpec = TWELVE, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"learning_rate": 3e-3, "seed": 0, "progress": quiet, **more}
    return train(scratch("causal"), GROUPS, settings, folder=folder, **given)


def checkpoints_in(folder: Path) -> list[str]:
    return [path.name for path in stored.found(folder / "checkpoints")]


def raising(error: Exception) -> Callable[[torch.Tensor, Any], torch.Tensor]:
    def do(loss: torch.Tensor, model: Any) -> torch.Tensor:
        raise error

    return do


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_too_little_memory(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(TrainingError, match=r"for step 10 of 12: lower train\.batch_tokens \(now 64\)"):
        go(tmp_path, learner=at(10, raising(error)))
    assert checkpoints_in(tmp_path) == ["checkpoint-8", "checkpoint-4"]
    again = go(tmp_path, learner=at(99, raising(error)))
    assert again["notes"] == [], "what was done is gone on from"


def test_an_error_of_another_kind_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        go(tmp_path, learner=at(2, raising(RuntimeError("shapes do not fit"))))


# ---------------------------------------------------------------- numbers


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    # With 120 steps a line is logged every two; the step itself is named all the same.
    settings = spec(120, checkpoints=2)
    with pytest.raises(TrainingError, match=r"nan by step 55 of 120 at learning rate 0\.003: lower it"):
        go(tmp_path, settings, learner=at(55, lambda loss, model: loss * float("nan")))
    assert checkpoints_in(tmp_path) == ["checkpoint-40"]
    weights = load_file(tmp_path / "checkpoints" / "checkpoint-40" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_loss_that_is_no_number_is_not_saved(tmp_path: Path) -> None:
    """At the very step of a checkpoint, between two lines of the log."""
    settings = spec(250, checkpoints=9)
    assert arguments(settings, _plan(250), 1.0, 0, tmp_path).logging_steps == 5
    with pytest.raises(TrainingError, match="by step 49 of 250"):
        go(tmp_path, settings, learner=at(49, lambda loss, model: loss * float("inf")))
    assert checkpoints_in(tmp_path) == ["checkpoint-25"]


def _plan(steps: int) -> Any:
    from understudy.batches import Size, plan

    return plan([Size(1, 4, 4, 8)], 8, "steps", steps, 0)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    """The loss of step 4 is a number, its gradient is none; a checkpoint is due after it."""

    def spoil(loss: torch.Tensor, model: Any) -> torch.Tensor:
        weight = next(model.parameters())
        weight.register_hook(lambda gradient: gradient * float("nan"))
        return loss

    with pytest.raises(TrainingError, match=r"the weights are no longer numbers \(.+\) at step 4 of 12"):
        go(tmp_path, learner=at(4, spoil))
    assert checkpoints_in(tmp_path) == []


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    if {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]:
        pytest.skip(f"this machine has {device}")
    with pytest.raises(TrainingError, match=rf"train\.device is {device}, which .* auto or"):
        go(tmp_path, spec(2, device=device))


def test_a_device_that_is_there(tmp_path: Path) -> None:
    assert device_of("cpu") == "cpu"
    assert device_of("auto") in ("cpu", "cuda", "mps")
    assert arguments(spec(2, device="cpu"), _plan(2), 1.0, 0, tmp_path).device.type == "cpu"


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize("name", ["causal", "seq2seq"])
def test_a_tokenizer_of_another_model(tmp_path: Path, name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    rows = len(live.tokenizer)
    live.model.resize_token_embeddings(rows - 3)
    live.save(tmp_path / "start")
    with pytest.raises(TrainingError, match=rf"does not fit the model: .* {rows - 3} embeddings; take the"):
        train(
            scratch(name),
            GROUPS,
            TWELVE,
            learning_rate=1e-3,
            seed=0,
            folder=tmp_path,
            progress=quiet,
            start=tmp_path / "start",
        )


# ---------------------------------------------------------------- the disk


def full(folder: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(folder))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file"),
    ],
    ids=["os", "safetensors", "torch"],
)
def test_a_checkpoint_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    go(tmp_path / "whole")
    save = Exact._save_optimizer_and_scheduler
    seen: list[list[str]] = []

    def failing(self: Exact, folder: str) -> None:
        if self.state.global_step == 8:
            (Path(folder) / "optimizer.pt").write_bytes(b"half")
            raise error
        seen.append(checkpoints_in(tmp_path / "cut"))
        save(self, folder)

    monkeypatch.setattr(Exact, "_save_optimizer_and_scheduler", failing)
    told: list[str] = []
    result = go(tmp_path / "cut", progress=lambda _, detail: told.append(detail))
    assert seen == [[], ["checkpoint-4"]], "the one before is kept"
    (note,) = result["notes"]
    assert note.startswith("the checkpoint after step 8 could not be written (")
    assert note.endswith("the training goes on, and those before it are kept; free some space on the disk")
    assert note in told
    a, b = (load_file(tmp_path / place / "model" / "model.safetensors") for place in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_disk_that_fills_while_a_checkpoint_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "seal", full)
    result = go(tmp_path)
    assert [note.split(" could")[0] for note in result["notes"]] == [
        "the checkpoint after step 4",
        "the checkpoint after step 8",
        "the checkpoint after step 12",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_error_that_is_not_the_disks_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Exact, folder: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Exact, "_save_optimizer_and_scheduler", failing)
    with pytest.raises(RuntimeError, match="a bug"):
        go(tmp_path)


# ---------------------------------------------------------------- trackers

TRACKED = """\
name: tracked
task: arithmetic
data: {train: 20, dev: 10, test: 10}
teacher: template
students: [{name: causal, config: tiny}]
methods: [answer_only]
train: {budget: {unit: steps, amount: 4}, learning_rate: 1e-3, report_to: [wandb]}
"""


def test_a_tracker_that_is_not_installed_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.training import tracking

    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match=r"train\.report_to names wandb, .*: pip install wandb, or"):
        distill.run(recipe(text=TRACKED), tmp_path / "run", lambda event: None)
    assert not (tmp_path / "run").exists()
    with pytest.raises(TrainingError, match="names mlflow"):
        go(tmp_path, spec(2, report_to=("mlflow",)))


def test_nobody_is_told_unless_the_recipe_says_so(tmp_path: Path) -> None:
    assert TrainSpec().report_to == ()
    assert arguments(spec(2), _plan(2), 1.0, 0, tmp_path).report_to == []


def test_tensorboard_is_told_the_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    reading = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("HF_TOKEN", "hf_secret_word")
    settings = spec(6, report_to=("tensorboard",), checkpoints=0)
    result = go(tmp_path / "step", settings, name="run/train/small/seed0", trackers=tmp_path / "trackers")
    place = tmp_path / "trackers" / "tensorboard" / "run" / "train" / "small" / "seed0"
    (events,) = place.iterdir()
    read = reading.EventAccumulator(str(place))
    read.Reload()
    losses = [(event.step, event.value) for event in read.Scalars("train/loss")]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[-1][1] == pytest.approx(result["final_loss"])
    assert b"hf_secret_word" not in events.read_bytes()
    assert [path.name for path in (tmp_path / "step").iterdir()] == ["model"]
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ
