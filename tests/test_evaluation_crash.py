"""A run that is killed outright, again and again, while its students answer: it goes on where it was.

A real `understudy run` with two methods, one of two stages, in worker processes of its own. The students note
every text on disk before they hand it over, so what was written can be counted beside what was kept:
`pytest -m slow tests/test_evaluation_crash.py`.
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
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from outside.counting import noted

RECIPE = """\
name: killed
task: arithmetic
data: {train: 40, dev: 8, test: 150}
teacher: template
sampling: {n: 1, temperature: 0}
students:
  - {name: outside.counting, pause_s: 0.15}
methods: [answer_only, two_stage]
train: {budget: {unit: steps, amount: 3}, learning_rate: 1e-3, batch_tokens: 1024, precision: fp32}
evaluate: {splits: [test], max_new_tokens: 8, batch_tokens: 400, engine: transformers, votes: 2}
workers: 2
"""
KILLS = 5
WORKERS = 2


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The command, in a process group of its own; what it prints goes to a file."""
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    with (folder / "printed").open("ab") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "understudy", "run", "recipe.yaml", "--out", "run"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(folder: Path) -> None:
    assert start(folder).wait(timeout=300) == 0, (folder / "printed").read_text(encoding="utf-8")


def kill_one(folder: Path, more: int, rng: random.Random) -> None:
    """Start the run, and kill it when so many more texts have been written, and a little later."""
    wanted = len(noted(folder / "written.jsonl")) + more
    process = start(folder)
    while len(noted(folder / "written.jsonl")) < wanted:
        assert process.poll() is None, (folder / "printed").read_text(encoding="utf-8")
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3))
    everybody = psutil.Process(process.pid).children(recursive=True)
    if rng.random() < 0.5:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()  # its workers end with it
    process.wait()
    _, left = psutil.wait_procs(everybody, timeout=30)
    assert left == []


def kept(folder: Path) -> Counter[tuple[str, ...]]:
    """(folder of the weights, prompt) of every student's text in the ledger; one for each that was drawn."""
    with closing(sqlite3.connect(folder / "run" / "ledger.sqlite")) as database:
        rows = database.execute(
            "SELECT revision, messages FROM completions JOIN prompts ON prompt = hash "
            "WHERE endpoint = 'local'"
        ).fetchall()
    return Counter((revision, json.loads(messages)[-1][1]) for revision, messages in rows)


def written(folder: Path) -> Counter[tuple[str, ...]]:
    """The same of every text that a student ever wrote."""
    return Counter((who, source) for who, source, *_ in noted(folder / "written.jsonl"))


def predictions(folder: Path) -> dict[str, bytes]:
    """Step -> what its file of predictions holds."""
    found = (folder / "run" / "steps").glob("predict-*")
    return {path.name: (path / "predictions.jsonl").read_bytes() for path in found}


def marks(folder: Path) -> Iterator[Any]:
    for path in sorted((folder / "run" / "steps").glob("predict-*/step.json")):
        yield json.loads(path.read_text(encoding="utf-8"))["result"]


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    finish(whole)
    expected, alone = predictions(whole), written(whole)
    assert len(expected) == 4, "two methods, and a vote of each"
    assert alone == kept(whole)

    # The same trained students, of whom nobody has asked anything.
    shutil.copytree(whole, killed)
    for path in (killed / "run" / "steps").glob("predict-*"):
        shutil.rmtree(path)
    for path in (*(killed / "run").glob("ledger.sqlite*"), killed / "written.jsonl"):
        path.unlink()

    rng = random.Random()
    largest = 0
    lost_before = 0
    for _ in range(KILLS):
        kill_one(killed, rng.randrange(1, alone.total() // (KILLS + 1)), rng)
        now, stored = written(killed), kept(killed)
        assert now >= stored, "nothing is kept that was not written"
        lost = now.total() - stored.total()
        largest = max(largest, lost - lost_before)
        lost_before = lost
    finish(killed)

    assert predictions(killed) == expected
    assert list(marks(killed)) == list(marks(whole))
    assert kept(killed) == alone, "and the ledger holds each text once"
    twice = written(killed).total() - alone.total()
    print(f"{KILLS} kills, {alone.total():,} texts: {twice} written twice, {largest} at one kill")
    assert twice == lost_before, "left alone, it writes nothing twice"
    batch = 400 // (8 + 8)
    assert largest <= WORKERS * batch, "each worker has one batch in hand"
    assert not list((killed / "run" / "steps").glob("predict-*/.predictions*"))
