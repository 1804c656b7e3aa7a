"""How much memory an evaluation takes as it goes on, and how fast it is: the real step, with the real ledger.

    python benchmarks/predict_memory.py [--rows 200000] [--method two_stage] [--engine transformers]

A tiny untrained decoder answers `--rows` questions with two tokens per stage, through `ask_students`. The
questions are in memory from the start, as the splits of a run are. Resident memory is read from Linux's
/proc whenever the step says how far it is, at its highest in each tenth of the questions, the first of which
is the warm-up. Then the predictions are loaded, which is what a report does with them, and judged. The catch:
texts of two tokens are short; the texts of one window, 8,192 chains, are what longer ones add.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.data import Prepared
from understudy.evaluate import judge_all
from understudy.examining import ask_students
from understudy.records import load_predictions
from understudy.types import Question
from understudy.work import Work, method_of, student_of

STUDENT = {"name": "causal", "config": "tiny"}
NEW_TOKENS = 2
MIB = 1 << 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Watch:
    """The highest resident memory in each part of a step: between two readings it goes up and down with what
    a window holds, so readings at two moments would compare chance."""

    parts: int
    highest: list[int] = field(default_factory=list)

    def progress(self, share: float, detail: str) -> None:
        del detail
        part = min(int(share * self.parts), self.parts - 1)
        self.highest += [0] * (part + 1 - len(self.highest))
        self.highest[part] = max(self.highest[part], resident())

    @property
    def growth(self) -> int:
        """Bytes by which it was ever higher than in the first part."""
        return max(self.highest) - self.highest[0]


def sums(count: int, first: int = 0) -> tuple[Question, ...]:
    """Questions that are all different, and of different lengths."""
    return tuple(
        Question(
            f"Ann has {at // 450} pens{' and many friends' * (at % 7)}. She buys {at % 450} more. How many?",
            str(at // 450 + at % 450),
        )
        for at in range(first, first + count)
    )


def prepare(root: Path, rows: int, method: str) -> dict[str, Path]:
    """The folders that a `predict` step needs: questions, and an untrained student for each stage."""
    splits = {"train": sums(64, 10**6), "dev": sums(64, 2 * 10**6), "test": sums(rows)}
    Prepared("number", splits).save(root / "data")
    needs = {"data": root / "data"}
    texts = [question.text for question in splits["train"]] + [" ".join(map(str, range(450)))]
    for seed, stage in enumerate(method_of({"name": method}).stages()):
        needs[f"stage {stage.name}"] = root / f"train-{stage.name}"
        student_of(STUDENT).create(texts, seed).save(root / f"train-{stage.name}" / "model")
    return needs


def settings_of(method: str) -> dict[str, Any]:
    return {
        "student": STUDENT,
        "method": {"name": method},
        "split": "test",
        "max_new_tokens": NEW_TOKENS,
        "batch_tokens": 16384,
        "given": None,
    }


def measure(root: Path, rows: int, method: str, engine: str, parts: int) -> tuple[Watch, float]:
    """What the step took, and its seconds."""
    needs = prepare(root, rows, method)
    watch = Watch(parts)
    folder = root / "predict"
    folder.mkdir()
    work = Work(folder, needs, root / "ledger.sqlite", {"engine": engine}, watch.progress)
    started = time.monotonic()
    result = ask_students(settings_of(method), work)
    assert result["n"] == rows, result
    return watch, time.monotonic() - started


def load(root: Path, count: int) -> None:
    """Print what it costs to hold and judge all predictions, as a report does. In a process of its own."""
    questions = sums(count)
    before, started = resident(), time.monotonic()
    predictions = load_predictions(root / "predict")
    loaded, at_load = resident(), time.monotonic()
    rows = judge_all(questions, predictions, "number")
    size = (root / "predict" / "predictions.jsonl").stat().st_size
    print(f"predictions.jsonl: {size / MIB:.0f} MiB")
    print(f"loaded for a report: {(loaded - before) / MIB:.0f} MiB in {at_load - started:.1f} s")
    print(f"judged: {(resident() - loaded) / MIB:.0f} MiB more in {time.monotonic() - at_load:.1f} s")
    assert len(rows) == len(predictions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--method", default="two_stage")
    parser.add_argument("--engine", default="transformers")
    parser.add_argument("--parts", type=int, default=10, help="the first of so many is the warm-up")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        watch, seconds = measure(root, asked.rows, asked.method, asked.engine, asked.parts)
        end = resident()
        print(f"{asked.rows:,} questions, {asked.method}, {asked.engine}")
        print(f"highest in each part: {', '.join(f'{part / MIB:.0f}' for part in watch.highest)} MiB")
        print(f"above the first: {watch.growth / MIB:.1f} MiB")
        print(f"at the end: {end / MIB:.0f} MiB")
        print(f"{asked.rows / seconds:,.0f} questions/s ({seconds:.0f} s)")
        reader = multiprocessing.get_context("spawn").Process(target=load, args=(root, asked.rows))
        reader.start()
        reader.join()


if __name__ == "__main__":
    main()
