"""A run that is killed at any moment and started again ends as if nothing had happened, and pays once.

One story, told once: a run is killed while it annotates, interrupted and killed while it trains, killed while
it predicts, and then left alone. The tests look at what was found at each of these moments and in the end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from loopback import Loopback, Reply, well

QUESTIONS = 40
CONCURRENCY = 2

RECIPE = """\
name: killed
task: arithmetic
data: {{train: {questions}, dev: 10, test: 80}}
teacher: {{name: openai, model: loopback, base_url: "{url}", concurrency: {concurrency}}}
prompt: {{style: bare}}
sampling: {{n: 1, temperature: 0}}
curate: {{right_answer: false}}
students:
  - {{name: causal, config: tiny}}
methods: [answer_only, two_stage]
train: {{budget: {{unit: steps, amount: 60}}, learning_rate: 2e-3, batch_tokens: 1024, precision: fp32}}
evaluate: {{splits: [test, ood], max_new_tokens: 16}}
workers: 2
"""

Row = tuple[Any, ...]


@dataclass
class Found:
    """What an interruption met and what it left."""

    processes_before: int
    processes_after: int
    exit_code: int
    errors: str
    marks: dict[str, int]
    """Finished steps: the folder and when its mark was written."""
    unfinished: set[str]
    ledger: set[Row]
    asked: Counter[str]


@dataclass
class Story:
    folder: Path
    server: Loopback
    found: dict[str, Found] = field(default_factory=dict)
    undisturbed: Path = Path()

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def errors(self) -> Path:
        """What the command that was started last has written to its standard error."""
        return self.folder / "errors.txt"

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        """The command in a process group of its own; a file hears it, for a pipe would wait for orphans."""
        # Tests that run in the background may ignore Ctrl-C, and children inherit that.
        heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{heed}; from understudy.cli import main; main()"
        with self.errors.open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, "-c", code, "run", "killed.yaml", "--out", str(out)],
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def finish(self, out: Path) -> None:
        process = self.start(out)
        assert process.wait(timeout=120) == 0, self.errors.read_text(encoding="utf-8")

    def interrupt(self, name: str, moment: Callable[[float], bool], send: signal.Signals) -> None:
        """Run until `moment`, a little longer, then send the signal: a kill to the parent alone."""
        started = time.time()
        process = self.start(self.out)
        try:
            while not moment(started):
                assert process.poll() is None, f"{name}: the run ended before its moment came"
                assert time.time() - started < 120, f"{name}: the moment never came"
                time.sleep(0.005)
            time.sleep(random.uniform(0, 0.05))
            before = alive(process.pid)
            if send is signal.SIGKILL:
                process.kill()
            else:
                os.killpg(process.pid, send)
            process.wait(timeout=60)
            after = wait_until_dead(process.pid)
        finally:
            if alive(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
        self.found[name] = Found(
            processes_before=before,
            processes_after=after,
            exit_code=process.returncode,
            errors=self.errors.read_text(encoding="utf-8"),
            marks=marks(self.out),
            unfinished={path.name for path in self.out.glob("steps/*")} - marks(self.out).keys(),
            ledger=ledger(self.out),
            asked=self.asked(),
        )

    def asked(self) -> Counter[str]:
        return Counter(str(body["messages"][-1]["content"]) for body in list(self.server.bodies))

    # The moments.

    def has_asked_some(self, started: float) -> bool:
        return sum(self.asked().values()) >= QUESTIONS // 4

    def trains(self, started: float) -> bool:
        return any(not (folder / "step.json").exists() for folder in self.out.glob("steps/train-*"))

    def trains_on_from_a_checkpoint(self, started: float) -> bool:
        written = self.out.glob("steps/train-*/checkpoints/*/complete")
        return any(modified(path) >= started for path in written)

    def predicts(self, started: float) -> bool:
        return any(not (folder / "step.json").exists() for folder in self.out.glob("steps/predict-*"))


def alive(group: int) -> int:
    """How many processes of a group are alive; a dead one that nobody has buried is not."""
    count = 0
    for process in psutil.process_iter(["pid", "status"]):
        try:
            count += os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE
        except ProcessLookupError:
            continue
    return count


def wait_until_dead(group: int, seconds: float = 10) -> int:
    end = time.monotonic() + seconds
    while alive(group) and time.monotonic() < end:
        time.sleep(0.05)
    return alive(group)


def modified(path: Path) -> float:
    """When a file was written; never, if it has gone meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0


def marks(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("steps/*/step.json")}


def ledger(out: Path) -> set[Row]:
    """Every completion with its prompt and the moment it was stored."""
    database = sqlite3.connect(out / "ledger.sqlite")
    try:
        query = "SELECT key, endpoint, messages, text, created FROM completions JOIN prompts ON prompt = hash"
        return set(database.execute(query))
    finally:
        database.close()


def slowly(body: dict[str, Any]) -> Reply:
    time.sleep(0.05)
    return well(body)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("killed")
    with Loopback(otherwise=slowly) as server:
        text = RECIPE.format(url=server.url, questions=QUESTIONS, concurrency=CONCURRENCY)
        (folder / "killed.yaml").write_text(text, encoding="utf-8")
        story = Story(folder, server)
        story.interrupt("annotate", story.has_asked_some, signal.SIGKILL)
        story.interrupt("train, Ctrl-C", story.trains, signal.SIGINT)
        story.interrupt("train", story.trains_on_from_a_checkpoint, signal.SIGKILL)
        story.interrupt("predict", story.predicts, signal.SIGKILL)
        story.finish(story.out)
        server.bodies, asked = [], server.bodies
        story.undisturbed = folder / "undisturbed"
        story.finish(story.undisturbed)
        server.bodies = asked
        yield story


KILLED = ("annotate", "train", "predict")
MOMENTS = ("annotate", "train, Ctrl-C", "train", "predict")


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_run_was_cut_in_the_middle_of_the_step(story: Story, moment: str) -> None:
    found = story.found[moment]
    assert moment.partition(",")[0] in {folder.partition("-")[0] for folder in found.unfinished}
    assert found.processes_before >= 2, "the command and at least one worker"


@pytest.mark.parametrize("moment", MOMENTS)
def test_workers_die_with_their_parent(story: Story, moment: str) -> None:
    assert story.found[moment].processes_after == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_completion_of_the_ledger_was_asked_for_again(story: Story, moment: str) -> None:
    found, asked = story.found[moment], story.asked()
    bought = {json.loads(row[2])[-1][1] for row in found.ledger if row[1].startswith("http")}
    assert bought
    assert {prompt: asked[prompt] for prompt in bought} == {prompt: found.asked[prompt] for prompt in bought}
    assert found.ledger <= ledger(story.out), "what was in the ledger stays as it was"


def test_at_most_what_was_in_flight_was_asked_for_twice(story: Story) -> None:
    at_kill = story.found["annotate"]
    assert 0 < len(at_kill.ledger) < QUESTIONS
    assert len(story.asked()) == QUESTIONS
    # In flight, or landed and on the way to the disk: the client lets neither be more than its concurrency.
    assert story.asked().total() <= QUESTIONS + 2 * CONCURRENCY
    assert story.found["predict"].asked.total() == story.asked().total()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_finished_step_was_not_done_again(story: Story, moment: str) -> None:
    end = marks(story.out)
    found = story.found[moment].marks
    assert {folder: end[folder] for folder in found} == found


def test_the_end_is_that_of_a_run_that_nobody_disturbed(story: Story) -> None:
    ends, expected = (
        json.loads((out / "report.json").read_text(encoding="utf-8"))["rows"]
        for out in (story.out, story.undisturbed)
    )
    assert len(expected) == 4
    for row, other in zip(ends, expected, strict=True):
        for key in ("method", "split", "n", "correct", "accuracy", "interval", "no_answer"):
            assert row[key] == other[key]
        # A training that went on from a checkpoint went on as if it had not stopped.
        assert row["training"]["steps"] == other["training"]["steps"]
        assert row["training"]["final_loss"] == pytest.approx(other["training"]["final_loss"], abs=1e-3)
    for name in ("completions", "rationales"):
        (made,) = story.out.glob(f"steps/*/{name}.jsonl")
        undisturbed = story.undisturbed / made.relative_to(story.out)
        assert made.read_text(encoding="utf-8") == undisturbed.read_text(encoding="utf-8")


def test_an_interrupt_is_one_sentence(story: Story) -> None:
    found = story.found["train, Ctrl-C"]
    assert found.exit_code == 130
    assert "interrupted; run the same command again to continue" in found.errors.splitlines()
    assert "KeyboardInterrupt" not in found.errors


@pytest.mark.parametrize("delay", [0.01, 0.02, 0.03, 0.05])
def test_an_interrupt_while_workers_are_starting_is_one_sentence_too(story: Story, delay: float) -> None:
    """The terminal sends Ctrl-C to every process, and a worker that is still importing has no say in it."""
    process = story.start(story.folder / "early")
    try:
        while not list(story.folder.glob("early/steps/data-*")):
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
        assert wait_until_dead(process.pid) == 0
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(story.folder / "early")
    assert process.returncode == 130
    errors = story.errors.read_text(encoding="utf-8")
    assert "interrupted; run the same command again to continue" in errors.splitlines()
    assert "KeyboardInterrupt" not in errors, "a worker complained"


@pytest.mark.parametrize("moment", KILLED)
def test_a_kill_is_a_kill(story: Story, moment: str) -> None:
    assert story.found[moment].exit_code == -signal.SIGKILL
