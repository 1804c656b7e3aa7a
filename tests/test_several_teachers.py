"""Several teachers in one recipe: who is asked what, who wrote what, and what that costs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import small
from adder import KEY, Adder, do, recipe_file, sums, write_rows
from loopback import Reply
from shared_data import shared_data
from understudy import distill, reporting
from understudy.costing import costs
from understudy.curate import CurateSpec, authors, curate
from understudy.distill import Outcome
from understudy.errors import BudgetError, RecipeError
from understudy.graph import Graph
from understudy.policies import assign
from understudy.recipe import Recipe, load_recipe, parse_recipe
from understudy.recipe.spec import TeacherEntry
from understudy.records import load_completions, load_rationales
from understudy.store import Step, Store
from understudy.types import Completion, Question

N = 40
QUESTIONS = [Question(f"{first} + 1?", str(first + 1)) for first in range(N)]
PARTS = dict(zip(("strong", "weak"), assign(QUESTIONS, (1, 4)), strict=True))
"""Who is asked what, at shares of one and four."""
SIZES = {label: len(part) for label, part in PARTS.items()}
ANNOTATED = ("data", "annotate")
FREE = (
    "[{label: strong, share: 1, name: recorded, path: a}, {label: weak, share: 4, name: recorded, path: b}]"
)


def first_of(question: Question) -> int:
    return int(question.answer) - 1


# ---------------------------------------------------------------- two files, from recipe to report

OFFLINE = """\
name: two
task:
  name: jsonl
  path: {{train: {folder}/train.jsonl, dev: {folder}/dev.jsonl, test: {folder}/test.jsonl}}
teachers:
  - {{label: strong, share: 1, name: recorded, path: {folder}/strong.jsonl, model: large}}
  - {{label: weak, share: 4, name: recorded, path: {folder}/weak.jsonl, model: middling}}
prompt: {{style: zero_shot}}
students: [{{name: causal, config: tiny}}]
methods:
  - answer_only
  - {{name: single_stage, learning_rate: [1e-3, 2e-3]}}
  - {{name: single_stage, label: unfiltered, rationales: unfiltered}}
  - two_stage
train: {{budget: {{unit: steps, amount: 2}}, learning_rate: 1e-3, batch_tokens: 512, precision: fp32}}
evaluate: {{splits: [test], max_new_tokens: 4, teacher: true}}
"""
TESTED = range(1000, 1006)


def record(path: Path, says: str, wrong: bool) -> None:
    """One teacher's rationales on every question; the wrong one errs on odd numbers."""
    rows = []
    for first in (*range(N), *range(900, 904), *TESTED):
        said = first + 1 + (wrong and first % 2)
        rows.append({"question": f"{first} + 1?", "rationale": f"{says} {first}. The answer is {said}."})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def offline(folder: Path) -> Recipe:
    write_rows(folder / "train.jsonl", range(N))
    write_rows(folder / "dev.jsonl", range(900, 904))
    write_rows(folder / "test.jsonl", TESTED)
    record(folder / "strong.jsonl", "Carefully, we add one to", wrong=False)
    record(folder / "weak.jsonl", "One more than", wrong=True)
    return parse_recipe(OFFLINE.format(folder=folder), "two.yaml", (), {})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe, Outcome]:
    folder = tmp_path_factory.mktemp("two")
    recipe = offline(folder)
    return folder / "out", recipe, small.run(recipe, folder / "out")


Finished = tuple[Path, Recipe, Outcome]


def named(recipe: Recipe) -> dict[str, Step]:
    return {step.name: step for step in Graph(recipe).steps}


def test_each_teacher_answers_its_own_questions_and_every_question_has_one(finished: Finished) -> None:
    out, recipe, _ = finished
    steps = named(recipe)
    asked = {
        label: {said.question_id for said in load_completions(Store(out).folder(steps[f"annotate/{label}"]))}
        for label in PARTS
    }
    assert asked == {label: {question.id for question in part} for label, part in PARTS.items()}
    assert 0 < SIZES["strong"] < SIZES["weak"]
    assert sum(SIZES.values()) == N


def test_every_rationale_says_who_wrote_it(finished: Finished) -> None:
    out, recipe, outcome = finished
    kept = load_rationales(Store(out).folder(named(recipe)["curate"]))
    words = {"strong": "Carefully", "weak": "One"}
    assert {one.teacher for one in kept} == {"strong", "weak"}
    assert all(one.text.startswith(words[one.teacher]) for one in kept)
    right = sum(first_of(question) % 2 == 0 for question in PARTS["weak"])
    assert Counter(one.teacher for one in kept) == {"strong": SIZES["strong"], "weak": right}
    order = {question.id: place for place, question in enumerate(QUESTIONS)}
    places = [order[one.question_id] for one in kept]
    assert places == sorted(places), "in the order of the questions, whoever wrote"
    shown = {one["teacher"] for one in outcome.report["rationales"]}
    assert shown <= {"strong", "weak"}
    assert shown


def test_the_report_tells_the_teachers_apart(finished: Finished) -> None:
    _, _, outcome = finished
    arms = {row["method"]: row for row in outcome.report["rows"] if row["role"] == "teacher"}
    assert {name: (row["student"], row["correct"], row["n"]) for name, row in arms.items()} == {
        "teacher strong": ("large", 6, 6),
        "teacher weak": ("middling", 3, 6),
    }
    taught = outcome.report["teacher"]
    assert (taught["name"], taught["model"], taught["n"]) == ("strong, weak", "large, middling", N)
    strong, weak = taught["several"]
    right = sum(first_of(question) % 2 == 0 for question in PARTS["weak"])
    assert (strong["label"], strong["correct"], strong["n"], strong["kept"]) == (
        "strong",
        *[SIZES["strong"]] * 3,
    )
    assert (weak["correct"], weak["n"], weak["kept"], weak["questions_kept"]) == (
        *(right, SIZES["weak"]),
        *(right, right),
    )
    assert taught["correct"] == strong["correct"] + weak["correct"]
    notes = " ".join(outcome.report["notes"])
    assert (
        f"The teacher strong (large) has a share of 20.0 % of the questions and wrote {SIZES['strong']}"
        in notes
    )
    assert "that of strong" in notes
    curation = outcome.report["curation"]
    assert curation["annotated"] == curation["kept"] + sum(curation["dropped"].values()) == N


def test_the_upper_bound_reads_the_first_teacher(finished: Finished) -> None:
    _, recipe, _ = finished
    (bound,) = (arm for arm in Graph(recipe).arms if arm.upper_bound)
    assert bound.predicted.needs["teacher"].name == "ask/test/strong"


def test_dev_and_the_unfiltered_control_are_shared_too(finished: Finished) -> None:
    out, recipe, _ = finished
    steps = named(recipe)
    store = Store(out)
    dev = [load_completions(store.folder(steps[f"annotate/dev/{label}"])) for label in ("strong", "weak")]
    assert len(dev[0]) + len(dev[1]) == 4
    unfiltered = load_rationales(store.folder(steps["curate-unfiltered"]))
    assert Counter(one.teacher for one in unfiltered) == SIZES


def test_the_audit_looks_at_what_all_wrote(finished: Finished) -> None:
    out, recipe, _ = finished
    sections = json.loads((Store(out).folder(Graph(recipe).audit) / "sections.json").read_text("utf-8"))
    quality = next(section for section in sections if section["name"] == "quality")
    assert quality["numbers"]["written"]["loops"]["n"] == N


def test_the_same_again_does_nothing_and_the_saved_recipe_is_the_same(finished: Finished) -> None:
    out, recipe, first = finished
    saved = load_recipe(out / "recipe.yaml", (), {})
    assert saved == recipe
    again = small.run(saved, out)
    assert (again.ran, again.reused) == (0, first.ran)


# ---------------------------------------------------------------- curation, by hand


def test_what_became_of_each_teachers_completions() -> None:
    texts = {
        "strong": {0: "0 and 1 make 1. The answer is 1.", 1: "1 and 1 make 2. The answer is 2."},
        "weak": {2: "2 and 1 make 4. The answer is 4.", 3: "I do not know."},
    }
    said = {
        label: [Completion(QUESTIONS[first].id, 0, text, "stop") for first, text in of.items()]
        for label, of in texts.items()
    }
    said["weak"].append(Completion(QUESTIONS[4].id, 0, "", "error", error="not recorded"))
    everything = [*said["weak"], *said["strong"]]
    got = curate(QUESTIONS, everything, "number", CurateSpec(), authors(said))
    assert got.teachers == {
        "strong": {"annotated": 2, "n": 2, "correct": 2, "kept": 2, "questions_kept": 2},
        "weak": {"annotated": 3, "n": 2, "correct": 0, "kept": 0, "questions_kept": 0},
    }
    assert [one.teacher for one in got.rationales] == ["strong", "strong"]
    alone = curate(QUESTIONS, everything, "number", CurateSpec(), "somebody")
    assert alone.teachers == {}
    assert {one.teacher for one in alone.rationales} == {"somebody"}


# ---------------------------------------------------------------- steps and hashes


def recorded(tmp_path: Path, teachers: str) -> list[Step]:
    for name in ("a", "b"):
        (tmp_path / name).write_text('{"question": "q", "rationale": "r"}\n', encoding="utf-8")
    text = small.RECIPE.replace("teacher: template", f"teachers: {teachers}")
    text = text.replace("path: a", f"path: {tmp_path}/a").replace("path: b", f"path: {tmp_path}/b")
    return Graph(parse_recipe(text, "two.yaml", (), {})).steps


def test_a_list_of_one_is_one_teacher(tmp_path: Path) -> None:
    alone = Graph(small.recipe()).steps
    listed = recorded(tmp_path, "[{label: only, name: template}]")
    assert [step.hash for step in alone] == [step.hash for step in listed]


def test_the_settings_of_one_teacher_have_nothing_of_several() -> None:
    """They are what they were before there could be several, so that finished runs stay finished."""
    steps = {step.name: step for step in Graph(small.recipe()).steps}
    assert "part" not in steps["annotate"].settings
    assert steps["curate"].settings["teacher"] == "template"
    assert set(steps["curate"].needs) == {"data", "annotate"}


def test_a_share_moves_what_is_asked_and_a_price_nothing(tmp_path: Path) -> None:
    before = {step.name: step.hash for step in recorded(tmp_path, FREE)}
    assert before == {
        step.name: step.hash
        for step in recorded(tmp_path, FREE.replace("share: 1,", "share: 1, price: {input: 1, output: 1},"))
    }
    moved = {step.name: step.hash for step in recorded(tmp_path, FREE.replace("share: 4", "share: 3"))}
    assert {name for name in before if before[name] == moved[name]} == {"data"}


# ---------------------------------------------------------------- money

ALONE = "teachers=[{{label: strong, price: {{input: 1, output: 2, per: 1}}, {at}, model: large}}]"
BOTH = (
    "teachers=[{{label: strong, share: 1, price: {{input: 1, output: 2, per: 1}}, {at}, model: large}}, "
    "{{label: weak, share: 4, price: {{input: 0, output: 1, per: 1}}, {at}, model: middling}}]"
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Adder]:
    monkeypatch.setenv("ADDER_KEY", KEY)
    with Adder() as serving:
        yield serving


def at(server: Adder, more: str = "") -> str:
    return f'name: openai, base_url: "{server.url}", api_key_env: ADDER_KEY, concurrency: 1{more}'


def paid(folder: Path, server: Adder, *overrides: str, teachers: str = BOTH, n: int = N) -> Recipe:
    """The adder's recipe with two teachers on its server, which knows their models apart."""
    path = recipe_file(folder, server, range(n))
    text = re.sub(r"teacher: \{[^}]*\}\n", "", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, (teachers.format(at=at(server)), *overrides), {})


def models(server: Adder) -> Counter[str]:
    return Counter(body["model"] for body in server.bodies)


def test_from_one_teacher_to_a_mix_pays_the_difference_alone(tmp_path: Path, server: Adder) -> None:
    do(
        paid(tmp_path, server, teachers=ALONE),
        tmp_path / "out",
        *ANNOTATED,
    )
    assert models(server) == {"large": N}
    server.new()
    mixed = do(paid(tmp_path, server), tmp_path / "out", *ANNOTATED)
    assert models(server) == {"middling": SIZES["weak"]}
    assert (mixed["annotate/strong"]["asked"], mixed["annotate/strong"]["reused"]) == (0, SIZES["strong"])


def test_each_teacher_is_paid_its_own_price(tmp_path: Path, server: Adder) -> None:
    recipe = paid(tmp_path, server, "evaluate.teacher=true")
    do(recipe, tmp_path / "out", *ANNOTATED, "ask")
    rows = {row["step"]: row for row in reporting._spending(Graph(recipe), Store(tmp_path / "out"))}
    # A prompt of 10 tokens and an answer of 5: 20 dollars from the strong one, 5 from the weak one.
    assert {step: (row["model"], row["bought"], row["usd"]) for step, row in rows.items()} == {
        "annotate/strong": ("large", SIZES["strong"], 20.0 * SIZES["strong"]),
        "annotate/weak": ("middling", SIZES["weak"], 5.0 * SIZES["weak"]),
        "ask/test/strong": ("large", 2, 40.0),
        "ask/test/weak": ("middling", 2, 10.0),
    }


def test_they_share_one_budget(tmp_path: Path, server: Adder) -> None:
    with pytest.raises(BudgetError, match=rf"budget of {N - 3} requests"):
        do(paid(tmp_path, server, f"budget.requests={N - 3}"), tmp_path / "out", *ANNOTATED)
    assert models(server) == {"large": SIZES["strong"], "middling": SIZES["weak"] - 3}
    server.new()
    # What both have cost so far counts at the price of each.
    usd = 20 * SIZES["strong"] + 5 * (SIZES["weak"] - 3)
    with pytest.raises(BudgetError, match=re.escape(f"${usd:,.2f}")):
        do(paid(tmp_path, server, f"budget.usd={usd}"), tmp_path / "out", *ANNOTATED)
    assert server.new() == 0


def test_a_plan_counts_each_part_at_its_price_and_a_pilot_asks_each(tmp_path: Path, server: Adder) -> None:
    recipe = paid(tmp_path, server)
    bounds = costs(recipe, tmp_path / "out") or []
    assert [cost.estimate.requests for cost in bounds if cost.estimate] == [SIZES["strong"], SIZES["weak"]]
    assert server.new() == 0
    piloted = costs(recipe, tmp_path / "out", pilot=3) or []
    assert models(server) == {"large": 3, "middling": 3}
    found = [cost.estimate for cost in piloted if cost.estimate and cost.estimate.usd]
    left = [SIZES["strong"] - 3, SIZES["weak"] - 3]
    assert [one.requests for one in found] == left
    usd = [one.usd.value for one in found if one.usd]
    assert usd == pytest.approx([20 * left[0], 5 * left[1]])


def test_two_prices_for_one_model_are_refused(tmp_path: Path, server: Adder) -> None:
    same = BOTH.replace("model: middling", "model: large, extra: {{top_k: 3}}")
    with pytest.raises(RecipeError, match=r"^two prices are given for large at http"):
        Graph(paid(tmp_path, server, teachers=same))
    one = same.replace("input: 0, output: 1", "input: 1, output: 2")
    assert Graph(paid(tmp_path, server, teachers=one)).annotated.keys() == {"strong", "weak"}


# ---------------------------------------------------------------- what a server does not count


def uncounted(body: dict[str, Any]) -> Reply:
    first = int(re.findall(r"Question: (\d+) \+ 1\?", body["messages"][-1]["content"])[-1])
    text, reason = sums(first, 0, body)
    return Reply(body={"choices": [{"message": {"content": text}, "finish_reason": reason}]})


@pytest.mark.parametrize("cap", ["usd=1e9", "tokens=1000000000"])
def test_a_cap_on_tokens_is_refused_where_nobody_counts_them(tmp_path: Path, server: Adder, cap: str) -> None:
    server._otherwise, many = uncounted, 200
    recipe = paid(tmp_path, server, f"budget.{cap}", teachers=ALONE, n=many)
    name = cap.partition("=")[0]
    said = rf"does not say how many tokens large took \(\d+ answers? so far\), so 'budget\.{name}' cannot"
    with pytest.raises(RecipeError, match=said):
        do(recipe, tmp_path / "out", *ANNOTATED)
    assert 0 < len(server.bodies) < many // 2, "no more than was read ahead of the first answer"
    asked = len(server.bodies)
    with pytest.raises(RecipeError, match=said):
        do(recipe, tmp_path / "out", *ANNOTATED)
    assert len(server.bodies) == asked, "the ledger remembers, so nothing more is asked"
    do(
        paid(tmp_path, server, f"budget.requests={many}", teachers=ALONE, n=many),
        tmp_path / "out",
        *ANNOTATED,
    )
    assert len(server.bodies) == many, "and what was answered is kept"


def test_what_costs_nothing_by_the_recipe_needs_no_count_for_dollars(tmp_path: Path, server: Adder) -> None:
    server._otherwise = uncounted
    free = re.sub(r"input: \d, output: \d", "input: 0, output: 0", ALONE)
    do(paid(tmp_path, server, "budget.usd=1", teachers=free), tmp_path / "out", *ANNOTATED)
    assert len(server.bodies) == N


# ---------------------------------------------------------------- what is said and refused


def test_the_reference_names_every_key_of_an_entry() -> None:
    page = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text(encoding="utf-8")
    section = page.split("### teachers\n")[1].split("\n### ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
        name for name in TeacherEntry.model_fields if name != "teacher"
    ]


def test_the_shipped_recipe_is_two_real_teachers_one_to_four() -> None:
    data = shared_data("eit_cot_distill").parent
    path = Path(__file__).parent.parent / "recipes" / "two-teachers.yaml"
    recipe = load_recipe(path, (), {"UNDERSTUDY_SHARED_DATA": str(data)})
    assert [(entry.label, entry.share) for entry in recipe.faculty] == [("gemini", 1), ("llama", 4)]
    assert {step.name for step in Graph(recipe).steps if step.kind == "annotate"} == {
        "annotate/gemini",
        "annotate/llama",
    }


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "two.yaml", overrides, {})
    return str(caught.value)


LISTED = small.RECIPE.replace("teacher: template", f"teachers: {FREE}")
BATCHED = "name: openai_batch, model: m"
REFUSED = {
    "neither": (small.RECIPE.replace("teacher: template\n", ""), (), "the key 'teacher' is missing"),
    "an empty list": (LISTED.replace(FREE, "[]"), (), "the key 'teacher' is missing"),
    "both": (LISTED, ("teacher=template",), "gives both 'teacher' and 'teachers'"),
    "one price for all": (LISTED, ("price={input: 1, output: 1}",), "each entry of 'teachers' a 'price'"),
    "one label twice": (LISTED, ("teachers.1.label=strong",), "two teachers are labelled 'strong'"),
    "one teacher twice": (LISTED, ("teachers.1.path=a",), "'strong' and 'weak' are one and the same"),
    "a share of nothing": (LISTED, ("teachers.0.share=0",), "'teachers.0.share' should be greater than 0"),
    "a typo": (LISTED, ("teachers.0.shar=1",), "did you mean 'teachers.0.share'"),
    "a student": (
        LISTED,
        ("teachers.0={name: student, path: a, student: {name: causal, config: tiny}}",),
        "a 'student' teacher is asked in a prompt of its own and must be the only one",
    ),
    "logits": (
        LISTED,
        ("methods=[answer_only, logit]",),
        "the method 'logit' needs a teacher that gives logits",
    ),
    "an answerer": (
        LISTED,
        ("methods=[answer_only, lm_guided]",),
        "'lm_guided' asks the recipe's teacher to answer, and there are 2",
    ),
    "a batch on many machines": (
        small.RECIPE,
        (f"teacher={{{BATCHED}}}", "ray={}"),
        "the teacher 'openai_batch' leaves its requests with the provider",
    ),
    "a batch among several": (
        LISTED,
        (f"teachers.1={{label: weak, {BATCHED}}}", "ray={}"),
        "the teacher 'openai_batch' leaves its requests with the provider",
    ),
}


@pytest.mark.parametrize(("text", "overrides", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_recipe_that_makes_no_sense(text: str, overrides: tuple[str, ...], sentence: str) -> None:
    message = refusal(text, *overrides)
    assert sentence in message
    assert "problems in" not in message, "one sentence, and no others in its train"


def test_a_reader_of_unknown_price_is_refused_before_anything_is_asked(tmp_path: Path, server: Adder) -> None:
    reader = f'audit.reader={{name: openai, model: reader, base_url: "{server.url}"}}'
    recipe = paid(tmp_path, server, "budget.usd=100", reader)
    for start in (distill.plan, lambda made, out: distill.run(made, out, lambda _: None, in_process=True)):
        with pytest.raises(RecipeError, match=r"^the price of reader at .* is not known, so 'budget.usd'"):
            start(recipe, tmp_path / "out")
    assert server.bodies == []
    assert distill.plan(paid(tmp_path, server, "budget.requests=100", reader), tmp_path / "out")
