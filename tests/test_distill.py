"""The whole path on tiny recipes: what a run leaves, what a second run does, and how bad input ends."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from small import recipe, run
from understudy import distill
from understudy.answers import judge
from understudy.cli import main
from understudy.distill import Outcome
from understudy.errors import DataError, RecipeError, StoreError, TeacherError, TrainingError, UnderstudyError
from understudy.events import Event
from understudy.recipe import Recipe
from understudy.statistics import mcnemar_exact

# Yes or no: even a student that has learned next to nothing is right half of the time, so no count is zero.
COINS = """\
name: coins
title: Coins <b>&</b> students
task: coin_flip
data: {train: 60, dev: 10, test: 16}
teacher: template
sampling: {n: 1, temperature: 0}
students:
  - {name: causal, config: tiny}
  - {name: seq2seq, config: tiny}
methods: [answer_only, single_stage, two_stage, step_by_step]
train: {budget: {unit: steps, amount: 12}, learning_rate: 3e-3, batch_tokens: 1024, precision: fp32}
evaluate: {splits: [test, test_3], max_new_tokens: 8}
"""

APPRENTICED = """\
name: apprenticed
task: arithmetic
data: {train: 40, dev: 10, test: 12}
teacher:
  name: student
  split: teacher
  student: {name: causal, config: tiny}
  train: {budget: {unit: steps, amount: 6}, learning_rate: 2e-3, batch_tokens: 1024, precision: fp32}
prompt: {style: bare}
sampling: {n: 2, temperature: 0.7, max_tokens: 30, seed: 0}
curate: {right_answer: false, complete: false}
students:
  - {name: causal, config: tiny}
methods: [answer_only, {name: answer_only, label: twice, budget: 2}, two_stage]
train:
  budget: {unit: steps, amount: 4}
  learning_rate: [1e-3, 2e-3]
  search_share: 1  # the first step is warm-up, so a search of one step would not tell rates apart
  batch_tokens: 1024
  precision: fp32
evaluate: {splits: [test, ood], max_new_tokens: 12, teacher: true}
"""


def coins(*overrides: str) -> Recipe:
    return recipe(*overrides, text=COINS)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "coins"


@pytest.fixture(scope="module")
def first(out: Path) -> Outcome:
    """A finished run; tests that change its folder work on a copy."""
    return run(coins(), out)


@pytest.fixture
def copied(first: Outcome, out: Path, tmp_path: Path) -> Path:
    shutil.copytree(out, tmp_path / "copy")
    return tmp_path / "copy"


def predictions(out: Path) -> dict[str, str]:
    """Every step's predictions by the step's folder."""
    return {
        path.parent.name: path.read_text(encoding="utf-8") for path in out.glob("steps/*/predictions.jsonl")
    }


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


# ---------------------------------------------------------------- what a run leaves


def test_the_report_has_a_row_for_every_student_method_and_split(first: Outcome) -> None:
    content = first.report
    assert content == json.loads(first.html.with_name("report.json").read_text(encoding="utf-8"))
    assert (first.reused, first.ran) == (0, len(distill.plan(coins(), first.html.parent)))
    places = Counter((row["student"], row["method"], row["split"], row["seed"]) for row in content["rows"])
    methods = ("answer_only", "single_stage", "two_stage", "step_by_step")
    assert places == Counter(
        (student, method, split, 0)
        for student in ("causal", "seq2seq")
        for method in methods
        for split in ("test", "test_3")
    )
    for row in content["rows"]:
        assert row["n"] == 16
        assert 0 <= row["correct"] + row["no_answer"] <= row["n"]
        assert row["accuracy"] == row["correct"] / row["n"]
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
    assert any(row["correct"] for row in content["rows"])
    assert content["teacher"]["accuracy"] == 1
    assert content["teacher"]["n"] == 60
    curation = content["curation"]
    assert (curation["annotated"], curation["kept"], curation["dropped"]) == (60, 60, {})
    assert {"versions", "seeds", "recipe_steps", "seconds"} <= content["manifest"].keys()
    assert content["recipe"]["name"] == "coins"


def test_every_count_of_the_report_can_be_made_again_from_the_predictions(first: Outcome, out: Path) -> None:
    folders = {step.name: step.folder for step in distill.plan(coins(), out)}
    (data,) = out.glob("steps/data-*")
    for row in first.report["rows"]:
        golds = {
            question["id"]: question["answer"]
            for question in map(json.loads, (data / f"{row['split']}.jsonl").read_text().splitlines())
        }
        folder = folders[f"predict/{row['student']}/{row['method']}/seed0/{row['split']}"]
        lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        verdicts = Counter(
            judge(made["written"][-1]["text"], golds[made["question_id"]], "boolean").name
            for made in map(json.loads, lines)
        )
        assert (row["correct"], row["no_answer"]) == (verdicts["correct"], verdicts["no_answer"])
        assert row["n"] == verdicts.total() == len(golds)


def test_comparisons_are_paired_and_add_up(first: Outcome) -> None:
    accuracy = {
        (row["student"], row["method"], row["split"]): row["accuracy"] for row in first.report["rows"]
    }
    pairs = first.report["comparisons"]
    # Per split: 6 pairs of methods for each of two students, and 4 methods across the students.
    assert len(pairs) == 2 * (2 * 6 + 4)
    for pair in pairs:
        a = accuracy[pair["student"], pair["a"], pair["split"]]
        b = accuracy[pair["student_b"], pair["b"], pair["split"]]
        assert pair["difference"] == pytest.approx(a - b)
        assert pair["interval"][0] <= pair["difference"] <= pair["interval"][1]
        won, lost, level = pair["only_a"], pair["only_b"], pair["both"] + pair["neither"]
        assert won + lost + level == pair["n"] == 16
        right_a = [True] * won + [False] * (lost + level)
        right_b = [False] * won + [True] * lost + [False] * level
        assert pair["p_value"] == mcnemar_exact(right_a, right_b).p_value


def test_the_page_is_whole_in_itself(first: Outcome) -> None:
    page = first.html.read_text(encoding="utf-8")
    assert "single_stage" in page
    assert "Coins &lt;b&gt;&amp;&lt;/b&gt; students" in page
    assert "<script" not in page
    assert "<link" not in page
    assert not re.search(r"(?:src|srcset|action|data)\s*=\s*[\"']?(?:https?:)?//", page)
    assert not re.search(r"url\(\s*[\"']?(?:https?:)?//|@import", page)
    assert (first.html.with_name("report.md")).read_text(encoding="utf-8").startswith("#")


def test_the_recipe_is_saved_whole_with_the_run(first: Outcome, out: Path) -> None:
    saved = recipe(text=(out / "recipe.yaml").read_text(encoding="utf-8"))
    assert saved == coins()


# ---------------------------------------------------------------- again


def test_the_same_recipe_again_does_nothing(first: Outcome, copied: Path) -> None:
    heard: list[Event] = []
    before = contents(copied / "steps")
    again = run(coins(), copied, heard.append)
    assert (again.ran, again.reused) == (0, first.ran)
    assert contents(copied / "steps") == before
    assert again.report == first.report
    assert Counter(event.kind for event in heard) == {"planned": first.ran, "reused": first.ran}


def test_a_changed_field_runs_only_what_depends_on_it(first: Outcome, copied: Path) -> None:
    heard: list[Event] = []
    changed = coins("evaluate.max_new_tokens=7", "title=Shorter")
    again = run(changed, copied, heard.append)
    started = [event.step for event in heard if event.kind == "started"]
    assert len(started) == again.ran == 2 * 4 * 2
    assert {name.partition("/")[0] for name in started} == {"predict"}
    assert again.report["title"] == "Shorter"
    back = run(coins(), copied)
    assert (back.ran, back.report) == (0, first.report)


def test_the_plan_says_what_is_done_and_writes_nothing(first: Outcome, out: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert not any(step.done for step in distill.plan(coins(), absent))
    assert not absent.exists()
    before = contents(out)
    assert all(step.done for step in distill.plan(coins(), out))
    changed = distill.plan(coins("evaluate.max_new_tokens=7"), out)
    assert {step.name.partition("/")[0] for step in changed if not step.done} == {"predict"}
    assert contents(out) == before


def test_the_report_is_made_again_from_the_folder_alone(first: Outcome, copied: Path) -> None:
    for path in copied.glob("report.*"):
        path.unlink()
    again = distill.report(copied)
    assert again.report == first.report
    assert {path.name for path in copied.glob("report.*")} == {"report.html", "report.json", "report.md"}


def test_a_report_of_what_is_not_finished_is_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run folder"):
        distill.report(tmp_path)
    next(copied.glob("steps/predict-*/step.json")).unlink()
    with pytest.raises(StoreError, match=r"is not finished \(1 steps to do\): run its recipe again"):
        distill.report(copied)


def test_a_step_without_its_mark_is_done_again_with_the_same_result(first: Outcome, copied: Path) -> None:
    """As after a kill just before the mark: the folder is entered again and comes out the same."""
    step = next(
        step for step in distill.plan(coins(), copied) if step.name.startswith("train/causal/answer_only")
    )
    (step.folder / "step.json").unlink()
    before = (step.folder / "model" / "model.safetensors").read_bytes()
    again = run(coins(), copied)
    assert again.ran == 1
    assert (step.folder / "model" / "model.safetensors").read_bytes() == before
    assert again.report["rows"] == [
        {**row, "training": made["training"]}
        for row, made in zip(first.report["rows"], again.report["rows"], strict=True)
    ]


def test_two_folders_hold_the_same_predictions(first: Outcome, out: Path, tmp_path: Path) -> None:
    some = coins("students=[{name: seq2seq, config: tiny}]", "methods=[answer_only, two_stage]")
    other = tmp_path / "other"
    run(some, other)
    made = predictions(other)
    assert len(made) == 4
    assert made == {folder: text for folder, text in predictions(out).items() if folder in made}


def test_two_runs_never_write_into_one_folder(first: Outcome, copied: Path) -> None:
    from understudy.store import Store

    with Store(copied).lock(), pytest.raises(StoreError, match="another run is working in"):
        run(coins(), copied)


# ---------------------------------------------------------------- a teacher that is trained here


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(recipe(text=APPRENTICED), tmp_path_factory.mktemp("runs") / "apprenticed")


def test_a_teacher_trained_by_the_run_annotates_and_is_measured(taught: Outcome) -> None:
    rows = {(row["method"], row["split"]): row for row in taught.report["rows"]}
    methods = ("teacher", "answer_only", "twice", "two_stage", "two_stage (teacher's rationale)")
    assert set(rows) == {(method, split) for method in methods for split in ("test", "ood")}
    assert {row["role"] for (method, _), row in rows.items() if method.startswith("two_stage (")} == {
        "upper_bound"
    }
    assert rows["teacher", "test"]["n"] == 12
    curation, teacher = taught.report["curation"], taught.report["teacher"]
    assert curation["annotated"] == 40 * 2
    assert curation["kept"] + sum(curation["dropped"].values()) == 80
    assert teacher["on"] == "test"
    assert teacher["correct"] == rows["teacher", "test"]["correct"]
    assert teacher["annotation"]["n"] <= 80
    assert any("upper bound" in row["note"] for row in rows.values())


def test_learning_rates_are_chosen_on_dev_and_recorded(taught: Outcome) -> None:
    chosen = taught.report["manifest"]["learning_rates"]
    assert len(chosen) == 2, "the control and its double share one search"
    for choice in chosen.values():
        tried = {trial["learning_rate"]: trial["dev_loss"] for trial in choice["tried"]}
        assert set(tried) == {1e-3, 2e-3}
        assert all(loss > 0 for loss in tried.values())
        assert tried[1e-3] != tried[2e-3], "the toy must tell the two apart"
        assert choice["learning_rate"] == min(tried, key=lambda rate: tried[rate])
    used = {
        row["method"]: row["training"]["learning_rate"] for row in taught.report["rows"] if row["training"]
    }
    assert set(used.values()) <= {choice["learning_rate"] for choice in chosen.values()}
    assert used["answer_only"] == used["twice"]


def test_a_rates_loss_on_dev_is_summed_over_the_stages_of_its_method(taught: Outcome) -> None:
    marks = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in taught.html.parent.glob("steps/*/step.json")
    }
    losses: dict[tuple[str, float], dict[str, float]] = {}
    for mark in marks.values():
        if mark["kind"] != "train" or "dev rationales" not in mark["needs"]:
            continue
        settings = mark["settings"]
        found = losses.setdefault((settings["method"]["name"], settings["learning_rate"]), {})
        found[settings["stage"]] = mark["result"]["dev_loss"]
    assert set(losses) == {(name, rate) for name in ("answer_only", "two_stage") for rate in (1e-3, 2e-3)}
    assert all(
        set(found) == {"rationale", "answer"} for (name, _), found in losses.items() if name != "answer_only"
    )
    chosen = taught.report["manifest"]["learning_rates"].values()
    told = sorted(trial["dev_loss"] for choice in chosen for trial in choice["tried"])
    assert told == pytest.approx(sorted(sum(found.values()) for found in losses.values()))


def test_only_the_search_measures_a_loss_on_dev(taught: Outcome, first: Outcome) -> None:
    """Dev's rationales are asked for where a rate is searched, and nobody is trained on them."""
    for outcome, splits in ((taught, {"train", "dev"}), (first, {"train"})):
        marks = [
            json.loads(path.read_text(encoding="utf-8"))
            for path in outcome.html.parent.glob("steps/*/step.json")
        ]
        assert {mark["settings"]["split"] for mark in marks if mark["kind"] == "annotate"} == splits
        assert {mark["settings"]["split"] for mark in marks if mark["kind"] == "curate"} == splits
        trained = [mark for mark in marks if mark["kind"] == "train"]
        assert {mark["settings"]["split"] for mark in trained} <= {"train", "teacher"}
        for mark in trained:
            assert (mark["result"]["dev_loss"] is not None) == ("dev rationales" in mark["needs"])


def test_twice_the_budget_is_twice_the_steps(taught: Outcome) -> None:
    steps = {row["method"]: row["training"]["steps"] for row in taught.report["rows"] if row["training"]}
    assert (steps["answer_only"], steps["twice"]) == (4, 8)


# ---------------------------------------------------------------- bad input

ROWS = [{"question": f"{n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."} for n in range(12)]
TESTS = [{"question": f"{n} + 2?", "answer": n + 2} for n in range(4)]

OWN = """\
name: own
task: {name: jsonl, path: {train: train.jsonl, test: test.jsonl}, form: number}
teacher: template
prompt: {style: zero_shot}
sampling: {n: 1, temperature: 0}
students: [{name: causal, config: tiny}]
methods: [answer_only]
train: {budget: {unit: steps, amount: 2}, batch_tokens: 512, precision: fp32}
evaluate: {max_new_tokens: 4}
"""


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


Files = dict[str, str]
Bad = tuple[type[UnderstudyError], str, Files, Callable[[], tuple[str, ...]], set[str]]

WRONG = lines([{"question": row["question"], "rationale": "The answer is 77."} for row in ROWS])

# Dev is cut from the end of train.
RIGHT_BUT_FOR_DEV = lines(
    [
        {
            "question": row["question"],
            "rationale": f"{row['rationale']} The answer is {row['answer'] if n < 10 else 77}.",
        }
        for n, row in enumerate(ROWS)
    ]
)

BAD: dict[str, Bad] = {
    # what is wrong: (error, its sentence, files that differ, overrides, kinds of steps that are kept)
    "an unknown key": (RecipeError, "unknown key 'train.stepz'", {}, lambda: ("train.stepz=1",), set()),
    "a missing file": (
        DataError,
        "absent.jsonl",
        {},
        lambda: ("task.path={train: absent.jsonl, test: test.jsonl}",),
        set(),
    ),
    "a malformed row": (
        DataError,
        "train.jsonl.*line 13",
        {"train.jsonl": lines(ROWS) + "{not json\n"},
        tuple,
        set(),
    ),
    "a row without an answer": (
        DataError,
        "test.jsonl.*line 5.*answer",
        {"test.jsonl": lines([*TESTS, {"question": "2?"}])},
        tuple,
        set(),
    ),
    "an unreadable gold": (
        DataError,
        "train.jsonl.*line 13.*'many'",
        {"train.jsonl": lines([*ROWS, {"question": "How many?", "answer": "many"}])},
        tuple,
        set(),
    ),
    "a duplicate": (
        DataError,
        "1 question occurs more than once in train.*data.duplicates=drop",
        {"train.jsonl": lines([*ROWS, ROWS[0]])},
        tuple,
        set(),
    ),
    "an overlap": (
        DataError,
        "1 question of test occurs also in train.*data.overlap=drop",
        {"test.jsonl": lines([*TESTS, ROWS[3]])},
        tuple,
        set(),
    ),
    "missing rationales": (
        DataError,
        "absent.jsonl",
        {},
        lambda: ("teacher={name: recorded, path: absent.jsonl}",),
        set(),
    ),
    "a malformed rationale": (
        DataError,
        "recorded.jsonl.*line 2",
        {"recorded.jsonl": lines([{"question": "0 + 1?", "rationale": "1."}, {"question": "1 + 1?"}])},
        lambda: ("teacher={name: recorded, path: recorded.jsonl}",),
        {"data"},
    ),
    "no rationale is right": (
        TrainingError,
        "there is no rationale to train on",
        {"recorded.jsonl": WRONG},
        lambda: ("teacher={name: recorded, path: recorded.jsonl}",),
        {"data", "annotate", "curate"},
    ),
    "no rationale on dev is right": (
        TrainingError,
        "no rationale was kept on dev, so neither a learning rate nor an early end can be chosen there",
        {"recorded.jsonl": RIGHT_BUT_FOR_DEV},
        lambda: (
            "teacher={name: recorded, path: recorded.jsonl}",
            "data.dev=2",
            "train.learning_rate=[1e-3, 2e-3]",
        ),
        {"data", "annotate", "curate"},
    ),
    "an unreachable server": (
        TeacherError,
        "cannot be reached",
        {},
        lambda: (
            "teacher={name: openai, model: m, max_retries: 0, "
            f"base_url: 'http://127.0.0.1:{closed_port()}/v1'}}",
        ),
        {"data"},
    ),
    "a checkpoint that is none": (
        TrainingError,
        "cannot load the checkpoint 'empty'",
        {"empty": ""},
        lambda: ("students=[{name: causal, checkpoint: empty}]",),
        {"data", "annotate", "curate"},
    ),
    "examples that are too long": (
        TrainingError,
        "none of the .* training examples fits 2 source",
        {},
        lambda: ("train.max_source_tokens=2",),
        {"data", "annotate", "curate"},
    ),
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good recipe and good files, which is where the command is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, text in {"own.yaml": OWN, "train.jsonl": lines(ROWS), "test.jsonl": lines(TESTS)}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_input_ends_in_one_sentence_and_keeps_what_was_done(bad: Bad, own: Path) -> None:
    kind, sentence, files, overrides, kept = bad
    for name, text in files.items():
        (own / name).write_text(text, encoding="utf-8")
    changes = overrides()
    with pytest.raises(kind, match=sentence) as wrong:
        run(recipe(*changes, text=OWN), own / "here")
    assert "\n" not in str(wrong.value)

    result = command("run", "own.yaml", "--out", "there", *changes)
    assert result.exit_code == kind.exit_code != 0
    last = result.stderr.strip().splitlines()[-1]
    assert re.search(f"error: .*{sentence}", last)
    assert "Traceback" not in result.output
    done = {path.parent.name.split("-")[0] for path in own.glob("there/steps/*/step.json")}
    assert done - {"audit"} == kept, "nothing waits for the audit, which may be done or not"


def test_good_input_ends_well(own: Path) -> None:
    """The files and the recipe that the table above spoils are good as they are."""
    result = command("run", "own.yaml", "--out", "there")
    assert result.exit_code == 0, result.stderr
    assert json.loads((own / "there" / "report.json").read_text(encoding="utf-8"))["rows"][0]["n"] == 4
    again = command("run", "own.yaml", "--out", "there")
    assert "nothing to do: all 6 steps were already done" in again.output


def test_an_out_that_is_a_file_is_one_sentence(own: Path) -> None:
    result = command("run", "own.yaml", "--out", "own.yaml")
    assert result.exit_code == StoreError.exit_code
    assert "error: cannot create the run folder own.yaml" in result.stderr
    assert (own / "own.yaml").read_text(encoding="utf-8") == OWN
