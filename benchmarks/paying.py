"""What a change pays: a recipe run again with one thing changed, and how much of it was asked for anew.

    python benchmarks/paying.py [--rows 200]      # some minutes: it trains a toy in every run

Every line is `understudy run` from the recipe to its report in a process of its own, against a server on this
machine that always answers 1540, which is always right. Each but the first starts from a copy of the first
run's folder. "asked" is the completions that ledgers have gained, "reused" what the annotation had already.
The catch: nothing here counts at the server; tests/test_paying.py does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loopback_server import serving
from understudy.ledger.selection import Selection
from understudy.ledger.spending import spending

RECIPE = """\
name: paying
task: {{name: jsonl, path: {{train: train.jsonl, dev: dev.jsonl, test: test.jsonl}}}}
teacher: {{name: openai, model: loopback, base_url: "{url}", endpoint: loopback, api_key_env: LOOPBACK_KEY}}
prompt: {{style: zero_shot}}
sampling: {{n: 4}}
students: [{{name: causal, config: tiny}}]
methods: [answer_only]
train: {{budget: {{unit: steps, amount: 2}}, learning_rate: 1e-3, batch_tokens: 512, precision: fp32}}
evaluate: {{max_new_tokens: 4}}
"""
OUT = "out"
BUDGET = 7
"""The exit code of a run whose budget reaches no further."""

NEW_JUDGE = "from understudy.steps import VERSIONS; VERSIONS['curate'] += 1; "
"""What a release does that changes a verdict or a filter: no older verdict counts."""

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Change:
    """One thing that is changed before the recipe is run again."""

    what: str
    keys: tuple[str, ...] = ()
    rows: Callable[[Rows], Rows] = list
    out: str = OUT
    ends: int = 0
    """The exit code that is expected."""
    code: str = ""
    """Is run before the command is."""


@dataclass(frozen=True)
class Paid:
    rows: int
    asked: int
    reused: int | None
    """None where the annotation was not finished."""


def changes(rows: int) -> Iterator[Change]:
    """What is tried, each from the finished run of `rows` questions with four samples each."""
    yield Change("nothing")
    yield Change("one row more", rows=lambda old: [*old, row(rows + 1)])
    yield Change("the text of one row", rows=lambda old: [*old[:-1], row(rows + 1)])
    yield Change("the gold answer of one row", rows=lambda old: [*old[:-1], {**old[-1], "answer": "1"}])
    yield Change("the order of the rows", rows=lambda old: old[::-1])
    yield Change("a filter: curate.min_words=3", ("curate.min_words=3",))
    yield Change("the code of judge and filters", code=NEW_JUDGE)
    yield Change("the form of the answers, which the prompt names", ("task.form=text",))
    yield Change("a method more", ("methods=[answer_only, single_stage]",))
    how = ("teacher.concurrency=8", "price={input: 1, output: 2}", "budget.usd=1000")
    yield Change("concurrency, price and budget", how)
    yield Change("sampling.n from 4 to 8", ("sampling.n=8",))
    yield Change("sampling.n from 4 to 2", ("sampling.n=2",))
    yield Change("the system prompt", ("prompt.system=Be brief.",))
    yield Change("the temperature", ("sampling.temperature=0.6",))
    yield Change("the model", ("teacher.model=other",))
    yield Change("the folder of the run", out="other")
    yield Change("the same, with the first one's ledger", (f"ledger={OUT}/ledger.sqlite",), out="other")


def row(number: int) -> dict[str, str]:
    return {"question": f"What is {number} + {1540 - number}?", "answer": "1540"}


def lay_out(folder: Path, url: str, rows: int) -> None:
    """The recipe and its data; paths in it are relative, so a copy of the folder is the same run."""
    (folder / "recipe.yaml").write_text(RECIPE.format(url=url), encoding="utf-8")
    write_rows(folder / "train.jsonl", [row(number) for number in range(rows)])
    write_rows(folder / "dev.jsonl", [row(-1)])
    write_rows(folder / "test.jsonl", [row(-2), row(-3)])


def write_rows(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


def read_rows(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(folder: Path, change: Change) -> Paid:
    """Make the change, run the recipe, and count what that paid."""
    rows = change.rows(read_rows(folder / "train.jsonl"))
    write_rows(folder / "train.jsonl", rows)
    before = bought(folder)
    start = f"{change.code}from understudy.cli import main; main()"
    command = [sys.executable, "-c", start, "run", "recipe.yaml", "--out", change.out, *change.keys]
    environment = {name: value for name, value in os.environ.items() if name != "LOOPBACK_KEY"}
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if ended.returncode != change.ends:
        raise SystemExit(f"{change.what}: exit code {ended.returncode}\n{ended.stderr}")
    return Paid(len(rows), bought(folder) - before, reused(folder / change.out) if not change.ends else None)


def bought(folder: Path) -> int:
    """Completions of the teacher in all ledgers of a folder."""
    who = [Selection(endpoint="loopback/chat/completions", model=model) for model in ("loopback", "other")]
    ledgers = folder.glob("*/ledger.sqlite")
    return sum(spending(ledger, one).completions for ledger in ledgers for one in who)


def reused(out: Path) -> int:
    """What the annotation that the report stands on found in the ledger; all of it if it was done before."""
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    [annotate] = [step for step in report["manifest"]["recipe_steps"] if step["name"] == "annotate"]
    usage = report["teacher"]["usage"]
    ran_now = (out / "steps" / f"annotate-{annotate['hash']}" / "step.json").stat().st_mtime_ns
    fresh = ran_now > (out / "recipe.yaml").stat().st_mtime_ns
    return int(usage["reused"] if fresh else usage["asked"] + usage["reused"])


def tried(base: Path, change: Change) -> Paid:
    """The change in a copy of the finished run, which is removed again."""
    with tempfile.TemporaryDirectory(dir=base.parent) as copy:
        shutil.copytree(base, copy, dirs_exist_ok=True)
        return run(Path(copy), change)


def budgeted(folder: Path, rows: int) -> Iterator[tuple[str, Paid]]:
    """A run that may cost a third of what it takes, and the same with the cap raised."""
    cap = 4 * rows // 3
    for what, limit, ends in (("started", cap, BUDGET), ("then", 4 * rows, 0)):
        change = Change(f"{what} with budget.requests={limit}", (f"budget.requests={limit}",), ends=ends)
        yield change.what, run(folder, change)


def show(what: str, paid: Paid) -> None:
    """One line of the table, as soon as it is known: the whole takes minutes."""
    found = "stopped" if paid.reused is None else f"{paid.reused:,}"
    print(f"| {what} | {paid.rows:,} | {paid.asked:,} | {found} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200, help="training questions, four samples each")
    rows = parser.parse_args().rows
    print("| what changed | rows | asked | reused |\n|---|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as scratch, serving(latency=0.0) as url:
        base, capped = Path(scratch) / "base", Path(scratch) / "capped"
        for folder in (base, capped):
            folder.mkdir()
            lay_out(folder, url, rows)
        show("the first run", run(base, Change("the first run")))
        for change in changes(rows):
            show(change.what, tried(base, change))
        for what, paid in budgeted(capped, rows):
            show(what, paid)


if __name__ == "__main__":
    main()
