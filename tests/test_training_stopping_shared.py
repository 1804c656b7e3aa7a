"""Early stopping in several processes: the same decision at the same step in all of them, as in one alone."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import torch

from test_training_devices import _one_thread, lesson, ranks
from test_training_stopping import equal, questions, weights
from tiny import CHOICE, GROUPS, quiet, scratch, spec
from understudy.errors import TrainingError
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.single_stage import SingleStage
from understudy.roles import ClusterSpec, StoppingSpec, TrainSpec
from understudy.training import distributed, jobs, measuring, telling, together, tokens, train
from understudy.training.accuracy import DevAccuracy, accuracy_on
from understudy.training.devices import Place
from understudy.training.encode import encode
from understudy.training.journal import Journal
from understudy.training.stopping import Stopper
from understudy.training.trainer import mean_loss
from understudy.types import Example

__all__ = ["_one_thread"]
"""A fixture of the whole module."""

DEV = [
    (Example(f"dev{a}{b}", f"Question: {a} + {b}? Answer:", f"The answer is {a * b % 9}."),)
    for a in range(1, 9)
    for b in range(2, 7)
]
"""More than fit into one batch of a measurement, so that both processes have a share. Nearly all are wrong:
what is learned by heart makes their loss rise in the end."""
NEAR = 1e-3
"""Of a value on dev: two processes add floats in another order than one."""


def early(steps: int = 200, average: int = 0, **changes: Any) -> TrainSpec:
    rule = StoppingSpec(**{"every": 0.05, "patience": 4, **changes.pop("stopping", {})})
    return spec(steps, checkpoints=8, stopping=rule, average=average, **changes)


def go(folder: Path, settings: TrainSpec, **more: Any) -> dict[str, Any]:
    """Best after about 70 steps, and so ended after about 110 of 200."""
    given: dict[str, Any] = {"learning_rate": 1e-3, "seed": 0, "progress": quiet, "dev": DEV, **more}
    result = train(scratch("causal"), given.pop("groups", GROUPS), settings, folder=folder, **given)
    return {**result, "seconds": 0}


# ---------------------------------------------------------------- one number for all


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the processes would exchange, one after the other; nobody gets anything from another."""
    kept: list[torch.Tensor] = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda table: kept.append(table.clone()))
    return kept


def test_the_shares_of_a_measurement_make_the_very_number_of_one_process(
    tmp_path: Path, tables: list[torch.Tensor]
) -> None:
    live = scratch("causal").create([text for (e,) in DEV for text in (e.source, f" {e.target}")], 0)
    dev = encode(live, DEV, spec())[0]
    alone = mean_loss(live, dev, rows_per_batch=7)
    assert not tables
    for rank in range(3):
        # 0 / 0 where a process has only its own: what matters is the table.
        mean_loss(live, dev, rows_per_batch=7, place=Place(rank, 3))
    assert [int((table[:, 1] > 0).sum()) for table in tables] == [2, 2, 2], "six batches in three shares"
    total = torch.stack(tables).sum(0).tolist()
    loss = count = 0.0
    for one, many in total:
        loss += one
        count += many
    assert loss / count == alone


def test_a_number_that_is_none_stays_one(tables: list[torch.Tensor]) -> None:
    live: Any = type("Live", (), {"model": torch.nn.Linear(1, 1)})()
    together.mean([float("nan"), 1.0], lambda part: (part, 1.0), live, Place(0, 2))
    together.mean([float("nan"), 1.0], lambda part: (part, 1.0), live, Place(1, 2))
    np.testing.assert_array_equal(sum(tables), [[float("nan"), 1], [1, 1]])


def test_what_is_asked_of_dev_crosses_into_another_process() -> None:
    asked = accuracy_on([CHOICE, *questions()], SingleStage(), "rationale", "number", 12, 99)
    again = DevAccuracy.of(json.loads(json.dumps(asked.plain())))
    assert again == asked
    assert again.questions[0].choices == CHOICE.choices


def test_what_cannot_be_measured_together(tmp_path: Path) -> None:
    for changes in (
        {"devices": 2, "strategy": "fsdp"},
        {"ray": ClusterSpec(), "strategy": "fsdp"},
        {"deepspeed": tmp_path},
    ):
        with pytest.raises(TrainingError, match=r"whole weights, .* set train\.strategy to ddp"):
            go(tmp_path, early(**changes))
    settings = early()
    assert settings.stopping
    mine = Stopper(settings.stopping, 0, lambda: 1.0, [1], tmp_path)
    given = replace(lesson(tmp_path, "causal", GROUPS, settings), journal=Journal(mine))
    with pytest.raises(TrainingError, match="Measure"):
        jobs.write(scratch("causal"), given, tmp_path)


# ---------------------------------------------------------------- a job, in this process


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[tokens.Tokens]:
    """Jobs are done by this process alone; what each has loaded of token ids."""
    loaded: list[tokens.Tokens] = []
    load = tokens.load

    def heard(folder: Path) -> tokens.Tokens:
        loaded.append(load(folder))
        return loaded[-1]

    monkeypatch.setattr(tokens, "load", heard)
    monkeypatch.setattr(distributed, "_launch", lambda job, processes, progress: jobs.work(job))
    return loaded


@pytest.mark.parametrize("average", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_job_stops_as_a_training_does_that_is_none(
    tmp_path: Path, here: list[tokens.Tokens], average: int
) -> None:
    """To the last bit: its examples, those of dev, the rule and the result go through files."""
    rule: dict[str, Any] = {"average": average, "stopping": {"every": 0.1, "patience": 2}}
    plain = go(tmp_path / "plain", early(60, **rule), learning_rate=3e-3)
    assert plain["stopping"]["best"] < plain["stopping"]["stopped"] == plain["steps"] < 60
    assert bool(plain["stopping"]["averaged"]) == bool(average)
    assert go(tmp_path / "job", early(60, devices=2, **rule), learning_rate=3e-3) == plain
    assert equal(tmp_path / "plain", tmp_path / "job")
    assert [len(found) for found in here] == [len(GROUPS), len(DEV)]
    assert all(isinstance(found.arrays["ids"], np.memmap) for found in here), "no copy for each process"


def by_accuracy(devices: int) -> tuple[TrainSpec, dict[str, Any]]:
    method = AnswerOnly()
    settings = early(60, devices=devices, stopping={"metric": "dev_accuracy", "every": 0.2})
    groups = [group for q in questions() for group in method.examples("answer", q, [], "number")]
    asked = accuracy_on(questions(), method, "answer", "number", 12, 99)
    return settings, {"groups": groups, "accuracy": asked, "dev": (), "learning_rate": 5e-3}


def test_a_job_is_measured_by_the_answers_to_dev(tmp_path: Path, here: list[tokens.Tokens]) -> None:
    results = []
    for devices in (1, 2):
        settings, given = by_accuracy(devices)
        results.append(go(tmp_path / str(devices), settings, **given))
    values = [point["value"] for point in results[0]["stopping"]["curve"]]
    assert values[0] < values[-1] == 1
    assert results[0] == results[1]
    assert equal(tmp_path / "1", tmp_path / "2")


def test_rows_that_are_no_tokens_are_packed(tmp_path: Path) -> None:
    given = lesson(tmp_path, "causal", GROUPS, spec(2))
    job = jobs.write(scratch("causal"), replace(given, encoded=list(given.encoded)), tmp_path)
    assert list(tokens.load(job / "tokens")) == list(given.encoded)


# ---------------------------------------------------------------- two processes


def assert_near(shared: dict[str, Any], alone: dict[str, Any]) -> None:
    """The same steps, and values that differ in their last digits."""
    two, one = shared["stopping"], alone["stopping"]
    assert [point["step"] for point in two["curve"]] == [point["step"] for point in one["curve"]]
    assert [point["tokens"] for point in two["curve"]] == [point["tokens"] for point in one["curve"]]
    values = [point["value"] for point in one["curve"]]
    assert [point["value"] for point in two["curve"]] == pytest.approx(values, abs=NEAR)
    for key in ("metric", "best", "stopped", "planned"):
        assert two[key] == one[key]
    for key in ("steps", "epochs", "tokens", "target_tokens", "flops", "padding_efficiency", "notes"):
        assert shared[key] == alone[key]
    assert shared["final_loss"] == pytest.approx(alone["final_loss"], abs=NEAR)
    assert shared["dev_loss"] == pytest.approx(alone["dev_loss"], abs=NEAR)


def test_two_processes_stop_as_one(tmp_path: Path) -> None:
    """And they keep the weights of the best measurement, not those that they ended with."""
    alone = go(tmp_path / "one", early())
    shared = go(tmp_path / "two", early(devices=2))
    assert shared["processes"] == 2
    assert_near(shared, alone)
    told = shared["stopping"]
    best = next(point["value"] for point in told["curve"] if point["step"] == told["best"])
    assert shared["dev_loss"] == pytest.approx(best, rel=1e-6) != pytest.approx(told["curve"][-1]["value"])
    for key, weight in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[key], weight, atol=NEAR, rtol=0)
    (line,) = telling.sentences("it", shared)
    assert line.startswith(f"it ended after {told['stopped']} of 200 steps. Its loss on dev was lowest")
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["model"]


@pytest.mark.slow
def test_two_processes_answer_dev_as_one(tmp_path: Path) -> None:
    alone, shared = (
        go(tmp_path / str(devices), settings, **given)
        for devices in (1, 2)
        for settings, given in [by_accuracy(devices)]
    )
    assert shared["processes"] == 2
    assert shared["stopping"] == alone["stopping"]


# ---------------------------------------------------------------- killed


def kill_at(folder: Path, step: int, rank: int, killed: list[int]) -> Thread:
    """Kills one of the two processes outright once there is a checkpoint of so late a step."""

    def kill() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end and not killed:
            steps = [int(path.name[11:]) for path in folder.glob("checkpoints/checkpoint-*")]
            if max(steps, default=0) >= step and len(found := ranks(psutil.Process().pid)) == 2:
                found[rank].send_signal(signal.SIGKILL)
                killed.append(rank)
            time.sleep(0.005)

    thread = Thread(target=kill)
    thread.start()
    return thread


def cut(folder: Path, settings: TrainSpec, step: int, rank: int) -> None:
    """A training in two processes, one of which is killed on its way."""
    killed: list[int] = []
    thread = kill_at(folder, step, rank, killed)
    try:
        with pytest.raises(TrainingError, match="was killed by signal 9"):
            go(folder, settings)
    finally:
        killed.append(-1)
        thread.join()
    assert killed[0] == rank
    assert not (folder / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("average", "kills"), [(0, [(23, 1), (69, 0)]), (2, [(69, 0)])])
def test_killed_processes_stop_where_they_would_have(
    tmp_path: Path, average: int, kills: list[tuple[int, int]]
) -> None:
    """Killed once or twice, the process that keeps the weights among them: same curve, same weights."""
    settings = early(devices=2, average=average)
    whole = go(tmp_path / "whole", settings)
    for step, rank in kills:
        cut(tmp_path / "cut", settings, step, rank)
    again = go(tmp_path / "cut", settings)
    assert again == whole
    assert equal(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("average", [0, 2])
def test_a_stopped_training_goes_on_in_one_process(tmp_path: Path, average: int) -> None:
    alone = go(tmp_path / "one", early(average=average))
    cut(tmp_path / "cut", early(devices=2, average=average), 46, 1)
    again = go(tmp_path / "cut", early(average=average))
    assert again["processes"] == 1
    assert_near(again, alone)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_processes_that_go_on_when_it_had_ended_train_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    """Killed after the last checkpoint, in one process or in two, and looked at again by two."""
    whole = go(tmp_path / "whole", early(devices=devices))

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Stopper, "choose", killed)
        patched.setattr(jobs, "collect", killed)
        with pytest.raises(Killed):
            go(tmp_path / "cut", early(devices=devices))
    for path in tmp_path.glob("cut/job"):
        (path / "result.json").unlink()
    told: list[float] = []
    again = go(tmp_path / "cut", early(devices=2), progress=lambda fraction, _: told.append(fraction))
    assert told == []
    assert again["processes"] == 2
    assert {**again, "processes": devices} == whole
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_the_job_of_a_training_that_is_not_measured_has_nothing_of_dev(tmp_path: Path) -> None:
    job = jobs.write(scratch("causal"), lesson(tmp_path, "causal", GROUPS, spec(2)), tmp_path)
    assert {path.name for path in job.iterdir()} == {"start", "tokens", "plan.json", "job.json"}
    live = scratch("causal").load(job / "start")
    assert measuring.read(job, live, spec(2), Place()) is None
