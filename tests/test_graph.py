"""A recipe as steps: what is shared, what depends on what, and what a changed key runs again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from small import recipe
from understudy import steps
from understudy.errors import UnderstudyError
from understudy.graph import Graph
from understudy.store import Step

PLAIN = """\
name: plain
task: arithmetic
data: {train: 50, dev: 10, test: 10}
teacher: template
sampling: {n: 1, temperature: 0.7}
students:
  - {name: causal, config: tiny}
methods: [answer_only, single_stage, two_stage]
train: {budget: {unit: steps, amount: 4}, learning_rate: 1e-3}
evaluate: {splits: [test, ood], teacher: true}
"""
SEARCHED = PLAIN.replace("learning_rate: 1e-3", "learning_rate: [1e-3, 2e-3]")
APPRENTICED = PLAIN.replace(
    "teacher: template",
    "teacher: {name: student, split: teacher, student: {name: causal, config: tiny}}\nprompt: {style: bare}",
)


def graph(text: str, *overrides: str) -> Graph:
    return Graph(recipe(*overrides, text=text))


def part(step: Step) -> str:
    """The first word of a step's name: "data", "teach", "annotate", "ask", "curate", "train", ..."""
    return step.name.partition("/")[0]


def run_again(before: Graph, after: Graph) -> set[str]:
    """The parts of `after` that a run would do although `before` is done."""
    done = {step.hash for step in before.steps}
    return {part(step) for step in after.steps if step.hash not in done}


# ---------------------------------------------------------------- order and names


@pytest.mark.parametrize("text", [PLAIN, SEARCHED, APPRENTICED], ids=["plain", "searched", "apprenticed"])
def test_every_step_comes_after_what_it_needs_and_has_its_own_name(text: str) -> None:
    seen: set[str] = set()
    made = graph(text)
    for step in made.steps:
        assert {need.hash for need in step.needs.values()} <= seen, step.name
        assert step.title
        assert step.cost > 0
        seen.add(step.hash)
    assert len({step.name for step in made.steps}) == len(seen) == len(made.steps)
    needed = {need.hash for step in made.steps for need in step.needs.values()}
    rows = {arm.predicted.hash for arm in made.arms}
    reported = {step.hash for step in (made.audit, *made.asked.values())}
    assert seen - needed <= rows | reported, "a step that nobody reads"


@pytest.mark.parametrize("text", [SEARCHED, APPRENTICED], ids=["searched", "apprenticed"])
def test_the_same_recipe_has_the_same_hashes_in_another_process(text: str) -> None:
    code = f"from test_graph import *\nprint(*[step.hash for step in graph({text!r}).steps])"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent)}
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert other.stdout.split() == [step.hash for step in graph(text).steps]


def test_two_variants_of_a_method_are_searched_under_their_own_names() -> None:
    variants = (
        "methods=[answer_only, {name: step_by_step}, {name: step_by_step, label: b, rationale_weight: 0.3}]"
    )
    made = graph(SEARCHED, variants)
    assert len({step.name for step in made.steps}) == len(made.steps)
    assert len([step for step in made.steps if step.kind == "choose"]) == 3


# ---------------------------------------------------------------- what a changed key runs again

STUDENTS = {"train", "predict"}
CURATED = {"curate", "audit", *STUDENTS}
RATIONALES = {"annotate", *CURATED}
EVERYTHING = {"data", "ask", *RATIONALES}

CHANGES = {
    "title=Another": set(),
    "name=other": set(),
    "notes=[remember]": set(),
    "workers=1": set(),
    "students.0.label=renamed": set(),
    "methods.1={name: single_stage, label: renamed}": set(),
    "evaluate.max_new_tokens=99": {"predict"},
    "evaluate.batch_tokens=999": {"predict"},
    "evaluate.splits=[test]": EVERYTHING,
    "evaluate.teacher=false": set(),
    "sampling.temperature=0.9": RATIONALES,
    "sampling.top_p=0.9": RATIONALES,
    "sampling.n=2": RATIONALES,
    "sampling.seed=3": RATIONALES | {"ask"},
    "sampling.max_tokens=99": RATIONALES | {"ask"},
    "prompt.show_answer=true": RATIONALES,
    "prompt.exemplars=2": RATIONALES | {"ask"},
    "curate.right_answer=false": CURATED,
    "curate.per_question=1": CURATED,
    "audit.reader=lexical": {"audit"},
    "audit.read=9": set(),  # nobody reads
    "audit.against=[coin_flip]": {"audit"},
    "methods.1={name: single_stage, rationales: unfiltered}": {"curate-unfiltered", *STUDENTS},
    "methods.1={name: single_stage, rationales: random}": {"curate-random", *STUDENTS},
    "train.weight_decay=0.5": STUDENTS,
    "train.budget.amount=5": STUDENTS,
    "train.learning_rate=3e-3": STUDENTS,
    "train.search_share=0.9": set(),
    "seeds=[1]": STUDENTS,
    "students.0.config=demo": STUDENTS,
    "data.train=40": EVERYTHING,
    "data.test=9": EVERYTHING,
    "task=coin_flip": EVERYTHING,
}


@pytest.mark.parametrize(("change", "again"), CHANGES.items(), ids=CHANGES.keys())
def test_a_changed_key_runs_again_only_what_depends_on_it(change: str, again: set[str]) -> None:
    also = ("evaluate.splits=[test, test_3]",) if change == "task=coin_flip" else ()
    assert run_again(graph(PLAIN), graph(PLAIN, change, *also)) == again


SEARCHED_CHANGES = {
    # The loss on dev decides the learning rate, and nothing is generated for that.
    "evaluate.max_new_tokens=99": {"predict"},
    "curate.per_question=1": {"curate", "audit", "predict", "choose", "train"},
    "train.search_share=0.9": {"predict", "choose", "train"},
    "train.learning_rate=[1e-3]": {"predict", "train"},
    "train.learning_rate=[2e-3, 1e-3]": set(),
    "methods.1={name: single_stage, learning_rate: [1e-3, 2e-3, 4e-3]}": {"predict", "choose", "train"},
}


@pytest.mark.parametrize(("change", "again"), SEARCHED_CHANGES.items(), ids=SEARCHED_CHANGES.keys())
def test_with_a_search_the_choice_hangs_on_dev(change: str, again: set[str]) -> None:
    assert run_again(graph(SEARCHED), graph(SEARCHED, change)) == again


APPRENTICE_CHANGES = {
    "teacher.train={budget: {unit: steps, amount: 9}}": {"teach", "ask", *RATIONALES},
    "teacher.student={name: causal, config: demo}": {"teach", "ask", *RATIONALES},
    "teacher.batch_tokens=999": {"ask", *RATIONALES},
    "train.weight_decay=0.5": STUDENTS,
    "sampling.temperature=0.9": RATIONALES,
}


@pytest.mark.parametrize(("change", "again"), APPRENTICE_CHANGES.items(), ids=APPRENTICE_CHANGES.keys())
def test_a_teacher_that_is_trained_here_hangs_on_its_own_training(change: str, again: set[str]) -> None:
    assert run_again(graph(APPRENTICED), graph(APPRENTICED, change)) == again


def test_a_new_version_of_a_steps_code_runs_it_and_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = graph(PLAIN)
    monkeypatch.setitem(steps.VERSIONS, "curate", steps.VERSIONS["curate"] + 1)
    assert run_again(before, graph(PLAIN)) == CURATED


def test_the_controls_of_curation_take_all_rationales_or_as_many_as_were_kept_by_lot() -> None:
    entry = "{{name: single_stage, label: {0}, rationales: {0}}}"
    methods = f"methods=[answer_only, single_stage, {entry.format('unfiltered')}, {entry.format('random')}]"
    made = graph(PLAIN, methods, "seeds=[0, 1]")
    by_name = {step.name: step for step in made.steps}
    unfiltered, drawn = by_name["curate-unfiltered"], by_name["curate-random/seed1"]
    assert unfiltered.settings["curate"]["right_answer"] is False
    assert drawn.settings["curate"] == unfiltered.settings["curate"]
    assert drawn.needs["like"] is made.curate
    trained = {
        arm.method.label: arm.trained["rationale"] for arm in made.arms if arm.method.label != "answer_only"
    }
    assert trained["single_stage"].needs["rationales"] is made.curate
    assert trained["unfiltered"].needs["rationales"] is unfiltered
    assert trained["random"].needs["rationales"] is drawn
    assert by_name["curate-random/seed0"].hash != drawn.hash


# ---------------------------------------------------------------- files


def recorded(path: Path) -> str:
    return PLAIN.replace("teacher: template", f"teacher: {{name: recorded, path: {path}}}")


def test_a_changed_byte_of_the_recorded_rationales_annotates_again(tmp_path: Path) -> None:
    path = tmp_path / "rationales.jsonl"
    path.write_text('{"question": "a", "rationale": "b"}\n', encoding="utf-8")
    before, same = graph(recorded(path)), graph(recorded(path))
    assert run_again(before, same) == set()
    path.write_text('{"question": "a", "rationale": "c"}\n', encoding="utf-8")
    assert run_again(before, graph(recorded(path))) == {"ask", *RATIONALES}


def test_a_changed_byte_of_the_questions_runs_everything_again(tmp_path: Path) -> None:
    rows = [f'{{"question": "{n} + 1?", "answer": "{n + 1}"}}\n' for n in range(9)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")
    text = PLAIN.replace("task: arithmetic", f"task: {{name: jsonl, path: {tmp_path}}}")
    changes = ("evaluate.splits=[test]", "prompt.style=zero_shot")
    before = graph(text, *changes)
    assert run_again(before, graph(text, *changes)) == set()
    (tmp_path / "test.jsonl").write_text("".join(rows[::-1]), encoding="utf-8")
    assert run_again(before, graph(text, *changes)) == EVERYTHING


def test_a_changed_checkpoint_trains_again(tmp_path: Path) -> None:
    text = PLAIN.replace("config: tiny", f"checkpoint: {tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = graph(text)
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert run_again(before, graph(text)) == STUDENTS


ABSENT = {
    "questions": "task={name: gsm8k, path: absent}",
    "rationales": "teacher={name: recorded, path: absent.jsonl}",
    "a teacher's model": "teacher={name: student, path: absent, student: {name: causal, config: tiny}}",
}


@pytest.mark.parametrize("change", ABSENT.values(), ids=ABSENT.keys())
def test_a_file_that_is_absent_is_one_sentence(change: str) -> None:
    with pytest.raises(UnderstudyError, match="absent") as wrong:
        graph(PLAIN, change, "evaluate.splits=[test]")
    assert "\n" not in str(wrong.value)


# ---------------------------------------------------------------- what is shared


def test_three_students_by_four_methods_share_one_annotation() -> None:
    causal = "{name: causal, config: tiny}, {name: causal, label: b, config: demo}"
    three = f"[{causal}, {{name: seq2seq, config: tiny}}]"
    four = "[answer_only, single_stage, two_stage, step_by_step]"
    made = graph(SEARCHED, f"students={three}", f"methods={four}")
    parts = [part(step) for step in made.steps]
    assert parts.count("data") == 1
    rationales = [
        (step.kind, step.settings["split"]) for step in made.steps if step.kind in {"annotate", "curate"}
    ]
    assert sorted(rationales) == [
        (kind, split) for kind in ("annotate", "curate") for split in ("dev", "train")
    ]
    assert parts.count("choose") == 12
    assert len([arm for arm in made.arms if not arm.upper_bound]) == 3 * 4 * len(made.recipe.evaluate.splits)


def test_the_loss_on_dev_decides_a_searched_rate_and_nothing_else() -> None:
    made = graph(SEARCHED)
    (on_dev,) = (step for step in made.steps if step.name == "curate/dev")
    assert on_dev.needs["annotate"].settings == {**made.annotated["teacher"].settings, "split": "dev"}
    assert on_dev.settings == {**made.curate.settings, "split": "dev"}
    searched = {need.hash for step in made.steps if step.kind == "choose" for need in step.needs.values()}
    readers = {step.hash for step in made.steps if on_dev.hash in {need.hash for need in step.needs.values()}}
    assert readers == searched
    assert all(made.curate in step.needs.values() for step in made.steps if step.hash in searched)
    assert not [step for step in made.steps if step.kind == "predict" and step.settings["split"] == "dev"]


def test_without_a_search_nobody_asks_about_dev() -> None:
    assert not [step for step in graph(PLAIN).steps if step.settings.get("split") == "dev"]


def test_a_rate_list_of_one_method_alone_annotates_dev_once() -> None:
    made = graph(PLAIN, "methods.1={name: single_stage, learning_rate: [1e-3, 2e-3]}")
    assert [step.name for step in made.steps if step.settings.get("split") == "dev"] == [
        "annotate/dev",
        "curate/dev",
    ]


def test_a_warm_started_stage_needs_the_stage_before_it_at_the_same_rate() -> None:
    warm = "methods=[answer_only, {name: two_stage, warm_start: true}]"
    (arm,) = (
        arm for arm in graph(PLAIN, warm, "evaluate={splits: [test]}").arms if arm.method.label == "two_stage"
    )
    assert arm.trained["answer"].needs["start"] is arm.trained["rationale"]
    assert "start" not in arm.trained["rationale"].needs
    starts = [step for step in graph(SEARCHED, warm).steps if "start" in step.needs]
    assert len(starts) == 3, "one for each rate, and the one that is reported"
    for step in starts:
        assert step.settings["stage"] == "answer"
        assert step.needs["start"].settings["learning_rate"] == step.settings["learning_rate"]
    assert not [step for step in graph(PLAIN).steps if "start" in step.needs]


def test_a_method_more_adds_its_own_steps_and_no_others() -> None:
    before = graph(SEARCHED)
    after = graph(SEARCHED, "methods=[answer_only, single_stage, two_stage, step_by_step]")
    done = {step.hash for step in before.steps}
    new = [step for step in after.steps if step.hash not in done]
    assert done <= {step.hash for step in after.steps}
    assert new
    assert all("/step_by_step/" in step.name for step in new)


def test_a_seed_more_adds_its_own_steps_and_no_others() -> None:
    before, after = graph(PLAIN), graph(PLAIN, "seeds=[0, 1]")
    done = {step.hash for step in before.steps}
    assert {step.name.split("/")[3] for step in after.steps if step.hash not in done} == {"seed1"}


def test_the_control_at_twice_the_budget_shares_the_search() -> None:
    twice = "methods=[answer_only, {name: answer_only, label: twice, budget: 2}]"
    made = graph(SEARCHED, twice)
    once, double = (
        next(arm for arm in made.arms if arm.method.label == label) for label in ("answer_only", "twice")
    )
    (one,), (two,) = once.trained.values(), double.trained.values()
    assert one.needs["choice"] is two.needs["choice"]
    assert one.settings["train"]["budget"]["amount"] * 2 == two.settings["train"]["budget"]["amount"]
    assert {**one.settings, "train": None} == {**two.settings, "train": None}
    assert [step.name for step in made.steps if step.kind == "choose"] == ["choose/causal/answer_only/seed0"]


def test_the_stages_of_a_method_share_its_budget() -> None:
    made = graph(PLAIN, "train.budget={unit: tokens, amount: 1000}")
    amounts = {
        arm.method.label: [step.settings["train"]["budget"]["amount"] for step in arm.trained.values()]
        for arm in made.arms
    }
    assert amounts == {"answer_only": [1000], "single_stage": [1000], "two_stage": [750, 250]}


def test_two_stage_has_an_upper_bound_where_the_teacher_was_asked() -> None:
    bounds = [arm for arm in graph(PLAIN).arms if arm.upper_bound]
    assert [(arm.method.label, arm.split) for arm in bounds] == [("two_stage", "test"), ("two_stage", "ood")]
    for arm in bounds:
        assert set(arm.predicted.needs) == {"data", "stage answer", "teacher"}
    assert not [arm for arm in graph(PLAIN, "evaluate.teacher=false").arms if arm.upper_bound]


# ---------------------------------------------------------------- workers


def test_workers_are_one_per_core_for_students_made_here_and_one_for_checkpoints() -> None:
    gpu = Path("/dev/nvidia0").exists()
    assert graph(PLAIN).workers == (1 if gpu else os.cpu_count())
    assert graph(PLAIN, "workers=3").workers == 3
    assert graph(PLAIN, "students=[{name: causal, checkpoint: some/model}]").workers == 1
