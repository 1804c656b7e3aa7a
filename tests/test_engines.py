"""Engines run steps: in order, side by side where that is allowed, and leave whole what was finished.

The steps here are real ones of kind "data" whose task, in a module of its own, does as it is told: workers
are processes that import it anew, so nothing could be patched into them.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from small import recipe
from understudy import store as storage
from understudy.engines import here, processes
from understudy.errors import DataError, StoreError
from understudy.events import Event, ignore
from understudy.graph import Graph
from understudy.store import Step, Store

ENGINES = {"here": here, "processes": processes}

ACTOR = '''
import errno, json, os, signal, time
from pathlib import Path

from understudy.errors import DataError
from understudy.roles import Task
from understudy.types import Question

__all__ = ["actor"]


def meet(folder):
    """Wait until two are here."""
    (folder / f"here-{os.getpid()}").touch()
    for _ in range(1000):
        if len(list(folder.glob("here-*"))) > 1:
            return
        time.sleep(0.02)
    raise RuntimeError("nobody else came")


def wait(folder):
    (folder / "waiting").touch()
    time.sleep(60)


def refuse_once_somebody_waits(folder):
    while not (folder / "waiting").exists():
        time.sleep(0.02)
    raise DataError("line 3 is bad; mend it")


def refuse(folder):
    raise DataError("line 3 is bad; mend it")


def fill(folder):
    raise OSError(errno.ENOSPC, "No space left on device")


def fill_as_a_library_says_it(folder):
    raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def slip(folder):
    raise ZeroDivisionError("a mistake in the code")


def say(folder):
    print("said aloud")


def die(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def nothing(folder):
    pass


def load(split, source):
    if split == "train":
        started = time.time()
        globals()[source.columns["do"]](Path(source.path))
        record = {
            "name": source.columns["name"],
            "started": started,
            "ended": time.time(),
            "process": os.getpid(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        }
        with (Path(source.path) / "acts.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\\n")
    return [Question(f"{split} {n}?", str(n)) for n in range(4)]


actor = Task("actor", "Actor", "number", ("train", "test"), load, (), "none", "")
'''


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("importable")
    (folder / "toys").mkdir()
    (folder / "toys" / "actor.py").write_text(ACTOR, encoding="utf-8")
    return folder


@dataclass
class Stage:
    """Where the actor acts: makes steps for it and reads what it did."""

    folder: Path

    def step(self, name: str, deed: str = "nothing", alone: bool = False, **needs: Step) -> Step:
        settings = {
            "task": "toys.actor",
            "source": {"path": str(self.folder), "columns": {"do": deed, "name": name}},
            "data": {},
            "evaluation_splits": ["test"],
            "extra_splits": [],
        }
        return Step(name, "data", settings, needs, title=f"do {name}", alone=alone)

    def acts(self) -> dict[str, dict[str, Any]]:
        lines = (self.folder / "acts.jsonl").read_text(encoding="utf-8").splitlines()
        return {record["name"]: record for record in map(json.loads, lines)}


@pytest.fixture
def stage(tmp_path: Path, toys: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.syspath_prepend(toys)
    folder = tmp_path / "stage"
    folder.mkdir()
    return Stage(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


# ---------------------------------------------------------------- both engines


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
def test_a_recipes_first_steps_run_in_order_and_tell_how_far_they_are(
    engine: ModuleType, store: Store
) -> None:
    steps = Graph(recipe()).steps[:3]
    heard: list[Event] = []
    engine.run(steps, store, heard.append, 2)
    assert [step.kind for step in steps] == ["data", "annotate", "curate"]
    assert [e.step for e in heard if e.kind == "done"] == [step.name for step in steps]
    for step in steps:
        events = [event for event in heard if event.step == step.name]
        assert (events[0].kind, events[-1].kind) == ("started", "done")
        assert {event.kind for event in events[1:-1]} <= {"progress"}
        fractions = [event.fraction for event in events]
        assert fractions == sorted(fractions)
        assert {event.title for event in events} == {step.title}
        assert store.done(step)
        record = store.outcome(step)
        assert {"result", "seconds", "started", "versions", "settings", "needs", "hash"} <= record.keys()
    progress = [event.detail for event in heard if event.step == "annotate" and event.kind == "progress"]
    assert "60 of 60 completions" in progress


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
def test_a_step_starts_when_what_it_needs_is_done(engine: ModuleType, stage: Stage, store: Store) -> None:
    first = stage.step("first", "say")
    second = stage.step("second", first=first)
    third = stage.step("third", second=second)
    engine.run([first, second, third], store, ignore, 2)
    acts = stage.acts()
    assert acts["first"]["ended"] <= acts["second"]["started"]
    assert acts["second"]["ended"] <= acts["third"]["started"]


FAILURES = {
    "a bad set-up": ("refuse", DataError, "line 3 is bad; mend it"),
    "a full disk": ("fill", StoreError, "the disk that holds .* is full: free some space"),
    "a full disk, wrapped": ("fill_as_a_library_says_it", StoreError, "the disk that holds .* is full"),
    "a mistake of ours": ("slip", ZeroDivisionError, "a mistake in the code"),
}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
@pytest.mark.parametrize(("deed", "kind", "sentence"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_arrives_as_it_was_and_what_was_done_is_kept(
    engine: ModuleType, deed: str, kind: type[Exception], sentence: str, stage: Stage, store: Store
) -> None:
    first = stage.step("first")
    failing = stage.step("failing", deed, first=first)
    after = stage.step("after", failing=failing)
    with pytest.raises(kind, match=sentence):
        engine.run([first, failing, after], store, ignore, 1)
    assert [store.done(step) for step in (first, failing, after)] == [True, False, False]
    assert stage.acts().keys() == {"first"}
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_done_mark_that_cannot_be_written_is_one_sentence(
    number: int, stage: Stage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage, "write_text", refuse)
    step = stage.step("only")
    with pytest.raises(StoreError, match="is full" if number == errno.ENOSPC else "cannot write into"):
        here.run([step], store, ignore, 1)
    assert not store.done(step)


def test_a_folder_that_cannot_be_made_is_one_sentence(stage: Stage, store: Store) -> None:
    step = stage.step("only")
    store.folder(step).write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot create the folder"):
        here.run([step], store, ignore, 1)


# ---------------------------------------------------------------- worker processes


def test_steps_that_need_nothing_of_each_other_run_side_by_side(stage: Stage, store: Store) -> None:
    """Each waits for the other, so one after the other would never end well."""
    processes.run([stage.step("one", "meet"), stage.step("other", "meet")], store, ignore, 2)
    acts = stage.acts()
    assert acts["one"]["process"] != acts["other"]["process"]
    assert os.getpid() not in {act["process"] for act in acts.values()}
    assert acts["one"]["threads"] == str(max(1, (os.cpu_count() or 1) // 2))
    assert multiprocessing.active_children() == []


def test_a_step_that_wants_to_be_alone_is_alone_and_has_every_core(stage: Stage, store: Store) -> None:
    alone = stage.step("alone", alone=True)
    steps = [alone, stage.step("one", "meet"), stage.step("other", "meet"), stage.step("more")]
    heard: list[Event] = []
    processes.run(steps, store, heard.append, 2)
    at_work: set[str] = set()
    for event in heard:
        if event.kind == "started":
            at_work.add(event.step)
            assert "alone" not in at_work or at_work == {"alone"}
            assert len(at_work) <= 2
        elif event.kind == "done":
            at_work.remove(event.step)
    assert at_work == set()
    acts = stage.acts()
    assert acts["alone"]["threads"] == str(os.cpu_count() or 1)
    others = [act for name, act in acts.items() if name != "alone"]
    assert all(
        act["ended"] <= acts["alone"]["started"] or acts["alone"]["ended"] <= act["started"] for act in others
    )


def test_a_failure_ends_what_runs_beside_it_at_once(stage: Stage, store: Store) -> None:
    steps = [stage.step("long", "wait"), stage.step("bad", "refuse_once_somebody_waits")]
    with pytest.raises(DataError, match="line 3"):
        processes.run(steps, store, ignore, 2)
    assert [store.done(step) for step in steps] == [False, False]
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_one_sentence_and_the_next_run_continues(stage: Stage, store: Store) -> None:
    first = stage.step("first")
    killed = stage.step("killed", "die", first=first)
    with pytest.raises(StoreError, match=r"a worker process was killed \(out of memory\?\): run the same"):
        processes.run([first, killed], store, ignore, 1)
    assert [store.done(step) for step in (first, killed)] == [True, False]


def test_what_a_step_prints_goes_to_its_log(
    stage: Stage, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = stage.step("loud", "say")
    processes.run([loud], store, ignore, 1)
    assert (store.folder(loud) / "log.txt").read_text(encoding="utf-8") == "said aloud\n"
    assert capfd.readouterr() == ("", "")


def test_a_listener_that_is_interrupted_leaves_no_worker(stage: Stage, store: Store) -> None:
    def interrupt(event: Event) -> None:
        if event.step == "second" and event.kind == "started":
            raise KeyboardInterrupt

    first = stage.step("first")
    second = stage.step("second", "wait", first=first)
    with pytest.raises(KeyboardInterrupt):
        processes.run([first, second], store, interrupt, 1)
    assert store.done(first)
    assert not store.done(second)
    assert multiprocessing.active_children() == []


Run = Callable[[list[Step], Store, Callable[[Event], None], int], None]


def test_the_engines_leave_the_same_folders(stage: Stage, tmp_path: Path) -> None:
    steps = Graph(recipe()).steps[:3]
    contents = []
    for name, engine in ENGINES.items():
        store = Store(tmp_path / name)
        run: Run = engine.run
        run(steps, store, ignore, 2)
        contents.append(
            {
                path.relative_to(store.root): path.read_text(encoding="utf-8")
                for path in store.root.rglob("*.jsonl")
            }
        )
    assert len(contents[0]) > 3
    assert contents[0] == contents[1]
