"""What `plan`, `run --dry-run` and a pilot say a run will cost, held against what it then pays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import small
from adder import KEY, Adder, do, recipe_file, recipe_of, write_rows
from loopback import Loopback, Reply
from understudy.cli import main
from understudy.costing import IN_ROUNDS, costs, lines
from understudy.errors import TeacherError

PRICE = "price={input: 1, output: 2, per: 1}"
"""A prompt of 10 tokens and an answer of 5 come to 20 dollars."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Adder]:
    monkeypatch.setenv("ADDER_KEY", KEY)
    with Adder() as serving:
        yield serving


def understudy(command: str, path: Path, out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [command, str(path), "--out", str(out), *arguments])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def row(output: str, name: str) -> str:
    found = re.search(rf"^ +{name} {{2,}}(.+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


# ---------------------------------------------------------------- without a pilot


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run")], ids=["plan", "dry run"])
def test_a_plan_counts_what_would_be_asked_and_spends_and_writes_nothing(
    tmp_path: Path, server: Adder, command: tuple[str, ...]
) -> None:
    path, out = recipe_file(tmp_path, server), tmp_path / "out"
    said = understudy(command[0], path, out, *command[1:], "sampling.n=2", "evaluate.teacher=true", PRICE)
    assert said.exit_code == 0, said.output
    assert server.bodies == []
    assert not out.exists()
    train, test = said.output[said.output.index("annotate train with") :].split("ask the teacher on test:")
    assert row(train, "requests") == "12"
    assert row(train, "completion tokens") == f"at most {12 * 50} (their limit)"
    tokens = int(row(train, "prompt tokens").split()[1])
    assert row(train, "cost").startswith(f"at most ${tokens + 2 * 12 * 50:,}.00 at ")
    assert row(test, "requests") == "2"


def test_the_prompt_is_counted_by_its_bytes(tmp_path: Path, server: Adder) -> None:
    recipe = recipe_of(tmp_path, server, train=range(3))
    [cost] = costs(recipe, tmp_path / "out") or []
    do(recipe, tmp_path / "out", "data", "annotate")
    sizes = [sum(len(message["content"]) for message in body["messages"]) for body in server.bodies]
    assert cost.estimate is not None
    assert cost.estimate.prompt_tokens.value == sum(-(-size // 4) for size in sizes)


def test_a_price_that_is_not_known_is_said_to_be(tmp_path: Path, server: Adder) -> None:
    said = understudy("plan", recipe_file(tmp_path, server), tmp_path / "out")
    assert row(said.output, "cost").startswith("unknown: give 'price: {input: ..., output: ...}'")


def test_only_what_no_ledger_holds_is_counted(tmp_path: Path, server: Adder) -> None:
    path, out = recipe_file(tmp_path, server), tmp_path / "out"
    do(recipe_of(tmp_path, server), out, "data", "annotate")
    write_rows(tmp_path / "train.jsonl", range(8))
    before, asked = contents(out), len(server.asked)
    more = understudy("plan", path, out, "sampling.n=2")
    assert row(more.output, "requests") == "10", "two samples of two new questions, one more of six old ones"
    done = understudy("plan", path, out)
    assert row(done.output, "requests") == "2"
    assert (contents(out), len(server.asked)) == (before, asked)
    elsewhere = understudy("plan", path, tmp_path / "new", f"ledger={out / 'ledger.sqlite'}")
    assert row(elsewhere.output, "requests") == "2", "a ledger that is shared counts too"


def test_a_step_that_is_done_has_no_price(tmp_path: Path, server: Adder) -> None:
    path = recipe_file(tmp_path, server)
    do(recipe_of(tmp_path, server), tmp_path / "out", "data", "annotate")
    assert "requests" not in understudy("plan", path, tmp_path / "out").output


def test_who_is_free_has_no_price_and_is_not_asked_by_a_pilot(tmp_path: Path) -> None:
    assert costs(small.recipe(), tmp_path / "out", pilot=5) == []
    assert not (tmp_path / "out").exists()


def test_questions_on_the_hub_are_not_fetched_to_be_counted(tmp_path: Path, server: Adder) -> None:
    recipe = recipe_of(tmp_path, server, "task=gsm8k", "prompt.style=few_shot")
    assert costs(recipe, tmp_path / "out", pilot=5) is None
    assert list(lines(None)) == [
        "The teacher's cost is not estimated: the questions are on the Hub and not prepared yet."
    ]
    assert server.bodies == []


def test_rounds_are_said_to_be_counted_as_if_all_were_needed(tmp_path: Path, server: Adder) -> None:
    keys = ("sampling.n=3", "sampling.until_correct=1")
    said = understudy("plan", recipe_file(tmp_path, server), tmp_path / "out", *keys)
    assert row(said.output, "requests") == "18"
    assert IN_ROUNDS in said.output
    assert IN_ROUNDS not in understudy("plan", recipe_file(tmp_path, server), tmp_path / "out").output


def test_a_reader_is_said_to_be_asked_though_nobody_knows_what(tmp_path: Path, server: Adder) -> None:
    reader = f"audit={{reader: {{name: openai, model: reader, base_url: '{server.url}'}}, read: 150}}"
    said = understudy("plan", recipe_file(tmp_path, server), tmp_path / "out", reader)
    assert "asks reader for 300 answers at most" in said.output
    free = understudy("plan", recipe_file(tmp_path, server), tmp_path / "out", "audit.reader=lexical")
    assert "answers at most" not in free.output


def test_who_answers_from_a_students_text_is_said_to_be_asked(tmp_path: Path, server: Adder) -> None:
    recipe = recipe_of(tmp_path, server, "methods=[answer_only, lm_guided]")
    notes = [cost.note for cost in costs(recipe, tmp_path / "out") or [] if not cost.estimate]
    assert notes == ["asks adder for one answer to each question for each of its stages"]


# ---------------------------------------------------------------- with a pilot


def test_a_pilot_pays_for_its_questions_once_and_the_run_for_the_rest(tmp_path: Path, server: Adder) -> None:
    path, out = recipe_file(tmp_path, server, range(20)), tmp_path / "out"
    said = understudy("plan", path, out, "--pilot", "5", "sampling.n=2", PRICE)
    assert said.exit_code == 0, said.output
    assert sorted(server.asked) == [(first, n) for first in (0, 4, 8, 12, 16) for n in (0, 1)]
    assert server.new() == 10
    assert row(said.output, "estimated from") == "the answers to 5 questions"
    # Two samples came in one request, whose prompt the server counts once: 5 + 5 tokens for each sample.
    assert row(said.output, "requests") == "30"
    assert row(said.output, "prompt tokens") == "about 150 (95 %: 150 to 150)"
    assert row(said.output, "completion tokens") == "about 150 (95 %: 150 to 150)"
    assert row(said.output, "cost").startswith("about $450.00 (95 %: $450.00 to $450.00) at ")
    again = understudy("plan", path, out, "--pilot", "5", "sampling.n=2", PRICE)
    assert row(again.output, "requests") == "30"
    assert server.new() == 0, "the same pilot is in the ledger"
    recipe = recipe_of(tmp_path, server, "sampling.n=2", PRICE, train=range(20))
    result = do(recipe, out, "data", "annotate")["annotate"]
    assert server.new() == 30
    assert (result["asked"], result["reused"]) == (30, 10)
    # What the pilot paid, 150 dollars, and the 450 that it foretold.
    assert (result["bought"]["completions"], result["bought"]["usd"]) == (40, pytest.approx(600))


def test_a_pilot_has_an_interval_that_is_as_wide_as_answers_differ(tmp_path: Path) -> None:
    def says(body: dict[str, Any]) -> Reply:
        first = int(re.findall(r"Question: (\d+) \+", body["messages"][-1]["content"])[-1])
        return Reply(
            body={
                "choices": [{"message": {"content": f"The answer is {first + 1}."}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 10 if first < 10 else 20},
            }
        )

    with Loopback(otherwise=says) as server:
        recipe = recipe_of(tmp_path, server, train=range(20))
        [cost] = costs(recipe, tmp_path / "out", pilot=2) or []
    assert cost.estimate is not None
    known = cost.estimate.completion_tokens
    # Answers of 10 and 20 tokens: 18 x 15, and t(0.975, 1) x 18 x 7.071 x sqrt(1/2 + 1/18) to either side.
    assert known.value == pytest.approx(270)
    assert known.interval is not None
    assert known.interval[0] == 0.0
    assert known.interval[1] == pytest.approx(270 + 12.7062 * 18 * 7.0711 * 0.745356, rel=1e-4)


def test_a_pilot_of_more_questions_than_there_are_leaves_nothing_to_buy(
    tmp_path: Path, server: Adder
) -> None:
    said = understudy("plan", recipe_file(tmp_path, server), tmp_path / "out", "--pilot", "99")
    assert (row(said.output, "requests"), server.new()) == ("0", 6)


def test_a_pilot_asks_as_the_policy_does(tmp_path: Path, server: Adder) -> None:
    keys = ("sampling.n=4", "sampling.until_correct=1")
    said = understudy("plan", recipe_file(tmp_path, server), tmp_path / "out", "--pilot", "3", *keys)
    assert said.exit_code == 0, said.output
    assert sorted(server.asked) == [(0, 0), (2, 0), (4, 0)], "the first answers were right"


def test_a_pilot_keeps_to_the_budget(tmp_path: Path, server: Adder) -> None:
    path, out = recipe_file(tmp_path, server), tmp_path / "out"
    said = understudy("plan", path, out, "--pilot", "5", "budget.requests=3", "teacher.concurrency=1")
    assert said.exit_code == 7
    assert re.search(r"budget of 3 requests reaches no further.*raise budget\.requests to 5", said.stderr)
    assert server.new() == 3


def test_a_pilot_without_one_answer_is_an_error(tmp_path: Path) -> None:
    with Loopback(otherwise=lambda body: Reply(503, "busy")) as server:
        recipe = recipe_of(tmp_path, server)
        with pytest.raises(TeacherError, match=r"^the pilot got no answer \(unanswered: HTTP 503: busy"):
            costs(recipe, tmp_path / "out", pilot=2)


def test_a_teacher_that_the_run_trains_first_has_no_pilot(tmp_path: Path) -> None:
    teacher = "teacher={name: student, split: teacher, student: {name: causal, config: tiny}}"
    recipe = small.recipe(teacher, "prompt.style=bare", PRICE)
    [cost] = costs(recipe, tmp_path / "out", pilot=5) or []
    assert cost.estimate is not None
    assert (cost.estimate.requests, cost.estimate.pilot) == (60, 0)
    assert not (tmp_path / "out").exists()
