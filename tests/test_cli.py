"""The command line: what it prints, where, and the exit code it ends with."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import understudy
from understudy import shelves
from understudy.cli import main
from understudy.console import Work, watching
from understudy.errors import DataError, StoreError, TeacherError, TrainingError
from understudy.events import Event, Listener
from understudy.recipe import Recipe

RECIPE = """\
name: small
task: arithmetic
teacher: template
students:
  - {name: causal, config: tiny}
methods: [answer_only, single_stage]
"""

REPORT = {
    "title": "Small [bold]run[/bold]",
    "headline": "single_stage beats answer_only by 50.0 points [40.0, 60.0] (n = 4).",
    "rows": [
        {
            "method": method,
            "student": "causal",
            "seed": 0,
            "split": "test",
            "n": 4,
            "correct": correct,
            "accuracy": correct / 4,
            "interval": [0.1, 0.9],
            "no_answer": 1,
        }
        for method, correct in (("answer_only", 1), ("single_stage", 3))
    ],
}


@dataclass
class FakeDistill:
    """Stands where the path itself would: remembers what it was asked and says what it is told to."""

    raises: BaseException | None = None
    ran: int = 3
    asked: list[tuple[Recipe, Path]] = field(default_factory=list)

    def run(self, recipe: Recipe, out: Path, listen: Listener) -> SimpleNamespace:
        self.asked.append((recipe, out))
        listen(Event("planned", "data", "prepare the data", cost=1))
        listen(Event("started", "data", "prepare the data"))
        if self.raises:
            raise self.raises
        listen(Event("done", "data", "prepare the data", detail="4 questions"))
        return SimpleNamespace(html=out / "report.html", report=REPORT, reused=5 - self.ran, ran=self.ran)

    def report(self, out: Path) -> SimpleNamespace:
        return SimpleNamespace(html=out / "report.html", report=REPORT, reused=0, ran=0)

    def plan(self, recipe: Recipe, out: Path) -> list[SimpleNamespace]:
        self.asked.append((recipe, out))
        return [
            SimpleNamespace(name=name, title=f"{name} it", hash=name * 40, done=done, folder=out / name)
            for name, done in (("a", True), ("b", False))
        ]


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch) -> FakeDistill:
    fake = FakeDistill()
    module = ModuleType("understudy.distill")
    vars(module).update(run=fake.run, report=fake.report, plan=fake.plan)
    monkeypatch.setitem(sys.modules, "understudy.distill", module)
    monkeypatch.setattr(understudy, "distill", module, raising=False)
    return fake


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


# ---------------------------------------------------------------- start


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, click.testing, understudy.cli\n"
        "result = click.testing.CliRunner().invoke(understudy.cli.main, ['--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "datasets", "pydantic", "scipy", "numpy", "rich", "yaml", "aiohttp"}
    assert heavy & set(done.stdout.split()) == set()


def test_help_takes_less_than_four_tenths_of_a_second() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        code = "from understudy.cli import main; main(['--help'])"
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.4


def test_help_shows_every_command_in_a_whole_line() -> None:
    lines = call("--help").output.partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in lines] == [
        "audit",
        "compare",
        "demo",
        "doctor",
        "export",
        "judge",
        "ledger",
        "list",
        "plan",
        "report",
        "run",
        "show",
        "sweep",
    ]
    assert not any(line.endswith("...") for line in lines)


# ---------------------------------------------------------------- run, demo, plan, report


def test_run_ends_with_a_table_the_headline_and_the_report(distill: FakeDistill, recipe: str) -> None:
    result = call("run", recipe, "seeds=[3]", "--out", "there")
    assert result.exit_code == 0
    assert "Small [bold]run[/bold]" in result.stdout
    rows = [line.split("│")[1:-1] for line in result.stdout.splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["answer_only", "test", "25.0%", "10.0% to 90.0%", "1", "4"],
        ["single_stage", "test", "75.0%", "10.0% to 90.0%", "1", "4"],
    ]
    assert str(REPORT["headline"]) in result.stdout
    assert result.stdout.rstrip().endswith(f"report: {Path('there/report.html')}")
    ((asked, out),) = distill.asked
    assert asked.seeds == (3,)
    assert out == Path("there")


def test_run_writes_progress_to_the_standard_error(distill: FakeDistill, recipe: str) -> None:
    result = call("run", recipe)
    assert "done: prepare the data (4 questions" in result.stderr
    assert "prepare" not in result.stdout


def test_run_goes_to_a_folder_named_after_the_recipe(distill: FakeDistill, recipe: str) -> None:
    call("run", recipe, "name=other")
    assert distill.asked[0][1] == Path("runs/other")


def test_run_says_when_there_was_nothing_to_do(distill: FakeDistill, recipe: str) -> None:
    assert "nothing to do" not in call("run", recipe).output
    distill.ran = 0
    assert "nothing to do: all 5 steps were already done" in call("run", recipe).stdout


@pytest.mark.parametrize("task", ["coin_flip", "last_letters"])
def test_demo_runs_a_built_in_recipe(distill: FakeDistill, task: str) -> None:
    result = call("demo", "--task", task, "data.train=9")
    assert result.exit_code == 0, result.output
    ((asked, out),) = distill.asked
    assert (asked.task.name, asked.data.train) == (task, 9)
    assert out == Path("runs") / asked.name


def test_plan_prints_each_step_and_counts(distill: FakeDistill, recipe: str) -> None:
    result = call("plan", recipe)
    assert result.stdout.splitlines()[:3] == [
        f"done   {'a' * 12}  a it",
        f"to do  {'b' * 12}  b it",
        "1 of 2 steps are done; a run would do 1.",
    ]
    assert "trained on the training texts themselves" in " ".join(result.stdout.split())


def test_plan_leaves_out_tokenizers_it_cannot_look_at(
    distill: FakeDistill, recipe: str, tmp_path: Path
) -> None:
    result = call("plan", recipe, f"students=[{{name: seq2seq, checkpoint: {tmp_path}}}]")
    assert result.exit_code == 0, result.output
    assert "The tokenizers are not checked" in result.stdout
    on_the_hub = call("plan", recipe, "task=gsm8k", "prompt.style=few_shot")
    assert on_the_hub.exit_code == 0, on_the_hub.output
    assert "the questions are on the Hub" in on_the_hub.stdout


def test_report_prints_what_run_prints(distill: FakeDistill) -> None:
    result = call("report", "there")
    assert result.exit_code == 0
    assert "single_stage" in result.stdout
    assert str(Path("there/report.html")) in result.stdout


# ---------------------------------------------------------------- what goes wrong


FAILURES = [
    (DataError("data.jsonl, line 3: no answer"), 3, "error: data.jsonl, line 3: no answer"),
    (TeacherError("no server"), 4, "error: no server"),
    (TrainingError("no such config"), 5, "error: no such config"),
    (StoreError("locked"), 6, "error: locked"),
    (OSError(errno.ENOSPC, "No space left on device"), 6, "error: the disk is full; free some space"),
    (PermissionError(errno.EACCES, "Permission denied", "runs"), 6, "error: runs: Permission denied"),
    (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue"),
]


@pytest.mark.parametrize(
    ("error", "code", "words"), FAILURES, ids=[type(row[0]).__name__ for row in FAILURES]
)
def test_failures_are_one_sentence_and_a_code(
    distill: FakeDistill, recipe: str, error: BaseException, code: int, words: str
) -> None:
    distill.raises = error
    result = call("run", recipe)
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1].startswith(words)
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_wrong_recipe_is_told_before_anything_runs(distill: FakeDistill, recipe: str) -> None:
    result = call("run", recipe, "titel=x")
    assert result.exit_code == 2
    assert "did you mean 'title'?" in result.stderr
    assert distill.asked == []


def test_debugging_shows_where_it_came_from(
    distill: FakeDistill, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_DEBUG", "1")
    distill.raises = StoreError("locked")
    assert call("run", recipe).exception is distill.raises


def test_a_mistake_of_ours_is_not_dressed_up(distill: FakeDistill, recipe: str) -> None:
    distill.raises = ZeroDivisionError()
    assert isinstance(call("run", recipe).exception, ZeroDivisionError)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close differently")
def test_a_closed_pipe_is_quiet() -> None:
    command = [sys.executable, "-c", "from understudy.cli import main; main(['list'])"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert errors == b""


# ---------------------------------------------------------------- list, show


def test_list_shows_every_shelf_with_one_line_each() -> None:
    lines = call("list").stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(shelves.SHELVES)
    (gsm8k,) = (line for line in lines if line.split()[0] == "gsm8k")
    assert "word problems" in gsm8k


def test_list_shows_one_shelf() -> None:
    lines = call("list", "students").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["students", "causal", "seq2seq"]


def test_list_imports_nothing_that_is_listed() -> None:
    code = (
        "import sys; from understudy.catalogue import listing; list(listing(None))\n"
        "print(*[name for name in sys.modules if name.startswith('understudy.tasks.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


SHOWN = [
    ("gsm8k", ["tasks/gsm8k", "train (7473), test (1319)", "licence   MIT", "answers   number"]),
    ("tasks/arithmetic", ["generated, needs no file"]),
    ("jsonl", ["your own file, by task.path"]),
    ("causal", ["students/causal", "config: str | None = None"]),
    ("teachers/openai", ["model: str (must be given)", "Requests in flight at once."]),
    ("answer_only", ["question -> answer, no rationale"]),
    ("metrics/accuracy", ["metrics/accuracy", "share of questions"]),
]


@pytest.mark.parametrize(("name", "words"), SHOWN)
def test_show(name: str, words: list[str]) -> None:
    result = call("show", name)
    assert result.exit_code == 0, result.output
    assert all(word in result.stdout for word in words), result.stdout


WRONG_NAMES = [
    (["show", "gsm9k"], "did you mean 'gsm8k'?"),
    (["show", "zzzzzz"], "`understudy list` shows what there is"),
    (["show", "tasks/gsm9k"], "did you mean 'gsm8k'?"),
    (["show", "taks/gsm8k"], "there is no shelf 'taks'"),
    (["list", "taks"], "did you mean 'tasks'?"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_NAMES)
def test_wrong_names(arguments: list[str], words: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


# ---------------------------------------------------------------- judge


@pytest.fixture
def outputs(tmp_path: Path) -> str:
    rows = [
        {"output": "3 + 4 = 7. The answer is 7.", "gold": 7},
        {"output": "The answer is 8.", "gold": "7"},
        {"output": "I do not know.", "gold": "7"},
    ]
    path = tmp_path / "outputs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("how", [("--form", "number"), ("--task", "gsm8k")])
def test_judge_as_json(outputs: str, how: tuple[str, str]) -> None:
    result = call("judge", *how, outputs, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert [(row["extracted"], row["verdict"]) for row in said["rows"]] == [
        ("7", "correct"),
        ("8", "wrong"),
        (None, "no_answer"),
    ]
    assert set(said["rows"][0]) == {
        *("extracted", "verdict", "span", "rule", "reason", "strict", "strict_extracted"),
    }
    assert said["counts"] == {"correct": 1, "wrong": 1, "no_answer": 1, "total": 3}
    assert said["strict"] == {"counts": said["counts"], "disagreements": 0}


def test_judge_as_a_table(outputs: str) -> None:
    lines = call("judge", "--form", "number", outputs).stdout.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert ["no answer", "1", "33.3%", "1", "33.3%"] in cells
    assert ["total", "3", "100.0%", "3", "100.0%"] in cells


def test_judge_lists_the_rows_that_the_two_readings_judge_differently(tmp_path: Path) -> None:
    path = tmp_path / "outputs"
    rows = ({"output": "The answer is 7.", "gold": 7}, {"output": "So it is 7", "gold": 7})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    told = call("judge", "--form", "number", str(path)).stdout
    assert "the two readings disagree on 1 of 2 rows" in told
    listed = call("judge", "--form", "number", "--disagreements", str(path)).stdout
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in listed.splitlines() if "│" in line]
    assert [cell[:3] for cell in cells if cell[0] == "2"] == [["2", "correct", "7"]]


@pytest.mark.parametrize("how", [(), ("--form", "number", "--task", "gsm8k")])
def test_judge_needs_one_way_of_judging(outputs: str, how: Sequence[str]) -> None:
    result = call("judge", *how, outputs)
    assert result.exit_code == 2
    assert "either --task or --form" in result.stderr


def test_judge_names_the_line_of_a_malformed_row(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"output": "7", "gold": "7"}\n{"output": "7"}\n', encoding="utf-8")
    result = call("judge", "--form", "number", str(path))
    assert result.exit_code == 3
    assert "line 2" in result.stderr


# ---------------------------------------------------------------- progress


class Clock:
    """A clock that stands where it is put."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def watched(terminal: bool, say: Callable[[Listener, Clock], Any]) -> str:
    written = StringIO()
    clock = Clock()
    with watching(Console(file=written, force_terminal=terminal, width=100), clock) as listen:
        say(listen, clock)
    return written.getvalue()


def two_steps(listen: Listener, clock: Clock) -> None:
    listen(Event("planned", "a", "the [first]", cost=1))
    listen(Event("planned", "b", "the second", cost=3))
    listen(Event("note", detail="4 questions were dropped."))
    listen(Event("note", detail="4 questions were dropped."))
    listen(Event("started", "a", "the [first]"))
    clock.now = 10
    listen(Event("done", "a", "the [first]", detail="loss 0.5"))
    listen(Event("started", "b", "the second"))
    clock.now = 40
    listen(Event("progress", "b", "the second", fraction=0.5))
    clock.now = 100
    listen(Event("done", "b", "the second"))


def test_without_a_terminal_there_are_plain_lines() -> None:
    assert watched(False, two_steps).splitlines() == [
        "note: 4 questions were dropped.",
        "start: the [first]",
        "done: the [first] (loss 0.5, took 10 s, 1 of 2 steps, about 30 s left)",
        "start: the second",
        "done: the second (took 1 min 30 s, 2 of 2 steps)",
    ]


def test_on_a_terminal_there_are_bars_and_each_note_stands_once() -> None:
    drawn = watched(True, two_steps)
    assert "\x1b[" in drawn
    assert "the whole run" in drawn
    assert drawn.count("4 questions were dropped.") == 1
    assert "2 of 2 steps" in drawn


def test_time_left_counts_costs_and_not_steps() -> None:
    clock = Clock()
    work = Work(clock)
    for name, cost in (("a", 1.0), ("b", 2.0), ("c", 5.0)):
        work.take(Event("planned", name, cost=cost))
    work.take(Event("reused", "a"))
    work.take(Event("started", "b"))
    clock.now = 6
    work.take(Event("progress", "b", fraction=0.5))
    # 1 unit took 6 seconds; 1 of b and 5 of c are left. What was reused took no time and says nothing.
    assert work.seconds_left == 36
    assert work.fraction == 2 / 8
    assert work.finished == 1


def test_time_left_is_not_known_before_some_work_is_done() -> None:
    clock = Clock()
    work = Work(clock)
    work.take(Event("planned", "a", cost=1))
    work.take(Event("planned", "b", cost=1))
    work.take(Event("reused", "a"))
    work.take(Event("started", "b"))
    clock.now = 5
    assert work.seconds_left is None


def test_what_an_earlier_run_had_done_does_not_make_this_one_look_fast() -> None:
    clock = Clock()
    work = Work(clock)
    work.take(Event("planned", "a", cost=10))
    work.take(Event("started", "a", fraction=0.5))
    clock.now = 8
    work.take(Event("progress", "a", fraction=0.7))
    assert work.seconds_left == pytest.approx(12)


def test_steps_that_nobody_planned_do_no_harm() -> None:
    drawn = watched(False, lambda listen, clock: listen(Event("done", "x", "a surprise")))
    assert drawn.startswith("done: a surprise")
