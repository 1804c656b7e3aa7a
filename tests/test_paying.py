"""What users are promised about money, by the command line: what a change pays, and where a budget stops.

The server counts. Runs go to their report in this process, for starting workers takes longer than these runs;
the ends that must come out of a worker process are tried with real ones.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adder import Adder, reasons, recipe_file, write_rows
from understudy import steps
from understudy.cli import main
from understudy.engines import here, processes

N, MANY = 6, 60
PRICE = "price={input: 1, output: 2, per: 1}"
EACH = 10 + 4 * 5 * 2
"""Dollars at that price for one request of four samples."""


@pytest.fixture(autouse=True, scope="module")
def at_once() -> Iterator[None]:
    """Steps run here, on one thread: more only get in each other's way on models this small."""
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "run", here.run)
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Adder]:
    with Adder() as serving:
        yield serving


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, server: Adder) -> Path:
    """The folder of a recipe and its finished run: four samples of six questions."""
    folder = tmp_path_factory.mktemp("paying")
    recipe_file(folder, server, range(N))
    assert run(folder, folder / "first").exit_code == 0
    assert server.new() == 4 * N
    return folder


@pytest.fixture
def again(first: Path, server: Adder, tmp_path: Path) -> Iterator[Callable[..., list[tuple[int, int]]]]:
    """Runs the recipe in a copy of the finished run, with overrides: what the server was asked for."""

    def change(*overrides: str) -> list[tuple[int, int]]:
        server.new()
        said = run(first, tmp_path / "out", *overrides)
        assert said.exit_code == 0, said.output
        return sorted(server.asked)

    shutil.copytree(first / "first", tmp_path / "out")
    yield change
    recipe_file(first, server, range(N))


def run(folder: Path, out: Path, *overrides: str) -> Result:
    arguments = ["run", str(folder / "adds.yaml"), "--out", str(out), "sampling.n=4", *overrides]
    return CliRunner().invoke(main, arguments)


Again = Callable[..., list[tuple[int, int]]]


def samples(numbers: range | list[int], which: range = range(4)) -> list[tuple[int, int]]:
    return sorted((number, sample) for number in numbers for sample in which)


# ---------------------------------------------------------------- what a change pays


def test_the_same_run_again_pays_nothing(again: Again) -> None:
    assert again() == []


@pytest.mark.parametrize("numbers", [[*range(N), 77], [77, *range(N)]], ids=["at the end", "at the front"])
def test_one_row_more_pays_for_that_row(first: Path, again: Again, numbers: list[int]) -> None:
    write_rows(first / "train.jsonl", numbers)
    assert again() == samples([77])


def test_one_row_more_pays_one_request_where_one_sample_is_asked_for(
    first: Path, again: Again, server: Adder
) -> None:
    write_rows(first / "train.jsonl", [*range(N), 77])
    assert again("sampling.n=1") == [(77, 0)]
    assert len(server.bodies) == 1


def test_a_changed_row_pays_for_that_row(first: Path, again: Again) -> None:
    write_rows(first / "train.jsonl", [0, 1, 2, 77, 4, 5])
    assert again() == samples([77])


def test_rows_in_another_order_pay_nothing(first: Path, again: Again) -> None:
    write_rows(first / "train.jsonl", reversed(range(N)))
    assert again() == []


def test_another_order_moves_questions_where_dev_is_cut_from_train(
    first: Path, server: Adder, tmp_path: Path
) -> None:
    """The catch: dev is the last rows, so those that were dev and are not any more are new to train."""
    recipe_file(tmp_path, server, range(N))
    keys = (f"task.path={{train: {tmp_path}/train.jsonl, test: {tmp_path}/test.jsonl}}", "data.dev=2")
    for numbers, paid in ((range(N), [0, 1, 2, 3]), (reversed(range(N)), [4, 5])):
        write_rows(tmp_path / "train.jsonl", numbers)
        server.new()
        assert run(tmp_path, tmp_path / "out", *keys).exit_code == 0
        assert sorted(server.asked) == samples(paid)


def test_a_corrected_gold_answer_pays_nothing(first: Path, again: Again) -> None:
    rows = (first / "train.jsonl").read_text(encoding="utf-8")
    (first / "train.jsonl").write_text(rows.replace('"answer": "4"', '"answer": "44"'), encoding="utf-8")
    assert again() == []


def test_another_system_prompt_pays_for_everything(again: Again) -> None:
    assert again("prompt.system=Be brief.") == samples(range(N))


def test_twice_the_samples_pay_the_difference(again: Again) -> None:
    assert again("sampling.n=8") == samples(range(N), range(4, 8))


def test_fewer_samples_pay_nothing(again: Again) -> None:
    assert again("sampling.n=2") == []


def test_what_comes_after_the_teacher_and_how_it_is_asked_pays_nothing(again: Again) -> None:
    after = ("curate.min_words=3", "curate.right_answer=false", "methods=[answer_only, single_stage]")
    also = ("train.budget.amount=3", "evaluate.max_new_tokens=5", "teacher.concurrency=1")
    assert again(*after, *also, "budget.requests=24", PRICE) == []


def test_another_judge_reads_the_same_answers_and_pays_nothing(
    again: Again, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = len(list(tmp_path.glob("out/steps/curate-*")))
    monkeypatch.setitem(steps.VERSIONS, "curate", 99)
    assert again() == []
    assert len(list(tmp_path.glob("out/steps/curate-*"))) == before + 1, "everything was judged again"


# ---------------------------------------------------------------- where a budget stops


def test_a_budget_of_a_third_stops_there_and_going_on_pays_as_much_as_one_run(
    tmp_path: Path, server: Adder
) -> None:
    server.new()
    recipe_file(tmp_path, server, range(MANY))
    out, cap = tmp_path / "out", 4 * MANY // 3
    stopped = run(tmp_path, out, f"budget.requests={cap}")
    assert stopped.exit_code == 7
    assert len(server.asked) == cap, "used to its end, and never passed"
    assert f"takes about {4 * MANY - cap} more requests" in stopped.stderr
    assert f"raise budget.requests to {4 * MANY} and run again" in stopped.stderr
    assert not (out / "report.html").exists()
    assert run(tmp_path, out, f"budget.requests={4 * MANY}").exit_code == 0
    assert (out / "report.html").exists()
    assert Counter(server.asked) == Counter(samples(range(MANY))), "each was paid for exactly once"


def test_the_same_in_dollars_passes_the_cap_by_no_more_than_is_in_flight(
    tmp_path: Path, server: Adder
) -> None:
    server.new()
    recipe_file(tmp_path, server, range(MANY))
    out, cap, flight = tmp_path / "out", EACH * MANY / 3, 2
    keys = (PRICE, f"teacher.concurrency={flight}")
    stopped = run(tmp_path, out, f"budget.usd={cap}", *keys)
    assert stopped.exit_code == 7
    spent = EACH * len(server.bodies)
    assert cap / 2 < spent <= cap + flight * EACH
    said = re.search(
        r"so far .* \$([0-9,.]+)\).* raise budget\.usd to ([0-9.]+) and run again", stopped.stderr
    )
    assert said, stopped.stderr
    assert float(said[1].replace(",", "")) == pytest.approx(spent)
    assert EACH * MANY < float(said[2]) < 2 * EACH * MANY
    assert run(tmp_path, out, f"budget.usd={said[2]}", *keys).exit_code == 0
    assert Counter(server.asked) == Counter(samples(range(MANY)))
    assert len(server.bodies) == MANY


def test_a_budget_that_is_too_small_for_one_request_pays_nothing(tmp_path: Path, server: Adder) -> None:
    server.new()
    recipe_file(tmp_path, server, range(N))
    stopped = run(tmp_path, tmp_path / "out", "budget.requests=3")
    assert (stopped.exit_code, server.asked) == (7, [])
    assert re.search(
        r"the next request alone .* 4 requests, .*: raise budget\.requests to 4 ", stopped.stderr
    )


def test_the_sentence_and_the_exit_code_come_out_of_a_worker_process(tmp_path: Path, server: Adder) -> None:
    server.new()
    in_workers(tmp_path, server, 8)


@pytest.mark.slow
def test_those_of_a_reader_do_too(tmp_path: Path) -> None:
    """It reads when everything else is done, and everything else is kept."""
    with Adder(reasons) as server:
        reader = f"audit.reader={{name: openai, model: reader, base_url: '{server.url}'}}"
        in_workers(tmp_path, server, 4 * N + 2, reader)
    assert len(list(tmp_path.glob("out/steps/*/step.json"))) == 5


def in_workers(folder: Path, server: Adder, cap: int, *overrides: str) -> None:
    """Run in worker processes until `cap` requests are spent."""
    path = recipe_file(folder, server, range(N))
    command = [sys.executable, "-m", "understudy", "run", str(path), "--out", str(folder / "out")]
    command += ["sampling.n=4", f"budget.requests={cap}", *overrides]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 7, ended.stderr
    assert len(server.asked) == cap
    said = f"error: the budget of {cap} requests reaches no further (so far {cap} requests,"
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
