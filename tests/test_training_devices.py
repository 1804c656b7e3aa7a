"""One training in several processes: the same losses as in one, and none left behind by whoever is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from tiny import BOOLEAN, GROUPS, NUMBER, STUDENTS, SUMS, quiet, rationale, scratch, spec
from understudy.batches import Plan
from understudy.errors import TrainingError
from understudy.methods.step_by_step import StepByStep
from understudy.roles import ClusterSpec, Lesson, TrainSpec
from understudy.training import distributed, jobs, train
from understudy.training.collate import Collator
from understudy.training.devices import Place, deal, is_worker, placement, processes
from understudy.training.encode import encode
from understudy.training.journal import Journal
from understudy.training.objective import objective
from understudy.types import Example

NAMES = tuple(STUDENTS)
TWO_OBJECTIVES = [
    *StepByStep(rationale_weight=0.3).examples("predict", NUMBER, [rationale(NUMBER)], "number"),
    *StepByStep(rationale_weight=0.3).examples("predict", BOOLEAN, [rationale(BOOLEAN)], "boolean"),
]
# Lengths that differ, so that shares and padding do.
UNEVEN: list[tuple[Example, ...]] = [
    *GROUPS,
    (Example("long", "Question: 1 + 2 + 3 + 4 + 5 + 6? Answer:", "The answer is 21."),),
]
MATERIAL: dict[str, list[tuple[Example, ...]]] = {
    "one objective": UNEVEN,
    "two objectives": [*TWO_OBJECTIVES, *GROUPS[:1]],
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def lesson(
    folder: Path,
    name: str,
    groups: Sequence[tuple[Example, ...]],
    settings: TrainSpec,
    plan: Plan | None = None,
) -> Lesson:
    """All groups in every batch, but the second batch, which is one group alone."""
    texts = [text for group in groups for e in group for text in (e.source, f" {e.target}")]
    live = scratch(name).create(texts, 0)
    encoded, kept = encode(live, groups, settings)
    steps = int(settings.budget.amount)
    everyone = tuple(range(len(groups)))
    batches = tuple((0,) if step == 1 else everyone for step in range(steps))
    plan = plan or Plan(batches, 1, 1, 1.0)
    return Lesson(live, kept, encoded, plan, settings, 1e-3, 0, folder, quiet, None, Journal())


# ---------------------------------------------------------------- who gets what


def test_the_longest_groups_go_to_different_shares() -> None:
    lengths = [2, 10, 3, 9]
    assert deal([(1, length) for length in lengths], 2) == [[0, 1], [2, 3]]


def test_a_group_of_many_rows_is_weighed_with_all_of_them() -> None:
    assert deal([(3, 5), (1, 5), (1, 5), (1, 5)], 2) == [[0], [1, 2, 3]]


def test_padded_sizes_are_near_and_every_group_is_dealt_once() -> None:
    extents = [(1 + at % 2, 20 + 7 * at % 11) for at in range(41)]
    shares = deal(extents, 4)
    assert sorted(at for share in shares for at in share) == list(range(41))
    padded = [sum(extents[at][0] for at in share) * max(extents[at][1] for at in share) for share in shares]
    assert max(padded) < 1.15 * min(padded)


def test_there_may_be_fewer_groups_than_shares() -> None:
    assert deal([(1, 4)], 3) == [[0], [], []]


@pytest.mark.parametrize("material", MATERIAL)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_the_mean_over_the_shares_is_the_loss_and_gradient_of_the_batch(
    tmp_path: Path, name: str, material: str, ranks: int
) -> None:
    """With seven processes some have no share at all."""
    given = lesson(tmp_path, name, MATERIAL[material], spec(1))
    loss, gradient = step(given, [Collator(given.live)(given.encoded)])
    shares = [Collator(given.live, place=Place(rank, ranks))(given.encoded) for rank in range(ranks)]
    shared, sum_of_gradients = step(given, shares)
    assert shared == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(sum_of_gradients, gradient, rtol=1e-5, atol=1e-6)
    mean_of_means = sum(
        step(given, [Collator(given.live)(share)])[0]
        for rank in range(2)
        if (share := Place(rank, 2).own(given.encoded))
    )
    assert abs(mean_of_means / 2 - loss) > 1e-4, "the toy must tell a mean of means apart"


def step(given: Lesson, shares: Sequence[dict[str, Any]]) -> tuple[float, torch.Tensor]:
    """The mean over `shares` of loss and gradient, as several processes would average them."""
    model: Any = given.live.model
    model.zero_grad()
    total = 0.0
    for share in shares:
        inputs = dict(share)
        labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
        loss = objective(model(**inputs).logits, labels, weights) / len(shares)
        torch.autograd.backward(loss)
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_silent_tokens_are_not_counted_in_the_whole_batch(tmp_path: Path) -> None:
    quiet_part = replace(SUMS[0], cut=len("The answer is"), silent=True)
    given = lesson(tmp_path, "causal", [(quiet_part,), (SUMS[1],)], spec(1))
    loss, _ = step(given, [Collator(given.live)(given.encoded)])
    shares = [Collator(given.live, place=Place(rank, 2))(given.encoded) for rank in range(2)]
    assert step(given, shares)[0] == pytest.approx(loss, rel=1e-6)


# ---------------------------------------------------------------- how many there are


def test_a_machine_without_gpus_shares_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert processes(spec(devices=4)) == 4
    assert processes(spec(devices=1, strategy="fsdp")) == 1
    with pytest.raises(TrainingError, match="fsdp needs GPUs, and there are none to train on: take ddp"):
        processes(spec(devices=2, strategy="fsdp"))
    assert processes(spec(devices="auto")) == 1
    with pytest.raises(
        TrainingError, match=r"no GPU to train on, and 4 cores: set train.devices to 4 or fewer"
    ):
        processes(spec(devices=5))


def test_a_machine_with_fewer_gpus_than_asked_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert processes(spec(devices="auto")) == 1
    with pytest.raises(TrainingError, match=r"has 1 GPU: set train.devices to 1 or fewer, or to auto"):
        processes(spec(devices=2))


def test_what_the_trainer_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert placement(spec(devices=2, strategy="fsdp")) == {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert is_worker()
    assert placement(spec(devices=2)) == {"ddp_find_unused_parameters": False}
    assert placement(spec(devices=2, strategy="fsdp"))["fsdp"] is True
    with pytest.raises(TrainingError, match="pip install deepspeed"):
        placement(spec(deepspeed=tmp_path / "zero.json"))


def test_a_learner_trains_in_one_process(tmp_path: Path) -> None:
    learner: Any = SimpleNamespace(name="agreement", ARCHITECTURES=NAMES, NEEDS_TEACHER=False)
    for changes in ({"devices": 2}, {"ray": ClusterSpec()}):
        with pytest.raises(TrainingError, match=r"'agreement' trains in one process: set train.devices to 1"):
            train(
                scratch("causal"),
                GROUPS,
                spec(2, **changes),
                learning_rate=1e-3,
                seed=0,
                folder=tmp_path,
                progress=quiet,
                learner=learner,
            )


def test_where_a_training_runs_is_no_part_of_what_it_is() -> None:
    elsewhere = spec(devices=2, strategy="fsdp", ray=ClusterSpec(workers=4))
    assert elsewhere.decisive() == spec().decisive()
    assert TrainSpec(**elsewhere.decisive(), **elsewhere.place()) == elsewhere


# ---------------------------------------------------------------- two processes


def alone(given: Lesson) -> float:
    from understudy.training import trainer

    return trainer.fit(
        given.live,
        given.encoded,
        given.plan,
        given.spec,
        given.learning_rate,
        given.seed,
        given.folder,
        given.progress,
        journal=given.journal,
    )


def assert_same(tmp_path: Path, name: str, material: str, **changes: Any) -> None:
    """Twenty steps in one process and in two."""
    settings = spec(20, checkpoints=2, **changes)
    one = lesson(tmp_path / "one", name, MATERIAL[material], spec(20, checkpoints=2))
    two = lesson(tmp_path / "two", name, MATERIAL[material], settings)
    begun = [p.detach().clone() for p in two.live.model.parameters()]
    loss = alone(one)
    shared, many = distributed.fit(scratch(name), two, 2)
    assert many == 2
    assert shared == pytest.approx(loss, abs=1e-5)
    assert len(one.journal.losses) == 20
    assert two.journal.losses == pytest.approx(one.journal.losses, abs=1e-5)
    moved = 0.0
    for mine, theirs, before in zip(
        one.live.model.parameters(), two.live.model.parameters(), begun, strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)
        moved = max(moved, float((mine - before).detach().abs().max()))
    assert moved > 1e-2, "the training must have moved the weights"
    assert not (two.folder / "job").exists()


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    assert_same(tmp_path, "causal", "two objectives", devices=2)


@pytest.mark.slow
@pytest.mark.parametrize("material", MATERIAL)
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_as_one_whatever_they_train(tmp_path: Path, name: str, material: str) -> None:
    assert_same(tmp_path, name, material, devices=2)


def go(folder: Path, settings: TrainSpec, progress: Any = quiet) -> dict[str, Any]:
    return train(
        scratch("causal"),
        GROUPS,
        settings,
        learning_rate=3e-3,
        seed=0,
        folder=folder,
        progress=progress,
    )


@pytest.mark.slow
def test_a_training_says_how_many_shared_it(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    result = go(tmp_path, spec(20, devices=2), lambda *heard: told.append(heard))
    assert result["processes"] == 2
    assert told[-1][0] == 1
    assert told[-1][1].startswith("step 20 of 20, loss ")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_what_a_process_raises_is_the_sentence(tmp_path: Path) -> None:
    """A learning rate at which the weights overflow."""
    given = lesson(tmp_path, "causal", UNEVEN, spec(20, devices=2))
    with pytest.raises(TrainingError, match="lower it, or set precision fp32"):
        distributed.fit(scratch("causal"), replace(given, learning_rate=1e30), 2)


def test_whoever_failed_first_is_named(tmp_path: Path) -> None:
    def say(rank: int, time: float, kind: str, said: str, bereft: bool = False, ours: bool = False) -> None:
        record = {"rank": rank, "time": time, "kind": kind, "said": said, "bereft": bereft, "ours": ours}
        (tmp_path / f"error-{rank}.json").write_text(json.dumps(record))

    assert str(jobs.failure(tmp_path, 3, "no word")) == "no word"
    say(0, 1.0, "RuntimeError", "gloo: connection closed by peer", bereft=True)
    assert str(jobs.failure(tmp_path, 3, "no word")) == "no word"
    say(1, 2.0, "ZeroDivisionError", "a slip\nin the code")
    assert not jobs.is_refused(tmp_path)
    assert "process 2 of the 3 that train together ended with ZeroDivisionError: in the code;" in str(
        jobs.failure(tmp_path, 3, "no word")
    )
    say(2, 3.0, "StoreError", "the disk is full: free some", ours=True)
    assert jobs.is_refused(tmp_path)
    assert repr(jobs.failure(tmp_path, 3, "")) == "StoreError('the disk is full: free some')"


# ---------------------------------------------------------------- who is killed

LONG = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training_devices import go
from tiny import spec
from understudy.errors import TrainingError
try:
    go(Path({folder!r}), spec(100_000, devices=2, checkpoints=0), lambda *heard: print("heard", flush=True))
except TrainingError as error:
    print("sentence:", error, flush=True)
"""


@pytest.fixture
def long(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A training in two processes that has begun and would last for long."""
    code = LONG.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert running.stdout
    try:
        assert running.stdout.readline() == "heard\n"
        yield running
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def is_alive(process: psutil.Process) -> bool:
    """One that nobody has buried yet is not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ranks(parent: int) -> list[psutil.Process]:
    """The processes that train, the first of them first."""
    found = [each for each in psutil.Process(parent).children(recursive=True) if "RANK" in each.environ()]
    trained = [each for each in found if "understudy.training.distributed" in " ".join(each.cmdline())]
    return sorted(trained, key=lambda each: int(each.environ()["RANK"]))


@pytest.mark.slow
def test_a_killed_process_is_one_sentence_that_names_it(long: subprocess.Popen[str]) -> None:
    ranks(long.pid)[1].kill()
    said = [line for line in long.stdout or [] if line != "heard\n"]
    assert said[0].startswith(
        "sentence: process 2 of the 2 that train together was killed by signal 9 (out of memory?): run"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_all_processes_end_with_the_one_that_started_them(
    long: subprocess.Popen[str], number: signal.Signals
) -> None:
    children = psutil.Process(long.pid).children(recursive=True)
    assert len(ranks(long.pid)) == 2
    long.send_signal(number)
    end = time.monotonic() + 20
    while left := [child for child in children if is_alive(child)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


# ---------------------------------------------------------------- going on


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 1), (1, 2)])
def test_a_training_goes_on_with_any_number_of_processes(tmp_path: Path, before: int, after: int) -> None:
    """Cut off after 12 of 20 steps, as if killed there: the later checkpoints are taken away."""
    settings = spec(20, checkpoints=4, devices=2)
    whole = lesson(tmp_path / "whole", "causal", UNEVEN, spec(20, checkpoints=4))
    alone(whole)
    cut = lesson(tmp_path / "cut", "causal", UNEVEN, settings)
    run(cut, before)
    kept = tmp_path / "cut" / "checkpoints"
    newest = max(kept.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(newest)
    again = lesson(tmp_path / "cut", "causal", UNEVEN, settings)
    told: list[str] = []
    run(replace(again, progress=lambda _, detail: told.append(detail)), after)
    assert again.journal.losses == pytest.approx(whole.journal.losses, abs=1e-5)
    for mine, theirs in zip(whole.live.model.parameters(), again.live.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)


def run(given: Lesson, processes: int) -> None:
    if processes == 1:
        alone(given)
    else:
        distributed.fit(scratch("causal"), given, processes)


def test_a_finished_job_is_taken_as_it_is(tmp_path: Path) -> None:
    """Such as one that was started by hand."""
    given = lesson(tmp_path, "causal", UNEVEN, spec(3))
    job = jobs.write(scratch("causal"), given, tmp_path)
    jobs.work(job)
    again = lesson(tmp_path, "causal", UNEVEN, spec(3))
    loss, many = distributed.fit(scratch("causal"), again, 2)
    assert many == 1
    other = lesson(tmp_path / "other", "causal", UNEVEN, spec(3))
    assert loss == alone(other)
    for mine, theirs in zip(again.live.model.parameters(), other.live.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not job.exists()


@pytest.mark.slow
def test_a_job_that_is_started_by_hand(tmp_path: Path) -> None:
    """As docs/training.md says."""
    given = lesson(tmp_path, "causal", UNEVEN, spec(3, devices=2))
    job = jobs.write(scratch("causal"), given, tmp_path)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, "-m", "understudy.training.distributed", str(job)], check=True)
    result = json.loads((job / "result.json").read_text(encoding="utf-8"))
    assert (result["processes"], result["sharded"]) == (2, False)
    assert distributed.fit(scratch("causal"), given, 2) == (result["loss"], 2)


def test_a_finished_job_of_another_training_is_written_anew(tmp_path: Path) -> None:
    given = lesson(tmp_path, "causal", UNEVEN, spec(3))
    job = jobs.write(scratch("causal"), given, tmp_path)
    jobs.work(job)
    assert jobs.is_finished(job)
    jobs.write(scratch("causal"), replace(given, seed=1), tmp_path)
    assert not jobs.is_finished(job)
