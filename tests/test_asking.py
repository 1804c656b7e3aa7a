"""Steps that ask a teacher, by what the server saw: policies, prices, budgets, ledgers, keys."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import small
from adder import KEY, Adder, do, reasons, recipe_of, step_of, sums
from understudy import reporting
from understudy.annotate import Job
from understudy.asking import ask, is_free, price_for, price_of_teacher, run_name
from understudy.errors import BudgetError, RecipeError, TeacherError
from understudy.graph import Graph
from understudy.ledger._rows import unpack
from understudy.metering import BudgetSpec, OverBudgetError, Spent
from understudy.policies import PolicySpec
from understudy.prices import PriceSpec
from understudy.prompts import PromptSpec
from understudy.recipe import Recipe
from understudy.records import load_completions
from understudy.roles import Completer, Identity
from understudy.shelves import load
from understudy.store import Store
from understudy.teachers.openai import OpenAI
from understudy.teachers.openai_batch import OpenAIBatch
from understudy.teachers.template import Template
from understudy.teachers.vllm import VLLM
from understudy.types import Completion, Question, Sampling

ANNOTATED = ("data", "annotate")
UNKNOWN: dict[str, Any] = {"prices": [], "teacher": {"name": "openai", "model": "adder"}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Adder]:
    monkeypatch.setenv("ADDER_KEY", KEY)
    with Adder() as serving:
        yield serving


WRONG = ("I guess. The answer is 5000.", "stop")


# ---------------------------------------------------------------- policies


def test_until_correct_asks_again_only_where_nothing_was_right(tmp_path: Path) -> None:
    def says(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
        return sums(first, sample, body) if first % 2 == 0 or sample == 2 else WRONG

    with Adder(says) as server:
        recipe = recipe_of(tmp_path, server, "sampling.n=4", "sampling.until_correct=1")
        result = do(recipe, tmp_path / "out", *ANNOTATED)["annotate"]
    each = Counter(first for first, _ in server.asked)
    assert each == {0: 1, 1: 3, 2: 1, 3: 3, 4: 1, 5: 3}
    assert [(part["questions"], part["asked"], part["right"]) for part in result["rounds"]] == [
        (6, 6, 3),
        (3, 3, 0),
        (3, 3, 3),
    ]
    assert (result["asked"], result["reused"], result["bought"]["completions"]) == (12, 0, 12)


def test_where_all_failed_the_answer_is_shown_and_what_comes_of_it_is_marked(tmp_path: Path) -> None:
    def says(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
        shown = "Correct answer:" in body["messages"][-1]["content"]
        return sums(first, sample, body) if first % 2 == 0 or shown else WRONG

    with Adder(says) as server:
        recipe = recipe_of(tmp_path, server, "sampling.n=2", "sampling.hint=failed", "evaluate.teacher=true")
        results = do(recipe, tmp_path / "out", *ANNOTATED, "curate", "ask")
    shown = [body for body in server.bodies if "Correct answer:" in body["messages"][-1]["content"]]
    assert len(shown) == 3, "one for each question that was not answered right; none on the test split"
    assert (results["annotate"]["asked"], results["annotate"]["hinted"]) == (15, 3)
    folder = Store(tmp_path / "out").folder(step_of(recipe, "annotate"))
    hinted = [said for said in load_completions(folder) if said.variant]
    assert {(said.variant, said.sample) for said in hinted} == {("hinted", 10_000)}
    assert len({said.question_id for said in hinted}) == 3
    assert results["curate"]["questions_kept"] == 6, "what was right with the answer shown is kept too"


def test_what_was_cut_off_is_asked_for_again_with_more_tokens(tmp_path: Path) -> None:
    def says(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
        text, _ = sums(first, sample, body)
        return text, "length" if first % 2 and body["max_tokens"] < 200 else "stop"

    with Adder(says) as server:
        recipe = recipe_of(tmp_path, server, "sampling.truncated=retry", "sampling.retry_max_tokens=200")
        results = do(recipe, tmp_path / "out", *ANNOTATED, "curate")
    assert Counter(body["max_tokens"] for body in server.bodies) == {50: 6, 200: 3}
    assert [part["cut_off"] for part in results["annotate"]["rounds"]] == [3, 0]
    assert results["curate"]["kept"] == 6


def test_temperatures_and_styles_reach_the_server(tmp_path: Path, server: Adder) -> None:
    keys = ("sampling.n=2", "sampling.temperatures=[0.2, 0.9]", "sampling.styles=[zero_shot, bare]")
    do(recipe_of(tmp_path, server, *keys), tmp_path / "out", *ANNOTATED)
    seen = Counter(
        (body["temperature"], body["seed"], "step by step" in body["messages"][-1]["content"])
        for body in server.bodies
    )
    assert seen == {(0.2, 0, True): 6, (0.9, 1, False): 6}


def test_the_teacher_is_asked_on_a_test_split_once_greedily_and_without_the_answer(
    tmp_path: Path, server: Adder
) -> None:
    keys = ("sampling.n=3", "sampling.hint=always", "sampling.temperatures=[0.5]", "evaluate.teacher=true")
    recipe = recipe_of(tmp_path, server, *keys)
    result = do(recipe, tmp_path / "out", "data", "ask")["ask/test"]
    assert sorted(server.asked) == [(1000, 0), (1001, 0)]
    assert {(body["temperature"], body.get("n", 1)) for body in server.bodies} == {(0.0, 1)}
    assert not any("Correct answer" in body["messages"][-1]["content"] for body in server.bodies)
    assert (result["hinted"], result["answered"], result["unanswered"]) == (0, 2, 0)


def test_what_was_not_answered_leaves_the_step_open_and_only_that_is_asked_for_again(
    tmp_path: Path,
) -> None:
    ill = {3}

    def says(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
        return ("", "error") if first in ill else sums(first, sample, body)

    with Adder(says) as server:
        recipe, out = recipe_of(tmp_path, server), tmp_path / "out"
        with pytest.raises(TeacherError, match=r"^1 of 6 completions were not answered .*unanswered=drop$"):
            do(recipe, out, *ANNOTATED)
        assert not Store(out).done(step_of(recipe, "annotate"))
        ill.clear()
        server.new()
        result = do(recipe, out, *ANNOTATED)["annotate"]
    assert server.asked == [(3, 0)]
    assert (result["asked"], result["reused"]) == (1, 5)
    assert result["bought"]["completions"] == 6, "the step has paid for six, in two starts"


# ---------------------------------------------------------------- prices


def test_a_step_says_what_it_paid_by_the_recipes_price(tmp_path: Path, server: Adder) -> None:
    recipe = recipe_of(tmp_path, server, "price={input: 1, output: 2, per: 1}", "evaluate.teacher=true")
    results = do(recipe, tmp_path / "out", *ANNOTATED, "ask")
    # 10 prompt tokens at a dollar and 5 of an answer at two are 20 dollars.
    assert results["annotate"]["bought"]["usd"] == pytest.approx(6 * 20)
    assert results["ask/test"]["bought"]["usd"] == pytest.approx(2 * 20)
    table = list(reporting._spending(Graph(recipe), Store(tmp_path / "out")))
    assert [(row["step"], row["bought"], row["usd"]) for row in table] == [
        ("annotate", 6, pytest.approx(120)),
        ("ask/test", 2, pytest.approx(40)),
    ]
    assert (table[0]["prompt_tokens"], table[0]["completion_tokens"]) == (60, 30)


def test_a_price_that_nobody_knows_is_not_nothing(tmp_path: Path, server: Adder) -> None:
    out = tmp_path / "out"
    unknown = recipe_of(tmp_path, server)
    bought = do(unknown, out, *ANNOTATED)["annotate"]["bought"]
    assert (bought["unpriced_prompt_tokens"], bought["unpriced_completion_tokens"]) == (60, 30)
    assert [row["usd"] for row in reporting._spending(Graph(unknown), Store(out))] == [None]
    # A price that is given later runs nothing again, and the table counts what was bought at it.
    server.new()
    later = recipe_of(tmp_path, server, "price={input: 1, output: 2, per: 1}")
    do(later, out, *ANNOTATED)
    assert server.new() == 0
    assert [row["usd"] for row in reporting._spending(Graph(later), Store(out))] == [pytest.approx(120)]


def test_what_was_paid_stays_when_the_price_is_taken_out_of_the_recipe(tmp_path: Path, server: Adder) -> None:
    out = tmp_path / "out"
    do(recipe_of(tmp_path, server, "price={input: 1, output: 2, per: 1}"), out, *ANNOTATED)
    table = reporting._spending(Graph(recipe_of(tmp_path, server)), Store(out))
    assert [row["usd"] for row in table] == [pytest.approx(120)]


@pytest.mark.parametrize("endpoint", ["", "local", "recorded", "transformers", "vllm"])
def test_a_machine_of_ones_own_costs_nothing_unless_the_recipe_says_so(endpoint: str) -> None:
    who = Identity(endpoint, "some/model")
    assert is_free(who, UNKNOWN)
    price = price_for(who, UNKNOWN)
    assert price is not None
    assert price.usd(1_000_000, 1_000_000) == 0.0


def test_a_rented_machine_has_the_price_of_the_recipe() -> None:
    spec = VLLM(model="some/model")
    how = {"prices": [["vllm", "some/model", {"input": 1, "output": 1}]]}
    assert not is_free(spec.identity(), how)
    price = price_of_teacher(spec, how)
    assert price is not None
    assert price.usd(1_000_000, 0) == 1.0


def test_the_recipes_price_is_the_teachers_and_no_readers() -> None:
    teacher, reader = OpenAI(model="adder", base_url="http://a/v1"), OpenAI(model="gpt-4o-mini-2024-07-18")
    who = teacher.identity()
    how = {"prices": [[who.endpoint, who.model, {"input": 100, "output": 100}]]}
    taught, read = price_of_teacher(teacher, how), price_of_teacher(reader, how)
    assert taught is not None
    assert taught.input == 100
    assert read == price_for(reader.identity(), {})
    assert read is not None
    assert read.input < 1
    other = OpenAI(model="adder", base_url="http://b/v1")
    assert price_of_teacher(other, how) is None, "the same name elsewhere is somebody else"


def test_a_batch_costs_the_batches_price() -> None:
    live = OpenAI(model="gpt-4o-mini-2024-07-18")
    batch = OpenAIBatch(model=live.model)
    full, half = (price_of_teacher(one, {"teacher": one.model_dump(mode="json")}) for one in (live, batch))
    assert full is not None
    assert half is not None
    assert half.input == full.input / 2


# ---------------------------------------------------------------- budgets


def test_a_budget_in_dollars_needs_a_price(tmp_path: Path, server: Adder) -> None:
    with pytest.raises(RecipeError, match=r"the price of adder at .* is not known"):
        do(recipe_of(tmp_path, server, "budget.usd=1"), tmp_path / "out", *ANNOTATED)
    assert server.asked == []


def test_a_budget_counts_what_all_steps_of_the_run_have_bought(tmp_path: Path, server: Adder) -> None:
    out = tmp_path / "out"
    keys = ("evaluate.teacher=true", "teacher.concurrency=1")
    with pytest.raises(BudgetError, match=r"to finish this step takes about 1 more request\b"):
        do(recipe_of(tmp_path, server, "budget.requests=7", *keys), out, *ANNOTATED, "ask")
    assert server.new() == 7, "six to annotate, and one of two on the test split"
    do(recipe_of(tmp_path, server, "budget.requests=8", *keys), out, *ANNOTATED, "ask")
    assert server.new() == 1


def test_who_writes_nothing_new_is_not_stopped_by_a_budget(tmp_path: Path) -> None:
    """The word counter that reads the rationales is free, whatever it is asked."""
    keys = ("budget={requests: 6, usd: 1000}", "price={input: 1, output: 2, per: 1}", "audit.reader=lexical")
    with Adder(reasons) as server:
        recipe = recipe_of(tmp_path, server, *keys)
        do(recipe, tmp_path / "out", *ANNOTATED, "curate", "audit")
    assert len(server.asked) == 6
    read = (Store(tmp_path / "out").folder(step_of(recipe, "audit")) / "sections.json").read_text()
    assert "lexical" in read, "it was asked"
    table = list(reporting._spending(Graph(recipe), Store(tmp_path / "out")))
    assert [row["step"] for row in table] == ["annotate"]


def test_what_a_reader_was_paid_stands_in_the_table(tmp_path: Path) -> None:
    with Adder(reasons) as server:
        reader = f'{{name: openai, model: reader, base_url: "{server.url}", endpoint: "http://reader"}}'
        keys = (f"audit.reader={reader}", "price={input: 1, output: 2, per: 1}")
        recipe = recipe_of(tmp_path, server, *keys)
        do(recipe, tmp_path / "out", *ANNOTATED)
        server.new()
        do(recipe, tmp_path / "out", "curate", "audit")
        asked = server.new()
    assert asked == 12, "six rationales to read, and six questions without"
    rows = {row["step"]: row for row in reporting._spending(Graph(recipe), Store(tmp_path / "out"))}
    assert (rows["audit"]["model"], rows["audit"]["bought"], rows["audit"]["usd"]) == ("reader", 12, None)
    assert rows["annotate"]["usd"] == pytest.approx(120)


def test_who_answers_from_a_students_text_stands_in_the_table_without_the_student(tmp_path: Path) -> None:
    with Adder(reasons) as server:
        keys = ("methods=[answer_only, lm_guided]", "price={input: 1, output: 2, per: 1}")
        recipe = recipe_of(tmp_path, server, *keys)
        do(recipe, tmp_path / "out", *ANNOTATED, "curate", "train")
        server.new()
        do(recipe, tmp_path / "out", "predict")
    rows = {row["step"]: row for row in reporting._spending(Graph(recipe), Store(tmp_path / "out"))}
    answered = rows["predict/causal/lm_guided/seed0/test"]
    assert (answered["model"], answered["bought"], answered["usd"]) == ("adder", 2, pytest.approx(40))
    assert rows.keys() == {"annotate", "predict/causal/lm_guided/seed0/test"}


def test_the_sentence_of_a_spent_budget_comes_home_from_a_worker_process() -> None:
    error = OverBudgetError(BudgetSpec(requests=1), Spent(1), {"requests": 1.0}, {"requests": 1.0})
    home = pickle.loads(pickle.dumps(error))
    assert (type(home), str(home), home.exit_code) == (BudgetError, str(error), 7)


# ---------------------------------------------------------------- ledgers


def test_a_second_run_with_the_same_ledger_pays_nothing(tmp_path: Path, server: Adder) -> None:
    keys = (f"ledger={tmp_path / 'shared.sqlite'}", "price={input: 1, output: 2, per: 1}")
    recipe = recipe_of(tmp_path, server, *keys)
    first = do(recipe, tmp_path / "one" / "out", *ANNOTATED)["annotate"]
    assert server.new() == 6
    second = do(recipe, tmp_path / "two" / "out", *ANNOTATED)["annotate"]
    assert server.new() == 0
    assert (first["asked"], first["reused"], second["asked"], second["reused"]) == (6, 0, 0, 6)
    assert first["bought"]["usd"] == pytest.approx(120)
    assert (second["bought"]["completions"], second["bought"]["usd"]) == (0, 0.0), "the first one paid"
    assert not (tmp_path / "two" / "out" / "ledger.sqlite").exists()
    written = [
        (Store(tmp_path / name / "out").folder(step_of(recipe, "annotate")) / "completions.jsonl").read_text()
        for name in ("one", "two")
    ]
    assert written[0] == written[1] != ""


def test_without_it_each_run_pays_for_itself(tmp_path: Path, server: Adder) -> None:
    recipe = recipe_of(tmp_path, server)
    for name in ("one", "two"):
        do(recipe, tmp_path / name, *ANNOTATED)
        assert server.new() == 6


def test_a_row_names_its_step_and_in_a_shared_ledger_its_run() -> None:
    folder = Path("/runs/mine/steps/annotate-0123")
    assert run_name({"ledger": None}, folder) == "annotate-0123"
    mine = run_name({"ledger": "shared.sqlite"}, folder)
    assert mine.startswith("mine-")
    assert mine.endswith("/annotate-0123")
    assert mine != run_name({"ledger": "shared.sqlite"}, Path("/other/mine/steps/annotate-0123"))


@dataclass
class Echo:
    """Says the prompt back."""

    identity: Identity

    def complete(self, requests: Any, sampling: Sampling) -> Iterator[list[tuple[int, Completion]]]:
        for position, request in enumerate(requests):
            yield [(position, Completion(request.question.id, n, "said", "stop")) for n in request.samples]

    def close(self) -> None:
        """Nothing is open."""


class Loaded(Template):
    """A teacher that knows only when it is loaded which commit it is."""

    def identity(self) -> Identity:
        return Identity("transformers", "some/model", "main")

    def build(self, model: Path | None) -> Completer:
        return Echo(replace(self.identity(), revision="c0ffee"))


@pytest.mark.parametrize(("trained", "filed"), [("", "c0ffee"), ("hash", "hash")])
def test_answers_are_filed_by_the_weights_that_spoke(tmp_path: Path, trained: str, filed: str) -> None:
    """The commit that was loaded, not the branch that was named; or the hash of what the run has trained."""
    job = Job(
        [Question("3 + 1?", "4")], load("tasks", "jsonl"), PromptSpec(style="bare"), Sampling(), PolicySpec()
    )
    how = {"teacher": {"name": "template"}}
    ask(job, Loaded(), None, how, tmp_path / "ledger.sqlite", "a step", trained).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        assert db.execute("SELECT revision, usd, run FROM completions").fetchall() == [(filed, 0.0, "a step")]


# ---------------------------------------------------------------- what runs again


UNCHANGED = [
    "teacher.concurrency=3",
    "teacher.timeout_s=7",
    "teacher.requests_per_minute=6000",
    "teacher.api_key_env=OTHER_KEY",
    "budget.requests=99",
    "budget.usd=null",
    "price={input: 1, output: 1}",
    "ledger=elsewhere.sqlite",
    "ray={}",
]
CHANGED = [
    'teacher.endpoint="http://other"',
    "teacher.model=other",
    "teacher.extra={top_k: 3}",
    "sampling.max_tokens=51",
    "prompt.system=Be brief.",
]


@pytest.mark.parametrize("key", UNCHANGED)
def test_how_a_teacher_is_asked_runs_no_step_again(tmp_path: Path, server: Adder, key: str) -> None:
    plain, changed = (Graph(recipe_of(tmp_path, server, *keys)) for keys in ((), (key,)))
    assert [step.hash for step in plain.steps] == [step.hash for step in changed.steps]
    (one,), (other,) = (list(made.annotated.values()) for made in (plain, changed))
    assert one.how != other.how or key == "budget.usd=null", "it does reach the step"


@pytest.mark.parametrize("key", CHANGED)
def test_who_is_asked_and_what_is_asked_again(tmp_path: Path, server: Adder, key: str) -> None:
    out = tmp_path / "out"
    do(recipe_of(tmp_path, server), out, *ANNOTATED)
    assert server.new() == 6
    do(recipe_of(tmp_path, server, key), out, *ANNOTATED)
    assert server.new() == 6
    do(recipe_of(tmp_path, server), out, *ANNOTATED)
    assert server.new() == 0, "and back again costs nothing"


# ---------------------------------------------------------------- the report, and the key


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    """A whole run whose server says its key aloud, in a text and in an error."""

    def says(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
        text, reason = sums(first, sample, body)
        return (f"Bearer {KEY} was sent. {text}", reason) if first == 2 else (text, reason)

    folder = tmp_path_factory.mktemp("asked")
    with pytest.MonkeyPatch.context() as patch, Adder(says) as server:
        patch.setenv("ADDER_KEY", KEY)
        recipe = recipe_of(folder, server, "evaluate.teacher=true")
        small.run(recipe, folder / "out")
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}", "or there is nothing to be found"
    return folder / "out", recipe


def test_the_report_says_what_was_bought(finished: tuple[Path, Recipe]) -> None:
    out, _ = finished
    told = json.loads((out / "report.json").read_text(encoding="utf-8"))["spending"]
    assert told == [
        {
            "step": step,
            "model": "adder",
            "split": split,
            "bought": bought,
            "prompt_tokens": 10 * bought,
            "completion_tokens": 5 * bought,
            "usd": None,
        }
        for step, split, bought in (("annotate", "train", 6), ("ask/test", "test", 2))
    ]
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "| annotate | adder | train | 6 | 60 | 30 | not known |" in markdown
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "What was bought from teachers" in page
    assert "not known" in page


def test_a_price_changes_the_report_of_a_finished_run_and_nothing_else(
    finished: tuple[Path, Recipe], tmp_path: Path
) -> None:
    out = shutil.copytree(finished[0], tmp_path / "copy")
    priced = finished[1].model_copy(update={"price": PriceSpec(input=1, output=2, per=1)})
    outcome = small.run(priced, out)
    assert outcome.ran == 0
    assert [row["usd"] for row in outcome.report["spending"]] == [120.0, 40.0]
    assert "| 120.0000 |" in (out / "report.md").read_text(encoding="utf-8")
    assert "120.0000" in (out / "report.html").read_text(encoding="utf-8")


def test_a_teacher_that_costs_nothing_has_no_table(tmp_path: Path) -> None:
    recipe = small.recipe()
    do(recipe, tmp_path, *ANNOTATED)
    assert list(reporting._spending(Graph(recipe), Store(tmp_path))) == []


def test_no_file_of_a_run_holds_the_key(finished: tuple[Path, Recipe]) -> None:
    out, _ = finished
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"ledger.sqlite", "report.html", "recipe.yaml", "step.json", "completions.jsonl"} <= {
        path.name for path in files
    }
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
    with closing(sqlite3.connect(out / "ledger.sqlite")) as db:
        replies = [unpack(body) for (body,) in db.execute("SELECT body FROM replies")]
        texts = [text for (text,) in db.execute("SELECT text FROM completions WHERE endpoint LIKE 'http%'")]
    assert len(replies) == 8
    assert not any(KEY in reply for reply in replies), "what is compressed is looked at unpacked"
    assert sum("was sent" in text for text in texts) == 1, "the server did say it"
