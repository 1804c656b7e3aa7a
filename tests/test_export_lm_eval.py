"""Our questions as lm-evaluation-harness tasks: what is written, and that the harness judges as we do."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from small import QUESTIONS, RECIPE
from tiny import quiet, spec
from understudy import answers
from understudy.cli import main
from understudy.comparing import compare
from understudy.comparing.harness import read_harness
from understudy.errors import DataError, RecipeError
from understudy.exchange.lm_eval import export
from understudy.exchange.reading import agrees, pattern, target
from understudy.roles import Identity
from understudy.types import AnswerForm, Example, Message, Question, Request, Sampling

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "answer_cases.json").read_text("utf-8"))
TOKENS = 24


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    text = RECIPE.replace(
        "[answer_only, single_stage]", "[answer_only, single_stage, two_stage, few_shot, zero_shot]"
    )
    path.write_text(text, "utf-8")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# ---------------------------------------------------------------- the pattern


@pytest.mark.parametrize("form", QUESTIONS)
def test_the_sentence_that_students_learn_is_read_back(form: AnswerForm) -> None:
    question = QUESTIONS[form]
    assert pattern(form).right(f"So. {answers.write(question.answer, form)}", target(question, form))
    assert not pattern(form).right("So. The answer is Q7.", target(question, form))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The answer is 18.", True),
        ("the **answer** is **18**.", True),
        ("The answer is $18.00", True),
        ("The answer is 1,8.", False),
        ("The answer is 18 apples.", True),
        ("The answer is 18.5.", False),
        ("The answer is 7. Wait. The answer is 18!", True),
        ("The answer is 18. Wait. The answer is unclear.", False),
        ("The answer is the answer is 18.", True),
        ("The answer is 18 because 9 + 9 makes it so and more.", False),
        ("The answer is: 18.", False),
        ("Hence 18.", False),
        ("", False),
    ],
)
def test_the_pattern_reads_as_the_strict_reading_does(text: str, right: bool) -> None:
    question = Question("How many?", "18")
    assert pattern("number").right(text, "18") is right
    assert agrees(text, question, "number")


def test_of_the_judges_own_cases_those_that_part_are_of_kinds_that_the_docs_name() -> None:
    """A pattern that says "right" where the strict reading does not: only of texts that were cut off."""
    for case in CASES:
        if "gold" not in case or case.get("cut_off"):
            continue
        question = Question("q", str(case["gold"]), tuple(case.get("choices") or ()))
        try:
            verdict = answers.judge(case["text"], question.answer, case["form"], question.choices)
        except DataError:
            continue
        if pattern(case["form"]).right(case["text"], target(question, case["form"])):
            assert verdict.strict == "correct", case


def test_what_a_pattern_cannot_know_is_seen() -> None:
    question = Question("How many?", "18")
    assert agrees("The answer is 18.", question, "number", cut_off=True)
    assert not agrees("The answer is 18", question, "number", cut_off=True)


# ---------------------------------------------------------------- what is written


def test_a_task_holds_prompts_golds_and_the_recipes_own_generation(recipe: Path, tmp_path: Path) -> None:
    (done,) = export(str(recipe), tmp_path / "out", ["single_stage"])
    assert (done.name, done.n) == ("understudy_small_single_stage_test", 12)
    config = yaml.safe_load(done.path.read_text("utf-8"))
    assert config["generation_kwargs"] == {
        "until": [],
        "max_gen_toks": TOKENS,
        "do_sample": False,
        "temperature": 0.0,
    }
    written = rows(Path(config["dataset_kwargs"]["data_files"]["test"]))
    assert len(written) == 12
    for row in written:
        assert row["prompt"] == f"Question: {row['question']}"
        assert Question(row["question"], "", tuple(row["choices"]), row["context"]).id == row["id"]


def test_all_methods_that_are_asked_once_are_exported(recipe: Path, tmp_path: Path) -> None:
    done = export(str(recipe), tmp_path / "out")
    assert [one.name.removeprefix("understudy_small_") for one in done] == [
        "answer_only_test",
        "single_stage_test",
        "few_shot_test",
        "zero_shot_test",
    ]
    few = yaml.safe_load(done[2].path.read_text("utf-8"))
    assert few["generation_kwargs"]["until"] == ["\nQuestion:"]


def test_what_cannot_be_exported_is_refused_in_a_sentence(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RecipeError, match="asks 2 times"):
        export(str(recipe), out, ["two_stage"])
    with pytest.raises(RecipeError, match="no method 'other'; choose from answer_only"):
        export(str(recipe), out, ["other"])
    with pytest.raises(RecipeError, match="no split 'dev' to export; choose from test"):
        export(str(recipe), out, split="dev")
    assert not out.exists()


def test_golds_that_no_pattern_can_compare_are_refused(tmp_path: Path) -> None:
    for name, golds in {"train": ["1", "2"], "dev": ["3"], "test": ["4", "10:30"]}.items():
        lines = [json.dumps({"question": f"{name} {gold}?", "answer": gold}) for gold in golds]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    path = tmp_path / "own.yaml"
    task = f"task: {{name: jsonl, path: {tmp_path}, form: number}}"
    path.write_text(
        RECIPE.replace("task: arithmetic", task).replace("data: {train: 60, dev: 12, test: 12}\n", ""),
        "utf-8",
    )
    with pytest.raises(DataError, match=r"1 of 2 golds cannot be compared by a pattern \(such as '10:30'\)"):
        export(str(path), tmp_path / "out", ["single_stage"])


def test_the_command_says_how_to_go_on(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", "lm-eval", "last_letters", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "understudy_last_letters_single_stage_test" in result.output
    assert f"--include_path {tmp_path / 'out'}" in result.output
    refused = CliRunner().invoke(main, ["export", "lm-eval", "nothing", "--out", str(tmp_path / "out")])
    assert refused.exit_code == RecipeError.exit_code


# ---------------------------------------------------------------- the harness itself


def harness() -> str:
    """An interpreter that has lm_eval, or skip."""
    python = os.environ.get("UNDERSTUDY_LM_EVAL_PYTHON", "")
    if not python:
        pytest.skip("UNDERSTUDY_LM_EVAL_PYTHON names no interpreter that has lm_eval (pip install lm-eval)")
    return python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "stop", "after"),
    [("single_stage", (), ""), ("zero_shot", ("\nQuestion:",), "\nQuestion: 1?")],
)
def test_the_harness_judges_every_answer_as_we_do(
    method: str, stop: tuple[str, ...], after: str, recipe: Path, tmp_path: Path
) -> None:
    """A student that learnt most of the questions by heart: the same texts, and the same verdicts. With a
    stop string it learnt to write on behind it."""
    import torch

    from understudy.students._completer import StudentCompleter
    from understudy.students.causal import Causal
    from understudy.training import train

    python = harness()
    torch.set_num_threads(1)
    (done,) = export(str(recipe), tmp_path / "out", [method])
    asked = rows(done.path.with_suffix(".jsonl"))
    questions = [Question(row["question"], row["gold"]) for row in asked]
    ends = ("{}.", "{} cups.", "${}.00", "{}. The answer is unclear", "{}")
    lessons = [
        (Example(row["id"], row["prompt"], f"So. The answer is {ends[at % 5].format(row['gold'])}{after}"),)
        for at, row in enumerate(asked)
        if at % 4
    ]
    student = Causal(config="tiny", tokenizer="bpe", vocabulary=400)
    settings = spec(120, batch_tokens=2048)
    folder = tmp_path / "run"
    train(student, lessons, settings, learning_rate=5e-3, seed=0, folder=folder, progress=quiet)
    model = folder / "model"

    completer = StudentCompleter(student.load(model), Identity("local", "student", "1"), 2048)
    requests = [
        Request(question, (Message("user", row["prompt"]),))
        for question, row in zip(questions, asked, strict=True)
    ]
    sampling = Sampling(max_tokens=TOKENS, stop=stop)
    landed = [one for batch in completer.complete(requests, sampling) for one in batch]
    ours = {
        questions[place].id: (
            said.text,
            answers.judge(
                said.text, questions[place].answer, "number", cut_off=said.finish_reason == "length"
            ),
        )
        for place, said in landed
    }

    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [python, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "5"]
    command += ["--model_args", f"pretrained={model},dtype=float32", "--tasks", done.name, "--log_samples"]
    command += ["--include_path", str(tmp_path / "out"), "--output_path", str(tmp_path / "results")]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]

    (samples,) = (tmp_path / "results").rglob("samples_*.jsonl")
    theirs = {row["doc"]["id"]: row for row in rows(samples)}
    assert theirs.keys() == ours.keys()
    for id_, row in theirs.items():
        text, verdict = ours[id_]
        assert row["arguments"]["gen_args_0"]["arg_0"] == row["doc"]["prompt"]
        assert row["resps"][0][0].strip() == text
        assert bool(row["exact_match"]) is (verdict.strict == "correct"), (text, verdict)
    if stop:
        assert all("Question" not in text for text, _ in ours.values())
        assert any(said.finish_reason == "stop" for _, said in landed)
    right = sum(verdict.strict == "correct" for _, verdict in ours.values())
    assert 2 <= right <= 10, "a test of verdicts needs right ones and wrong ones"
    side = read_harness(samples)
    assert {one.id for one in side.answers if one.right} == {
        id_ for id_, (_, verdict) in ours.items() if verdict.strict == "correct"
    }
    assert compare(side, side).n == 12
