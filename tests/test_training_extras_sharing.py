"""Weights that processes share by FSDP 2 or DeepSpeed: the same training as one process, on processors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from test_training_devices import MATERIAL, alone, lesson
from tiny import GROUPS, STUDENTS, TEXTS, quiet, scratch, spec
from understudy.errors import TrainingError
from understudy.roles import Lesson, TrainSpec
from understudy.training import adapters, devices, jobs, sharing, train

NAMES = tuple(STUDENTS)
TESTS = Path(__file__).parent
needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def zero(folder: Path, stage: int = 2, **more: Any) -> Path:
    """A configuration as users write them, with what Understudy says left to it."""
    auto = {"train_micro_batch_size_per_gpu": "auto", "train_batch_size": "auto", "gradient_clipping": "auto"}
    path = folder / "zero.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": stage}, **auto, **more}), encoding="utf-8")
    return path


def shared(given: Lesson) -> bool:
    """Train in two processes that share weights; whether they did."""
    job = jobs.write(scratch(given.live.kind), given, given.folder)
    path = os.pathsep.join([str(TESTS), *sys.path])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(TESTS / "shared_processors.py"), str(job)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = [each.read_text(encoding="utf-8") for each in job.glob("error-*.json")]
    assert done.returncode == 0, "\n".join([*said, done.stderr[-4000:]])
    jobs.collect(job, given)
    result = json.loads((job / "result.json").read_text(encoding="utf-8"))
    shutil.rmtree(job)
    return bool(result["sharded"])


def assert_same(mine: Lesson, theirs: Lesson) -> None:
    assert theirs.journal is not None
    assert mine.journal is not None
    assert len(theirs.journal.losses) == 12
    assert theirs.journal.losses == pytest.approx(mine.journal.losses, abs=1e-5)
    pairs = zip(mine.live.model.named_parameters(), theirs.live.model.named_parameters(), strict=True)
    for (name, one), (other, two) in pairs:
        assert name == other
        assert two.dtype == torch.float32
        torch.testing.assert_close(one, two, atol=1e-4, rtol=0)


def assert_shared_trains_as_one(folder: Path, name: str, **way: Any) -> None:
    settings = spec(12, checkpoints=3, devices=2, **way)
    one = lesson(folder / "one", name, MATERIAL["two objectives"], spec(12, checkpoints=0))
    two = lesson(folder / "two", name, MATERIAL["two objectives"], settings)
    alone(one)
    assert shared(two), "each process held all weights"
    assert_same(one, two)
    # As if it had been killed before its last checkpoint.
    kept = sorted((folder / "two" / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name[11:]))
    shutil.rmtree(kept[-1])
    again = lesson(folder / "two", name, MATERIAL["two objectives"], settings)
    before = kept[0].stat().st_mtime_ns
    assert shared(again)
    assert kept[0].stat().st_mtime_ns == before, "it began anew"
    assert_same(one, again)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_fsdp_trains_as_one_process_and_goes_on(tmp_path: Path, name: str) -> None:
    assert_shared_trains_as_one(tmp_path, name, strategy="fsdp")


@pytest.mark.slow
@needs_deepspeed
@pytest.mark.parametrize("name", NAMES)
def test_deepspeed_trains_as_one_process_and_goes_on(tmp_path: Path, name: str) -> None:
    assert_shared_trains_as_one(tmp_path, name, deepspeed=zero(tmp_path))


@pytest.mark.slow
@needs_deepspeed
def test_deepspeed_in_bf16_saves_weights_of_full_precision(tmp_path: Path) -> None:
    """The model computes with rounded copies; what is saved are those that the optimizer keeps."""
    settings = spec(4, checkpoints=0, devices=2, precision="bf16", deepspeed=zero(tmp_path))
    given = lesson(tmp_path, "causal", MATERIAL["two objectives"], settings)
    assert shared(given)
    model: Any = given.live.model
    weight = model.get_output_embeddings().weight
    assert weight.dtype == torch.float32
    assert not torch.equal(weight, weight.bfloat16().float())


def test_one_table_of_embeddings_stands_in_all_places() -> None:
    live: Any = scratch("seq2seq").create(TEXTS, 0)
    model = live.model
    names = {*model.state_dict()} - {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert model.encoder.embed_tokens is not model.shared, "then there would be nothing to join"
    sharing.join(model)
    assert model.encoder.embed_tokens is model.shared
    assert model.decoder.embed_tokens is model.shared
    state = model.state_dict()
    assert set(state) == names
    model.load_state_dict(state)


def test_weights_that_each_process_has_are_left_alone() -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    assert sharing.whole(live.model) is None


# ---------------------------------------------------------------- what is refused


def refusal(settings: TrainSpec, folder: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        train(scratch("causal"), GROUPS, settings, learning_rate=1e-3, seed=0, folder=folder, progress=quiet)
    return str(caught.value)


def test_processors_share_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "find_spec", lambda name: name)
    assert "deepspeed needs GPUs" in refusal(spec(2, deepspeed=zero(tmp_path)), tmp_path)
    assert "fsdp needs GPUs" in refusal(spec(2, devices=2, strategy="fsdp"), tmp_path)


def test_a_missing_deepspeed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="pip install deepspeed"):
        devices.configuration(zero(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no file"),
        ("{'stage': 2}", "is not JSON"),
        ("[]", "zero_optimization with a stage"),
        ("{}", "zero_optimization with a stage"),
    ],
)
def test_a_configuration_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, said: str
) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: name)
    path = tmp_path / "zero.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=said):
        devices.configuration(path)
    path.write_text('{"zero_optimization": {"stage": 2}}', encoding="utf-8")
    assert devices.configuration(path) == str(path)


def test_bytes_of_an_optimizer_are_not_shared() -> None:
    with pytest.raises(TrainingError, match="adamw_8bit does not go with fsdp"):
        adapters.check(spec(optimizer="adamw_8bit", strategy="fsdp", devices=2))


def test_deepspeed_is_started_by_torchrun_even_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def fit(student: Any, given: Lesson, processes: int) -> tuple[float, int]:
        del student, given
        started.append(processes)
        return 1.0, processes

    monkeypatch.setattr("understudy.training.devices.check_strategy", lambda spec, on_gpus: None)
    monkeypatch.setattr("understudy.training.distributed.fit", fit)
    settings = spec(2, deepspeed=tmp_path / "zero.json")
    train(scratch("causal"), GROUPS, settings, learning_rate=1e-3, seed=0, folder=tmp_path, progress=quiet)
    assert started == [1]
