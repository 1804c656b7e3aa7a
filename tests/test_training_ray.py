"""One training on a Ray cluster of this machine: the same as in one process, also when a worker is lost.

What needs no cluster runs everywhere; the rest is skipped where Ray is not installed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from test_training_devices import UNEVEN, _one_thread, alone, lesson
from test_training_stopping import questions
from test_training_stopping_shared import assert_near, early, go
from tiny import scratch, spec
from understudy.engines import ray_training
from understudy.errors import TrainingError
from understudy.methods.answer_only import AnswerOnly
from understudy.roles import ClusterSpec, Lesson
from understudy.training.accuracy import accuracy_on

__all__ = ["_one_thread"]
"""A fixture of the whole module."""

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
"""Ray's own, of parts of it that Ray Train uses."""

TOLERANCE = 1e-5
"""Of a loss; of a weight ten times that. Two workers add floats in another order than one."""


def on_a_cluster(test: Callable[..., None]) -> Callable[..., None]:
    """Skipped where Ray is not installed, and slow, for a cluster and its workers take seconds to start."""
    absent = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
    slow: Callable[..., None] = pytest.mark.slow(absent(test))
    return slow


def test_without_ray_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    cluster = ClusterSpec()
    given = lesson(tmp_path, "causal", UNEVEN, spec(2, ray=cluster))
    with pytest.raises(TrainingError, match=r"pip install 'understudy\[ray\]'$"):
        ray_training.fit(scratch("causal"), given, cluster)


def test_weights_are_not_shared_between_processors(tmp_path: Path) -> None:
    cluster = ClusterSpec()
    given = lesson(tmp_path, "causal", UNEVEN, spec(2, ray=cluster, strategy="fsdp"))
    with pytest.raises(TrainingError, match="fsdp needs GPUs"):
        ray_training.fit(scratch("causal"), given, cluster)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ray.init(num_cpus=3, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    yield
    ray.shutdown()


def shared(folder: Path, steps: int, **fields: Any) -> tuple[Lesson, ClusterSpec]:
    wanted = ClusterSpec(workers=2, cpus=1, **fields)
    return lesson(folder, "causal", UNEVEN, spec(steps, checkpoints=steps // 10, ray=wanted)), wanted


@on_a_cluster
def test_a_cluster_without_room_says_so(cluster: None, tmp_path: Path) -> None:
    wanted = ClusterSpec(workers=4, cpus=1)
    given = lesson(tmp_path, "causal", UNEVEN, spec(2, ray=wanted))
    with pytest.raises(TrainingError, match="4 workers with 1 CPUs each want more than the 3 of the cluster"):
        ray_training.fit(scratch("causal"), given, wanted)


@on_a_cluster
def test_a_lost_worker_changes_nothing(cluster: None, tmp_path: Path) -> None:
    """A worker is killed outright half-way; the losses of all steps and the weights are those of one process
    that nobody disturbed."""
    steps = 120
    whole = lesson(tmp_path / "whole", "causal", UNEVEN, spec(steps, checkpoints=steps // 10))
    undisturbed = alone(whole)
    storage = tmp_path / "storage"
    given, wanted = shared(tmp_path / "shared", steps, storage=storage)
    with one_killed(storage / "shared" / "checkpoints", 20):
        loss, many = ray_training.fit(scratch("causal"), given, wanted)
    assert many == 2
    assert loss == pytest.approx(undisturbed, abs=TOLERANCE)
    assert given.journal.losses == pytest.approx(whole.journal.losses, abs=TOLERANCE)
    for mine, theirs in zip(given.live.model.parameters(), whole.live.model.parameters(), strict=True):
        assert float((mine - theirs).detach().abs().max()) < 10 * TOLERANCE
    assert not any(storage.iterdir()), "what was stored for the training goes with it"


@on_a_cluster
@pytest.mark.parametrize("metric", ["dev_loss", "dev_accuracy"])
def test_a_training_that_loses_a_worker_stops_where_it_would_have(
    cluster: None, tmp_path: Path, metric: str
) -> None:
    """What was best on dev comes out, and the result says when and why it ended, as in one process."""
    asked = accuracy_on(questions(), AnswerOnly(), "answer", "number", 12, 99)
    rule: dict[str, Any] = {"metric": metric}
    one, two = tmp_path / "one", tmp_path / "two"
    storage = tmp_path / "storage"
    wanted = ClusterSpec(workers=2, cpus=1, storage=storage)
    plain = go(one, early(stopping=rule), accuracy=asked)
    with one_killed(storage / "two" / "checkpoints", 23):
        result = go(two, early(stopping=rule, ray=wanted), accuracy=asked)
    assert result["processes"] == 2
    assert_near(result, plain)
    assert plain["stopping"]["stopped"]
    assert not any(storage.iterdir())
    assert [path.name for path in two.iterdir()] == ["model"]


@contextmanager
def one_killed(kept: Path, step: int) -> Iterator[None]:
    """Inside the block one of two workers is killed outright once there is a checkpoint of so late a step."""
    killed = list[int]()

    def kill() -> None:
        end = time.monotonic() + 300
        while not any(number(path) >= step for path in kept.glob("checkpoint-*")) and time.monotonic() < end:
            time.sleep(0.01)
        at_work = workers()
        if len(at_work) == 2 and not (kept.parent / "job" / "result.json").exists():
            at_work[1].send_signal(signal.SIGKILL)
            killed.append(at_work[1].pid)

    killer = Thread(target=kill)
    killer.start()
    yield
    killer.join()
    assert killed, "the test must have killed a worker before the end"


def number(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


def workers() -> list[psutil.Process]:
    """Processes that train for Ray, which names them so."""
    found = []
    for each in psutil.process_iter():
        try:
            if "ray::" in (name := " ".join(each.cmdline())) and "TrainWorker" in name:
                found.append(each)
        except psutil.Error:
            continue
    return found


@on_a_cluster
def test_what_a_worker_raises_is_the_sentence_and_is_not_tried_again(cluster: None, tmp_path: Path) -> None:
    given, wanted = shared(tmp_path, 20)
    with pytest.raises(TrainingError, match="lower it, or set precision fp32"):
        ray_training.fit(scratch("causal"), replace(given, learning_rate=1e30), wanted)
