"""Exact resume: a training that is killed anywhere ends as one that nothing interrupted, to the last bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tiny import GROUPS, TEXTS, quiet, scratch, spec
from understudy.roles import TrainSpec
from understudy.students.causal import LiveCausal
from understudy.training import Progress, train
from understudy.training import checkpoints as stored
from understudy.training.checkpoints import COMPLETE, STATE, WRITING
from understudy.training.collate import Collator

NAMES = ("causal", "seq2seq")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Killed(BaseException):
    """Stands for the end of the process."""


def go(folder: Path, settings: TrainSpec, name: str = "causal", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"learning_rate": 3e-3, "seed": 0, "progress": quiet, **more}
    return train(scratch(name), GROUPS, settings, folder=folder, **given)


def killed_at(step: int, steps: int = 12) -> Progress:
    def progress(fraction: float, detail: str) -> None:
        if round(fraction * steps) >= step:
            raise Killed

    return progress


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told about twice a second; here every step is."""
    from understudy.training.watching import Watch

    told = Watch.on_step_end

    def always(self: Watch, *given: Any, **named: Any) -> None:
        self.told = -1.0
        told(self, *given, **named)

    monkeypatch.setattr(Watch, "on_step_end", always)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "model" / "model.safetensors")
    return found


def equal(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def interrupted(folder: Path, settings: TrainSpec, step: int = 6, **more: Any) -> Path:
    """A training of twelve steps that was killed at one; returns the folder of its checkpoints."""
    with pytest.raises(Killed):
        go(folder, settings, progress=killed_at(step), **more)
    return folder / "checkpoints"


TWELVE = spec(12, checkpoints=2, schedule="cosine", batch_tokens=16)
"""A group to a batch, so that losses differ. Checkpoints are due after steps 4 and 8, and at the end."""


# ---------------------------------------------------------------- what is carried on


def kept_losses(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The losses of every training that ends from now on."""
    from understudy.training.journal import Journal

    found: list[list[float]] = []
    final = Journal.final_loss

    def noted(self: Journal, steps: int) -> float:
        found.append(list(self.losses))
        return final(self, steps)

    monkeypatch.setattr(Journal, "final_loss", noted)
    return found


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.slow)])
def test_the_log_of_losses_has_every_step_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    settings = TWELVE.model_copy(update={"optimizer": optimizer})
    losses = kept_losses(monkeypatch)
    whole = go(tmp_path / "whole", settings)
    interrupted(tmp_path / "cut", settings, 7)
    cut = go(tmp_path / "cut", settings)
    assert len(losses[0]) == 12
    assert len(set(losses[0])) == 12, "the toy must tell the steps apart"
    assert losses[1] == losses[0]
    assert cut["final_loss"] == whole["final_loss"] == sum(losses[0][10:]) / 2
    assert equal(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(("name", "key"), [("seq2seq", "dropout_rate"), ("causal", "attention_dropout")])
def test_dropout_goes_on_with_its_own_chance(tmp_path: Path, name: str, key: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    setattr(live.model.config, key, 0.1)
    live.save(tmp_path / "start")
    given: dict[str, Any] = {"name": name, "start": tmp_path / "start"}
    go(tmp_path / "whole", TWELVE, **given)
    interrupted(tmp_path / "cut", TWELVE, 6, **given)
    torch.rand(5)
    go(tmp_path / "cut", TWELVE, **given)
    assert equal(tmp_path / "whole", tmp_path / "cut")
    go(tmp_path / "dry", TWELVE, name)
    assert not equal(tmp_path / "whole", tmp_path / "dry"), "the toy must drop something"


def test_the_log_of_the_trainer_goes_on_in_the_middle_of_a_line(tmp_path: Path) -> None:
    """With 120 steps, a line is the mean of two; the checkpoint after step 41 falls between."""
    settings = spec(120, checkpoints=2, batch_tokens=16)

    def history(folder: Path) -> Any:
        state = json.loads((folder / "checkpoints" / "checkpoint-82" / "trainer_state.json").read_text())
        return state["log_history"]

    def due(folder: Path, **more: Any) -> None:
        with pytest.raises(Killed):
            go(folder, settings, progress=killed_at(100, 120), **more)

    with pytest.MonkeyPatch.context() as patched:
        from understudy.training.arguments import arguments

        def every_41(*given: Any) -> Any:
            made = arguments(*given)
            made.save_steps = 41
            return made

        patched.setattr("understudy.training.trainer.arguments", every_41)
        due(tmp_path / "whole")
        with pytest.raises(Killed):
            go(tmp_path / "cut", settings, progress=killed_at(60, 120))
        due(tmp_path / "cut")
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    assert [entry["step"] for entry in history(tmp_path / "cut")] == list(range(2, 83, 2))


def test_batches_that_are_done_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path, TWELVE, 10)
    made: Counter[int] = Counter()
    collate = Collator.__call__

    def counted(self: Collator, groups: Any) -> Any:
        made[id(self)] += 1
        return collate(self, groups)

    monkeypatch.setattr(Collator, "__call__", counted)
    go(tmp_path, TWELVE)
    assert max(made.values()) == 4, "of the steps 9 to 12, and of none before"


# ---------------------------------------------------------------- which checkpoint is taken


def harmed(last: Path, harm: str) -> None:
    if harm == "truncated":
        path = last / "optimizer.pt"
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "missing":
        (last / "rng_state.pth").unlink()
    elif harm == "changed":
        content = bytearray((last / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (last / "model.safetensors").write_bytes(content)
    elif harm == "list":
        (last / COMPLETE).write_text("{")
    else:
        (last / {"state": STATE, "mark": COMPLETE}[harm]).unlink()


def test_a_checkpoint_that_is_not_whole_is_passed_over(tmp_path: Path) -> None:
    checkpoints = interrupted(tmp_path / "cut", TWELVE, 10)
    told: list[str] = []
    for harm in ("truncated", "missing", "changed", "list", "state", "mark"):
        copy = tmp_path / harm
        shutil.copytree(checkpoints, copy)
        harmed(copy / "checkpoint-8", harm)
        assert stored.last_complete(copy, {}, told.append) == copy / "checkpoint-4"
    assert [sentence.split("over: ")[1] for sentence in told] == [
        "its optimizer.pt is not as it was written",
        "rng_state.pth cannot be read",
        "its model.safetensors is not as it was written",
        "its list of files cannot be read",
        "understudy.json cannot be read",
        "it was not written to its end",
    ]
    harmed(checkpoints / "checkpoint-8", "truncated")
    result = go(tmp_path / "cut", TWELVE)
    go(tmp_path / "whole", TWELVE)
    assert equal(tmp_path / "whole", tmp_path / "cut")
    assert result["notes"] == [told[0]]


def test_a_half_written_checkpoint_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seal = stored.seal

    def killed(folder: Path) -> None:
        if folder.name == "checkpoint-8":
            raise Killed
        seal(folder)

    with monkeypatch.context() as patched:
        patched.setattr(stored, "seal", killed)
        with pytest.raises(Killed):
            go(tmp_path / "cut", TWELVE)
    checkpoints = tmp_path / "cut" / "checkpoints"
    assert [path.name for path in stored.found(checkpoints)] == ["checkpoint-4"]
    assert (checkpoints / WRITING / "checkpoint-8" / "model.safetensors").is_file()
    go(tmp_path / "whole", TWELVE)
    assert go(tmp_path / "cut", TWELVE)["notes"] == []
    assert equal(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"learning_rate": 1e-3}, "another settings"),
        ({"name": "seq2seq"}, "another model"),
        pytest.param(
            {"settings": TWELVE.model_copy(update={"clip": 0.5})}, "another settings", marks=pytest.mark.slow
        ),
    ],
)
def test_a_checkpoint_of_another_training_is_passed_over(
    tmp_path: Path, changed: dict[str, Any], part: str
) -> None:
    now: dict[str, Any] = {"settings": TWELVE, **changed}
    go(tmp_path / "fresh", **now)
    interrupted(tmp_path / "cut", TWELVE, 6)
    result = go(tmp_path / "cut", **now)
    assert equal(tmp_path / "fresh", tmp_path / "cut")
    (note,) = result["notes"]
    assert f"it is of a training with {part}" in note


def test_where_a_training_runs_does_not_make_it_another(tmp_path: Path) -> None:
    interrupted(tmp_path, TWELVE, 6)
    moved = TWELVE.model_copy(update={"checkpoints": 3, "checkpoint_minutes": None, "device": "cpu"})
    assert go(tmp_path, moved)["notes"] == []


# ---------------------------------------------------------------- how many, and when


def test_two_are_kept(tmp_path: Path) -> None:
    checkpoints = interrupted(tmp_path, spec(12, checkpoints=5, batch_tokens=16), 12)
    assert [path.name for path in stored.found(checkpoints)] == ["checkpoint-10", "checkpoint-8"]
    assert not (checkpoints / WRITING).exists()


def test_checkpoints_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from understudy.training import watching

    class Clock:
        minutes = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return 60 * cls.minutes

    monkeypatch.setattr(watching, "time", Clock)

    def progress(fraction: float, detail: str) -> None:
        Clock.minutes += 1
        if round(fraction * 12) == 9:
            raise Killed

    with pytest.raises(Killed):
        go(tmp_path, spec(12, checkpoints=0, checkpoint_minutes=2.5), progress=progress)
    # Three steps take three minutes.
    assert [path.name for path in stored.found(tmp_path / "checkpoints")] == ["checkpoint-6", "checkpoint-3"]


# ---------------------------------------------------------------- killed outright


HOST = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from tiny import GROUPS, quiet, scratch, spec
from understudy.training import checkpoints, train
from understudy.training import trainer  # imported once, for all
from understudy.training.watching import Watch

def go(name, folder, when):
    kind, _, number = when.partition(":")
    synced = [0]
    sync = checkpoints.sync
    told = Watch.on_step_end

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(fraction, detail):
        if kind == "step" and round(fraction * 40) >= int(number):
            die()

    def counted(path):
        synced[0] += 1
        if kind == "sync" and synced[0] >= int(number):
            die()
        sync(path)

    def always(self, *given, **named):
        self.told = -1.0
        told(self, *given, **named)

    checkpoints.sync = counted
    Watch.on_step_end = always
    settings = spec(40, batch_tokens=16, checkpoints=7, schedule="cosine")
    train(scratch(name), GROUPS, settings, learning_rate=3e-3, seed=0, folder=folder, progress=progress)

for job in sys.argv[2:]:
    folder, _, when = job.partition("=")
    child = os.fork()
    if child == 0:
        try:
            go(sys.argv[1], Path(folder), when)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def outcomes(name: str, jobs: Sequence[tuple[Path, str]]) -> list[int]:
    """How each of several trainings ended, one after the other, each in a process of its own that may be
    killed at a moment: "step:7" (after that step) or "sync:9" (in the middle of saving)."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", HOST.format(tests=str(Path(__file__).parent)), name),
            *(f"{folder}={when}" for folder, when in jobs),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [int(line) for line in done.stdout.split()]
    assert set(found) <= {0, -signal.SIGKILL}, done.stderr
    return found


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
@pytest.mark.parametrize("name", NAMES)
def test_killed_at_ten_random_moments_and_in_the_middle_of_saving(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    moments = [f"step:{chance.randint(6 * n + 1, 6 * n + 6)}" for n in range(6)]
    for _ in range(4):
        moments.insert(chance.randrange(len(moments)), f"sync:{chance.randint(1, 24)}")
    jobs = [(tmp_path / "whole", "never"), *((tmp_path / "cut", when) for when in [*moments, "never"])]
    found = outcomes(name, jobs)
    assert (found[0], found[-1]) == (0, 0)
    assert found[1:-1].count(-signal.SIGKILL) >= 9, f"of {moments}, some came too late: {found}"
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_a_save_that_is_cut_short_leaves_nothing_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: LiveCausal, folder: Path) -> None:
        raise Killed

    go(tmp_path / "whole", TWELVE)
    with monkeypatch.context() as patched:
        patched.setattr(LiveCausal, "save", killed)
        with pytest.raises(Killed):
            go(tmp_path / "cut", TWELVE)
    told: list[float] = []
    go(tmp_path / "cut", TWELVE, progress=lambda fraction, _: told.append(fraction))
    assert told == []
    assert equal(tmp_path / "whole", tmp_path / "cut")
