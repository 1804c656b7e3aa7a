"""Evaluation on many machines, on a Ray cluster of this one: the bytes of one process, and nothing lost.

What needs no cluster runs everywhere; the rest is skipped where Ray is not installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pydantic import ValidationError

from outside.counting import noted
from small import recipe
from test_evaluate_windows import VOTE, settings, sums, two_students
from tiny import quiet
from understudy.engines._ray_batches import Batches
from understudy.engines._ray_pool import LOSSES, Back, Hand, Job, Pool
from understudy.engines.ray import RaySpec
from understudy.engines.ray_students import Copy, Students
from understudy.errors import TeacherError, TrainingError
from understudy.evaluate import EvaluateSpec
from understudy.examining import ask_students
from understudy.generators.ready import ENGINES, kept
from understudy.generators.trusted import Measured, trusted
from understudy.graph import Graph
from understudy.roles import Identity
from understudy.students._completer import StudentCompleter
from understudy.students.causal import Causal
from understudy.types import Completion, Message, Question, Request, Sampling
from understudy.work import Work

GREEDY = Sampling(max_tokens=6)
Test = Callable[..., None]
TWO = {"actors": 2, "cpus_per_actor": 1}


def on_a_cluster(test: Test) -> Test:
    """Skipped where Ray is not installed, and slow, for a cluster and its workers take seconds to start."""
    absent = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
    marked: Test = pytest.mark.slow(absent(test))
    return marked


@pytest.fixture(scope="module")
def needs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    torch.set_num_threads(1)
    return two_students(tmp_path_factory.mktemp("needs"))


# ---------------------------------------------------------------- the recipe


def test_machines_are_how_and_enter_no_hash() -> None:
    here, there = Graph(recipe()), Graph(recipe("evaluate.ray={actors: 3}"))
    assert [step.hash for step in here.steps] == [step.hash for step in there.steps]
    predicted = [arm.predicted for arm in there.arms]
    assert {step.how["machines"]["actors"] for step in predicted} == {3}
    assert all(step.alone for step in predicted), "actors share the cores of one machine, or a cluster"
    assert not any("machines" in arm.predicted.how for arm in here.arms)


def test_a_batch_of_requests_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"evaluate\.batch_tokens says how large batches are"):
        EvaluateSpec(ray=RaySpec(batch=7))


def test_without_ray_there_is_a_sentence(
    needs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TeacherError, match=r"pip install 'understudy\[ray\]'$"):
        step(tmp_path, needs, "predict", TWO)


# ---------------------------------------------------------------- an actor, without a cluster


def measured(model: Path, **changes: str) -> Measured:
    named = {"engine": "transformers", "version": ENGINES["transformers"].version()}
    weights, _ = kept(model, "transformers", Path())
    return Measured(**{**named, "compute_type": "float32", "device": "cpu", "weights": weights, **changes})


def sent(needs: Mapping[str, Path], batch_tokens: int = 4096) -> Students:
    copies = {}
    for stage in ("rationale", "answer"):
        model = needs[f"stage {stage}"] / "model"
        entry = {"name": "causal", "config": "tiny"}
        copies[stage] = Copy(student=entry, model=model, cache=Path("none"), measured=measured(model))
    return Students(copies=copies, batch_tokens=batch_tokens)


def test_an_actor_answers_as_the_student_of_the_stage(needs: Mapping[str, Path]) -> None:
    far = sent(needs).build(None)
    for stage in ("rationale", "answer"):
        live = Causal(config="tiny").load(needs[f"stage {stage}"] / "model")
        bare = [Request(question, (Message("user", question.text),)) for question in sums(5)]
        named = [Request(r.question, (Message("system", stage), *r.messages)) for r in bare]
        near = StudentCompleter(live, Identity("local", "near"), 4096)
        assert list(far.complete(named, GREEDY)) == list(near.complete(bare, GREEDY))
    assert list(far.complete([], GREEDY)) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": "0"}, "install the same version everywhere"),
        ({"weights": "0"}, "give --out a folder that all of them see"),
        ({"compute_type": "bfloat16", "device": "cuda"}, r"set evaluate\.ray\.gpus_per_actor"),
    ],
)
def test_what_was_not_measured_is_refused(
    needs: Mapping[str, Path], changes: dict[str, str], sentence: str
) -> None:
    if torch.cuda.is_available() and "device" in changes:
        changes = {**changes, "device": "cpu"}
    model = needs["stage answer"] / "model"
    with pytest.raises(TrainingError, match=sentence):
        trusted(Causal(config="tiny").load(model), model, measured(model, **changes), Path("none"))


def test_the_reference_may_run_on_any_device(needs: Mapping[str, Path]) -> None:
    model = needs["stage answer"] / "model"
    live = Causal(config="tiny").load(model)
    assert trusted(live, model, measured(model, device="tpu"), Path("none")) is live


# ---------------------------------------------------------------- batches, without a cluster


class Scripted:
    """A pool of one worker that comes back as a script says: done, half, lost, nothing, or with an error."""

    def __init__(self, *script: str | Exception) -> None:
        self.script = list(script)
        self.hand = Hand(None, None, None, ready=True)
        self.given: list[list[int]] = []

    def muster(self) -> None:
        """There is one."""

    def drop(self) -> None:
        """Nobody works on anything."""

    def idle(self) -> list[Hand]:
        return [self.hand] if self.hand.last is None else []

    def held(self) -> int:
        return len(self.hand.held)

    def work(self, hand: Hand, sampling: Sampling, fresh: Sequence[Job]) -> None:
        del sampling
        hand.held.update((job.position, job) for job in fresh)
        hand.last = "working"
        self.given.append([job.position for job in fresh])

    def returned(self) -> list[Back]:
        self.hand.last = None
        happens = self.script.pop(0) if self.script else "done"
        hand = self.hand
        if isinstance(happens, Exception):
            return [Back(hand, error=happens)]
        if happens == "lost":
            self.hand = Hand(None, None, None, ready=True)
            return [Back(hand, lost=True)]
        held = [] if happens == "nothing" else sorted(hand.held)
        some = held[:1] if happens == "half" else held
        return [Back(hand, [(at, Completion(f"q{at}", 0, "text", "stop")) for at in some])]


def through(pool: Scripted) -> list[list[int]]:
    """Two batches of two, as they land."""
    jobs = [Job(at, Request(Question(f"q{at}", ""), ()), {0}) for at in range(4)]
    run = Batches(cast("Pool", pool), [jobs[:2], jobs[2:]], GREEDY).run()
    return [[at for at, _ in landed] for landed in run]


def test_whole_batches_go_out_and_come_back() -> None:
    pool = Scripted()
    assert through(pool) == [[0, 1], [2, 3]]
    assert pool.given == [[0, 1], [2, 3]]


def test_what_a_lost_worker_held_is_written_again_as_it_was() -> None:
    pool = Scripted("lost", "lost")
    assert through(pool) == [[0, 1], [2, 3]]
    assert pool.given == [[0, 1], [0, 1], [0, 1], [2, 3]]


def test_a_batch_that_ends_its_workers_ends_the_step() -> None:
    with pytest.raises(TrainingError, match=rf"{LOSSES} actors were lost while they wrote one batch of 2"):
        through(Scripted("lost", "lost", "lost"))


def test_the_rest_of_a_batch_is_waited_for() -> None:
    pool = Scripted("half")
    assert through(pool) == [[0], [1], [2, 3]]
    assert pool.given == [[0, 1], [], [2, 3]]


def test_an_error_ends_the_step_with_its_sentence() -> None:
    pool = Scripted(TrainingError("no such model; give another"))
    with pytest.raises(TrainingError, match=r"^no such model; give another$"):
        through(pool)
    assert pool.given == [[0, 1]], "nothing more is handed out"


def test_a_worker_that_says_nothing_is_told_on() -> None:
    with pytest.raises(TrainingError, match="without writing all"):
        through(Scripted("nothing"))


# ---------------------------------------------------------------- a cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Room for four actors, which find the students of these tests."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=100_000_000,
            log_to_driver=False,
        )
    yield ray
    ray.shutdown()


def step(
    root: Path, needs: Mapping[str, Path], name: str, machines: Mapping[str, Any] | None, **changes: Any
) -> bytes:
    """The step with a ledger and notes of its own; what it predicts."""
    own = root / name
    (own / "predict").mkdir(parents=True)
    how: dict[str, Any] = {"engine": "transformers", **({"machines": machines} if machines else {})}
    work = Work(own / "predict", needs, own / "ledger.sqlite", how, quiet)
    asked = settings(own, **changes)
    asked["student"] |= changes.get("student", {})
    ask_students(asked, work)
    return (own / "predict" / "predictions.jsonl").read_bytes()


def texts(root: Path, name: str) -> list[list[str]]:
    return sorted(row[:3] for row in noted(root / name / "written.jsonl"))


@on_a_cluster
@pytest.mark.parametrize("changes", [{}, VOTE], ids=["greedy", "vote"])
def test_many_actors_write_the_bytes_of_one_process(
    cluster: Any, needs: Mapping[str, Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    del cluster
    here = step(tmp_path, needs, "here", None, **changes)
    there = step(tmp_path, needs, "there", TWO, **changes)
    assert there == here
    assert texts(tmp_path, "there") == texts(tmp_path, "here"), "and each text once"
    writers = {row[3] for row in noted(tmp_path / "there" / "written.jsonl")}
    assert len(writers) == 2
    assert os.getpid() not in writers


@on_a_cluster
def test_a_lost_actor_costs_the_batch_that_it_held(
    cluster: Any, needs: Mapping[str, Path], tmp_path: Path
) -> None:
    """It is killed half-way, with a batch written that nobody got."""
    del cluster
    here = step(tmp_path, needs, "here", None)
    notes = tmp_path / "there" / "written.jsonl"
    dying = {"name": "outside.counting", "notes": str(notes), "dies_at": 40}
    assert step(tmp_path, needs, "there", TWO, student=dying) == here
    assert notes.with_suffix(".dead").exists()
    assert texts(tmp_path, "there") == texts(tmp_path, "here"), "nothing else was written again"
    assert len({row[3] for row in noted(notes)}) >= 2, "the one that died, and who took over"


@on_a_cluster
def test_a_killed_actor_leaves_a_ledger_from_which_one_process_goes_on(
    cluster: Any, needs: Mapping[str, Path], tmp_path: Path
) -> None:
    """What many machines have written serves one process, and the reverse."""
    del cluster
    there = step(tmp_path, needs, "there", TWO)
    work = Work(
        tmp_path / "there" / "again",
        needs,
        tmp_path / "there" / "ledger.sqlite",
        {"engine": "transformers"},
        quiet,
    )
    work.folder.mkdir()
    before = texts(tmp_path, "there")
    ask_students(settings(tmp_path / "there"), work)
    assert (work.folder / "predictions.jsonl").read_bytes() == there
    assert texts(tmp_path, "there") == before


@on_a_cluster
def test_an_actor_that_cannot_load_its_student_says_so(
    cluster: Any, needs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del cluster
    monkeypatch.setattr("understudy.examining.as_measured", lambda told, model: measured(model, version="0"))
    with pytest.raises(TrainingError, match="install the same version everywhere"):
        step(tmp_path, needs, "there", TWO)
