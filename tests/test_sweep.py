"""The sweep: what it refuses, what its variants share, what it pays, and what its report says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import small
from adder import COMPLETION_TOKENS, PROMPT_TOKENS, Adder, recipe_file, sums
from understudy import sweep as sweeps
from understudy.cli import main
from understudy.engines import here, processes
from understudy.errors import BudgetError, DataError, RecipeError, TeacherError
from understudy.events import Event, ignore
from understudy.preflight import prepared_of
from understudy.report import Arm
from understudy.report.study import Role
from understudy.store import Store
from understudy.sweep import Axis, Sweep, Variant
from understudy.sweep.assemble import assemble
from understudy.sweep.axes import axes_of, spread
from understudy.sweep.costs import Cost, bought, cost_of
from understudy.sweep.curves import Measured
from understudy.sweep.drawing import accuracy_ticks, cost_unit
from understudy.sweep.listing import accuracies, prices
from understudy.sweep.pages import html, markdown
from understudy.types import Judged, Prediction, Question, Verdict, Written

N = 6
"""Training questions of the server that can add."""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(small.RECIPE, encoding="utf-8")
    return path


def load(recipe: Path, *axes: str, **more: Any) -> Sweep:
    return sweeps.load(recipe, axes, recipe.parent / "out", **more)[0]


# ---------------------------------------------------------------- axes


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("data.train=250,500", ("250", "500")),
        ("data.train=500, 60 ,250", ("60", "250", "500")),
        ("teacher.model=b/c-2,a", ("b/c-2", "a")),
        ("seeds=[0],[0, 1]", ("[0]", "[0, 1]")),
        ("students.0={name: causal, config: tiny},seq2seq", ("{name: causal, config: tiny}", "seq2seq")),
        ('title="a, b",c', ('"a, b"', "c")),
    ],
)
def test_values_stand_between_commas_and_numbers_are_put_in_order(
    argument: str, values: tuple[str, ...]
) -> None:
    assert axes_of([argument]) == (Axis(argument.partition("=")[0], values),)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data.train"], "the axis 'data.train' is not of the form"),
        (["=1,2"], "not of the form"),
        (["data.train=250"], "'data.train' has 1 values"),
        (["data.train="], "'data.train' has 0 values"),
        (["data.train=1,2,1"], "'data.train' has the value 1 twice"),
        (["data.train=[1,2"], "the values of the axis 'data.train' are not YAML"),
        (["data.train=1],[2"], "are not YAML"),
        (["questions=10,20"], "'questions' takes shares above 0 and up to 1"),
        (["questions=a,b"], "'questions' takes shares"),
        (["rationales=1,2", "sampling.n=4,8"], "both axes change 'sampling.n'"),
        (["a=1,2", "b=1,2", "c=1,2"], "one axis or two"),
        ([], "one axis or two"),
    ],
)
def test_what_is_no_axis_is_refused(arguments: Sequence[str], says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        axes_of(arguments)
    assert says in str(refused.value)


def test_sizes_are_spread_by_their_logarithm_and_names_evenly() -> None:
    assert spread((1, 10, 100)) == pytest.approx((0, 0.5, 1))
    assert spread((10, 20, 30)) == pytest.approx((0, 0.5, 1))
    assert Axis("teacher.model", ("b", "a", "c")).places() == (0, 0.5, 1)


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (["data.trian=20,40"], "unknown key 'data.trian'; did you mean 'data.train'?"),
        (["data.train=20,many"], "in the override data.train=many"),
        (["students.3.config=tiny,demo"], "'students' is a list of 1, counted from 0"),
        (["students.0.config=tiny,vast"], "'vast' is not one of"),
        (["workers=1,2"], "nothing differs between workers=1 and workers=2"),
        (["budget.requests=5,6"], "nothing differs between budget.requests=5 and"),
        (["data.test=6,12"], "data.test=12 is evaluated on other questions than data.test=6"),
    ],
)
def test_a_wrong_axis_is_refused_before_anything_runs(recipe: Path, axes: list[str], says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load(recipe, *axes)
    assert says in str(refused.value)
    assert not (recipe.parent / "out").exists()


def test_other_questions_may_be_asked_for(recipe: Path) -> None:
    assert len(load(recipe, "data.test=6,12", other_questions=True).variants) == 2


def test_shares_are_of_the_questions_that_the_recipe_trains_on(recipe: Path) -> None:
    sizes = [variant.recipe.data.train for variant in load(recipe, "questions=0.01,0.25,1").variants]
    assert sizes == [1, 15, 60]
    limits = [
        variant.recipe.data.train
        for variant in load(recipe, "questions=0.5,1", overrides=["data.train=20"]).variants
    ]
    assert limits == [10, 20]


def test_every_combination_of_two_axes_is_a_variant(recipe: Path) -> None:
    found = load(recipe, "data.train=20,40", "students.0.config=tiny,demo").variants
    assert [variant.label for variant in found] == [
        "data.train-20_students.0.config-tiny",
        "data.train-20_students.0.config-demo",
        "data.train-40_students.0.config-tiny",
        "data.train-40_students.0.config-demo",
    ]
    last = found[-1].recipe
    assert (last.data.train, last.students[0].student.model_dump()["config"]) == (40, "demo")


# ---------------------------------------------------------------- what is shared


def test_a_smaller_train_set_begins_a_larger_one_and_the_rest_is_the_same(three: Sweep) -> None:
    prepared = [prepared_of(graph, Store(Path("nowhere"), create=False)) for graph in three.graphs]
    splits = [part.splits for part in prepared if part is not None]
    assert [len(split["train"]) for split in splits] == [10, 20, 40]
    for less, more in pairwise(splits):
        assert less["train"] == more["train"][: len(less["train"])]
        assert (less["dev"], less["test"]) == (more["dev"], more["test"])


def test_another_training_budget_shares_all_that_stands_before_it(recipe: Path) -> None:
    found = load(recipe, "train.budget.amount=2,4,8")
    users = {shared.step.name: len(shared.labels) for shared in found.steps}
    assert len(users) == len(found.steps), "the steps of a sweep have names of their own"
    shared = {name for name, many in users.items() if many == 3}
    assert shared == {"data", "annotate", "curate", "audit"}
    assert sum(many == 1 for many in users.values()) == len(users) - len(shared) == 3 * 4


def test_a_step_comes_after_all_that_it_needs(recipe: Path) -> None:
    seen: set[str] = set()
    for shared in load(recipe, "sampling.n=1,2", overrides=["sampling.temperature=0.7"]).steps:
        assert {need.hash for need in shared.step.needs.values()} <= seen
        seen.add(shared.step.hash)


# ---------------------------------------------------------------- what is paid


@pytest.fixture
def server() -> Iterator[Adder]:
    with Adder() as serving:
        yield serving


def annotate(found: Sweep, out: Path) -> None:
    """What is not done of all that stands before the students."""
    store = Store(out)
    wanted = [shared.step for shared in found.steps if shared.step.kind in ("data", "annotate", "curate")]
    here.run([step for step in wanted if not store.done(step)], store, ignore, 1)


def test_more_rationales_pay_for_the_largest_number_alone(tmp_path: Path, server: Adder) -> None:
    path = recipe_file(tmp_path, server, range(N))
    found = load(path, "sampling.n=1,2,4")
    annotate(found, tmp_path / "out")
    assert sorted(server.asked) == [(first, sample) for first in range(N) for sample in range(4)]
    assert len(server.bodies) == N, "the prompt of a question is paid for once"


def test_more_questions_pay_for_the_most_alone(tmp_path: Path, server: Adder) -> None:
    path = recipe_file(tmp_path, server, range(N))
    annotate(load(path, "data.train=2,4,6"), tmp_path / "out")
    assert sorted(server.asked) == [(first, 0) for first in range(N)]


def test_a_variant_costs_what_it_would_cost_by_itself(tmp_path: Path, server: Adder) -> None:
    path = recipe_file(tmp_path, server, range(N))
    found = load(path, "sampling.n=1,4", overrides=["price={input: 1, output: 2, per: 1}"])
    annotate(found, tmp_path / "out")
    costs = [cost_of(graph, Store(tmp_path / "out")) for graph in found.graphs]
    for samples, cost in zip((1, 4), costs, strict=True):
        tokens = (N * PROMPT_TOKENS, N * samples * COMPLETION_TOKENS)
        assert cost == Cost(N * samples, *tokens, usd=tokens[0] + 2.0 * tokens[1], free=False)


def test_without_a_price_the_cost_is_unknown(tmp_path: Path, server: Adder) -> None:
    found = load(recipe_file(tmp_path, server, range(N)), "sampling.n=1,2")
    annotate(found, tmp_path / "out")
    assert [cost_of(graph, Store(tmp_path / "out")).usd for graph in found.graphs] == [None, None]


def test_one_budget_holds_for_all_teachers_of_a_sweep(tmp_path: Path, server: Adder) -> None:
    path, out = recipe_file(tmp_path, server, range(N)), tmp_path / "out"
    with pytest.raises(BudgetError, match="the budget of 8 requests"):
        annotate(load(path, "teacher.model=one,two", overrides=["budget.requests=8"]), out)
    assert server.new() == 8
    annotate(load(path, "teacher.model=one,two", overrides=["budget.requests=12"]), out)
    assert server.new() == 4, "what was answered before the budget stopped it is not asked again"


def test_an_outage_costs_only_what_was_not_answered(tmp_path: Path) -> None:
    broken = True

    def says(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
        if broken and first == N - 1:
            raise ValueError("out of order")
        return sums(first, sample, body)

    with Adder(says) as server:
        path, out = recipe_file(tmp_path, server, range(N)), tmp_path / "out"
        with pytest.raises(TeacherError):
            annotate(load(path, "sampling.n=1,2"), out)
        broken = False
        server.new()
        annotate(load(path, "sampling.n=1,2"), out)
        assert sorted(server.asked) == [(N - 1, 0), (N - 1, 1)]


def test_the_plan_counts_what_is_left_to_buy_once(tmp_path: Path, server: Adder) -> None:
    path, out = recipe_file(tmp_path, server, range(N)), tmp_path / "out"
    found = load(path, "sampling.n=1,2,4")
    before = sweeps.estimates(found, out)
    assert before is not None
    assert [cost.estimate.requests for cost in before if cost.estimate] == [4 * N, 0, 0]
    assert not out.exists()
    annotate(load(path, "sampling.n=1,2"), out)
    after = sweeps.estimates(found, out)
    assert after is not None
    assert [cost.estimate.requests for cost in after if cost.estimate] == [2 * N]


# ---------------------------------------------------------------- from recipe to report


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps run here, on one thread: more only get in each other's way on models this small."""
    import torch

    torch.set_num_threads(1)
    monkeypatch.setattr(processes, "run", here.run)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_sweep_that_was_stopped_goes_on_and_ends_with_its_report(recipe: Path, at_once: None) -> None:
    out = recipe.parent / "out"
    found = load(recipe, "train.budget.amount=1,4")
    heard: list[Event] = []

    def stop(event: Event) -> None:
        heard.append(event)
        if event.kind == "done" and event.step.startswith("train/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.run(found, out, stop)
    done = sum(view.done for view in sweeps.plan(found, out))
    assert 0 < done < len(found.steps)
    assert [event.step for event in heard if event.kind == "planned"] == [
        shared.step.name for shared in found.steps
    ]

    result = call("sweep", recipe, "train.budget.amount=1,4", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("start: ") == len(found.steps) - done
    assert "accuracy on test, n = 12" in result.stdout
    assert result.stdout.rstrip().endswith(f"report: {out / 'sweep.html'}")

    content = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    for variant in content["variants"]:
        own = json.loads((out / variant["folder"] / "report.json").read_text(encoding="utf-8"))
        here_ = [point for point in content["points"] if point["variant"] == variant["label"]]
        assert [(p["method"], p["correct"], p["accuracy"], p["interval"]) for p in here_] == [
            (row["method"], [row["correct"]], row["accuracy"], row["interval"]) for row in own["rows"]
        ]
    assert content["steps"] == {"all": len(found.steps), "shared": 4, "apart": 2 * 8}
    assert {path.name for path in out.glob("sweep.*")} == {"sweep.html", "sweep.json", "sweep.md"}

    again = call("sweep", recipe, "train.budget.amount=1,4", "--out", out)
    assert f"nothing to do: all {len(found.steps)} steps were already done" in again.stdout


def test_a_dry_run_shows_shared_steps_once(recipe: Path) -> None:
    result = call(
        "sweep",
        recipe,
        "train.budget.amount=2,4",
        "--dry-run",
        "-s",
        "seeds=[3]",
        "--out",
        recipe.parent / "o",
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert sum("2 of 2" in line for line in lines) == 4
    assert sum("1 of 2" in line for line in lines) == 8
    assert lines[12] == "0 of 12 steps are done; a sweep would do 12."
    assert not (recipe.parent / "o").exists()


def test_a_wrong_axis_ends_with_the_exit_code_of_a_wrong_recipe(recipe: Path) -> None:
    result = call("sweep", recipe, "data.trian=1,2")
    assert (result.exit_code, "data.trian" in result.stderr) == (RecipeError.exit_code, True)


# ---------------------------------------------------------------- the report's numbers


def arm(marks: str, role: Role = "method", method: str = "single_stage", seed: int = 0) -> Arm:
    """ "110" is right, right, wrong."""
    rows = []
    for number, mark in enumerate(marks):
        question = Question(f"Question {number}?", "1")
        verdict = Verdict("correct", "1") if mark == "1" else Verdict("wrong", "2")
        written = (Written("answer", "The answer is 1.", "stop", 5),)
        rows.append(Judged(question, Prediction(question.id, written), verdict))
    return Arm(method, "causal", seed, "test", tuple(rows), role)


def measured(found: Sweep, *arms: tuple[Arm, ...], usd: Sequence[float | None] = ()) -> list[Measured]:
    """Variant i has `arms[i]`, and stands on 100 (i + 1) tokens that cost `usd[i]`."""
    report = {
        "title": "A toy",
        "task": "arithmetic",
        "task_title": "Arithmetic",
        "curation": {"kept": 3, "questions_kept": 2},
    }
    return [
        Measured(
            variant,
            f"variants/{variant.label}",
            arms[place],
            Cost(10, 60 * (place + 1), 40 * (place + 1), usd[place] if usd else 0.0, free=not usd),
            {"train": 10 * (place + 1), "dev": 5, "test": 10},
            report,
        )
        for place, variant in enumerate(found.variants)
    ]


def content_of(found: Sweep, parts: Sequence[Measured]) -> dict[str, Any]:
    content = assemble(found, parts, bought([]), {"all": 9, "shared": 1, "apart": 10})
    read: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))
    return read


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    path = tmp_path_factory.mktemp("three") / "small.yaml"
    path.write_text(small.RECIPE, encoding="utf-8")
    return load(path, "data.train=10,20,40")


LOW, MIDDLE, HIGH = "1" * 2 + "0" * 18, "1" * 12 + "0" * 8, "1" * 12 + "0" * 8
"""0.1, 0.6 and 0.6 of twenty: ten more right, none lost; then no change at all."""


def test_neighbours_are_tested_on_the_same_questions(three: Sweep) -> None:
    content = content_of(three, measured(three, (arm(LOW),), (arm(MIDDLE),), (arm(HIGH),)))
    first, second = content["comparisons"]
    assert (first["from"], first["to"], second["from"], second["to"]) == ("10", "20", "20", "40")
    assert (first["difference"], first["only_to"], first["only_from"], first["n"]) == (0.5, 10, 0, 20)
    assert first["p_value"] == pytest.approx(2 / 2**10)
    assert first["p_adjusted"] == pytest.approx(2 * 2 / 2**10), "adjusted over both tests of the sweep"
    assert (second["difference"], second["p_value"]) == (0.0, 1.0)
    assert content["headline"] == (
        "Of 2 steps from one value to the next, 1 changed the accuracy significantly (paired tests on the "
        "same questions, adjusted over the sweep); the largest: single_stage (causal), +50.0 points from "
        "data.train=10 to 20 on test (n = 20)."
    )


def test_a_point_has_a_price_where_there_is_a_gain_and_a_price(three: Sweep) -> None:
    parts = measured(three, (arm(LOW),), (arm(MIDDLE),), (arm(HIGH),), usd=(1.0, 3.0, 9.0))
    content = content_of(three, parts)
    first, second = content["prices"]
    assert (first["points"], first["usd"], first["tokens"]) == (pytest.approx(50), 2.0, 100)
    assert first["usd_per_point"] == pytest.approx(2 / 50)
    assert first["tokens_per_point"] == pytest.approx(100 / 50)
    assert second["usd_per_point"] is None
    assert [line.cells for line in prices(content, "test").lines] == [
        ("data.train: 10 → 20", "+50.0", "100", "2", "$2.00", "$0.04"),
        ("data.train: 20 → 40", "0.0", "100", "no gain", "$6.00", "no gain"),
    ]
    assert cost_unit(content) == "usd"


def test_an_unknown_price_is_said_to_be_unknown(three: Sweep) -> None:
    parts = measured(three, (arm(LOW),), (arm(MIDDLE),), (arm(HIGH),), usd=(1.0, None, 9.0))
    content = content_of(three, parts)
    assert [line.cells[-2:] for line in prices(content, "test").lines] == [("unknown", "unknown")] * 2
    assert cost_unit(content) == "tokens", "what has no price is drawn by its tokens"


def test_a_teacher_that_the_axis_left_alone_is_not_tested(three: Sweep) -> None:
    same, better = arm(LOW, "teacher", "teacher"), arm(MIDDLE, "teacher", "teacher")
    content = content_of(three, measured(three, (same,), (same,), (better,)))
    assert [(row["from"], row["to"]) for row in content["comparisons"]] == [("20", "40")]
    assert content["prices"] == [], "nobody pays for a teacher's accuracy"


def test_seeds_are_averaged_at_a_point_and_paired_one_by_one(three: Sweep) -> None:
    arms = [(arm(marks), arm(marks[::-1], seed=1), arm("1" * 20, seed=2)) for marks in (LOW, MIDDLE, HIGH)]
    content = content_of(three, measured(three, *arms))
    point = content["points"][0]
    assert (point["seeds"], point["correct"], point["n"]) == ([0, 1, 2], [2, 2, 20], 20)
    assert point["accuracy"] == pytest.approx((0.1 + 0.1 + 1) / 3)
    low, high = point["interval"]
    assert low < point["accuracy"] < high
    assert high - low > 0.5, "seeds that differ this much leave the mean uncertain"
    assert [row["seed"] for row in content["comparisons"][:3]] == [0, 1, 2]
    assert len(content["comparisons"]) == 2 * 3


def test_both_axes_have_their_neighbours(recipe: Path) -> None:
    grid = load(recipe, "data.train=10,20", "train.budget.amount=2,4")
    arms = [(arm("1" * right + "0" * (20 - right)),) for right in (1, 2, 4, 8)]
    content = content_of(grid, measured(grid, *arms))
    assert [
        (row["axis"], row["from"], row["to"], row["at"], round(20 * row["difference"]))
        for row in content["comparisons"]
    ] == [
        ("data.train", "10", "20", {"train.budget.amount": "2"}, 3),
        ("data.train", "10", "20", {"train.budget.amount": "4"}, 6),
        ("train.budget.amount", "2", "4", {"data.train": "10"}, 1),
        ("train.budget.amount", "2", "4", {"data.train": "20"}, 4),
    ]
    table = accuracies(content, "test")
    assert table.heads == ("method", "data.train=10", "data.train=20")
    assert [line.label for line in table.lines] == [
        "single_stage · train.budget.amount=2",
        "single_stage · train.budget.amount=4",
    ]
    assert [cell.partition(" %")[0] for cell in table.lines[1].cells] == ["10.0", "40.0"]


def test_variants_that_answered_other_questions_are_not_reported(three: Sweep) -> None:
    parts = measured(three, (arm(LOW),), (arm(MIDDLE[:19]),), (arm(HIGH),))
    with pytest.raises(DataError, match="answered other questions of 'test'"):
        content_of(three, parts)
    allowed = content_of(replace(three, other_questions=True), parts)
    assert allowed["comparisons"] == []
    assert [point["n"] for point in allowed["points"]] == [20, 19, 20]


def test_a_student_whose_label_changes_is_one_curve(recipe: Path) -> None:
    found = load(recipe, "students.0={name: causal, config: tiny},{name: seq2seq, config: tiny}")
    arms = [(replace(arm(LOW), student=name),) for name in ("causal", "seq2seq")]
    content = content_of(found, measured(found, *arms))
    assert {point["student"] for point in content["points"]} == {"student 1"}
    assert len(content["comparisons"]) == 1


# ---------------------------------------------------------------- the page


def test_the_page_draws_each_method_beside_the_control(three: Sweep) -> None:
    arms = [(arm(LOW, "control", "answer_only"), arm(marks)) for marks in (LOW, MIDDLE, HIGH)]
    content = content_of(three, measured(three, *arms, usd=(1.0, 3.0, 9.0)))
    page = html(content)
    assert page.count('<svg viewBox="0 0 240 150"') == 2 * 2
    assert [name for _, name in accuracy_ticks(content)] == ["10", "20", "40"]
    assert "on a logarithmic axis" in page
    assert "60.0 % [38.7, 78.1]" in page
    assert "in US dollars" in page
    assert 'href="variants/data.train-10/report.html"' in page
    assert "60.0 % [38.7, 78.1]" in markdown(content)


def test_no_text_of_a_sweep_becomes_markup(three: Sweep) -> None:
    evil = '<script>alert("x")</script>|`a`'
    axis = Axis(evil, (evil, "b"))
    variants = tuple(
        Variant((value,), evil, variant.recipe)
        for value, variant in zip(axis.values, three.variants, strict=False)
    )
    hostile = replace(three, axes=(axis,), variants=variants)
    arms = [(replace(arm(marks), method=evil, student=evil, split=evil),) for marks in (LOW, MIDDLE)]
    content = content_of(hostile, measured(hostile, *arms))
    assert "<script" not in html(content)
    assert "<script" not in markdown(content)
    assert evil in content["points"][0]["method"]
