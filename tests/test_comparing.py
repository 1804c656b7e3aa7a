"""Two sets of answers to the same questions: joined, counted, tested and told, whoever wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from small import recipe, run
from understudy.cli import main
from understudy.comparing import compare
from understudy.comparing.command import Wanted, comparisons
from understudy.comparing.harness import read_harness
from understudy.comparing.inspect_log import read_inspect
from understudy.comparing.runs import read_run
from understudy.comparing.side import Answered, Side, rejudged
from understudy.errors import DataError, RecipeError, StoreError
from understudy.statistics import mcnemar_exact
from understudy.types import Question


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def side(name: str, right: Mapping[int, bool]) -> Side:
    """Question 3 is "3?", and its answer is 3."""
    rows = [Answered(Question(f"{at}?", str(at)), f"The answer is {at}.", ok) for at, ok in right.items()]
    return Side(name, "somebody", tuple(rows))


def sample(at: int, said: str, right: float, filter_: str = "strict-match", **doc: Any) -> dict[str, Any]:
    """A row as lm-evaluation-harness 0.4 writes it for GSM8K."""
    return {
        "doc_id": at,
        "doc": {"question": f"{at}?", "answer": f"One counts. #### {at}", **doc},
        "target": f"One counts. #### {at}",
        "arguments": {"gen_args_0": {"arg_0": f"Question: {at}?\nAnswer:", "arg_1": {"until": []}}},
        "resps": [[said]],
        "filtered_resps": [said],
        "filter": filter_,
        "metrics": ["exact_match"],
        "doc_hash": "d",
        "prompt_hash": "p",
        "target_hash": "t",
        "exact_match": right,
    }


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


# ---------------------------------------------------------------- the numbers


def test_counts_shares_and_the_test_can_be_followed_by_hand() -> None:
    a = side("a", {at: at < 8 for at in range(10)})
    b = side("b", {at: at in (0, 1, 9) for at in range(10)})
    found = compare(a, b)
    assert (found.n, found.a.correct, found.b.correct) == (10, 8, 3)
    assert (found.test.both, found.test.only_a, found.test.only_b, found.test.neither) == (2, 6, 1, 1)
    assert found.difference.difference == pytest.approx(0.5)
    assert found.difference.low < 0.5 < found.difference.high
    assert found.test.p_value == pytest.approx(2 * (1 + 7) / 2**7)
    assert found.a.interval[0] < 0.8 < found.a.interval[1]
    assert not found.notes


def test_only_common_questions_count_and_the_others_are_told() -> None:
    found = compare(side("a", {1: True, 2: False, 3: True}), side("b", {4: True, 3: False, 2: False}))
    assert (found.n, found.a.answered, found.a.correct, found.a.accuracy) == (2, 3, 1, 0.5)
    assert found.a.accuracy_of_all == pytest.approx(2 / 3)
    assert found.notes == (
        "1 of 3 questions of a are not in the other and are left out.",
        "1 of 3 questions of b are not in the other and are left out.",
    )


def test_no_common_question_is_an_error_that_shows_one_of_each() -> None:
    with pytest.raises(DataError, match=r"no question in common.*begins '1\?', the other '2\?'"):
        compare(side("a", {1: True}), side("b", {2: True}))


# ---------------------------------------------------------------- the harness


def test_samples_are_read_with_their_own_verdicts(tmp_path: Path) -> None:
    path = written(
        tmp_path / "samples_gsm8k_2026-11-20T10-00-00.jsonl",
        [sample(1, "#### 1", 1.0), sample(2, "The answer is 2.", 0.0)],
    )
    found = read_harness(tmp_path)
    assert [one.id for one in found.answers] == [Question("1?", "").id, Question("2?", "").id]
    assert [one.right for one in found.answers] == [True, False]
    assert found.verdict == "the harness' exact_match, filter strict-match"
    again = rejudged(found, {}, "number")
    assert [one.right for one in again.answers] == [True, True], "the gold of a solution is what it comes to"
    assert read_harness(path).answers == found.answers


def test_of_several_filters_one_must_be_named(tmp_path: Path) -> None:
    rows = [sample(1, "1", 0.0), sample(1, "1", 1.0, "flexible-extract")]
    path = written(tmp_path / "samples_x.jsonl", rows)
    with pytest.raises(DataError, match=r"--filter \(strict-match, flexible-extract\)"):
        read_harness(path)
    with pytest.raises(DataError, match="no filter 'other'"):
        read_harness(path, "other")
    assert read_harness(path, "flexible-extract").answers[0].right
    assert not read_harness(path, "strict-match").answers[0].right


def test_options_that_were_chosen_by_likelihood_join_by_text_and_choices(tmp_path: Path) -> None:
    doc = {
        "id": "Mercury_1",
        "question": "Which is up?",
        "choices": {"text": ["the sea", "the sky"], "label": ["1", "2"]},
        "answerKey": "2",
    }
    row = {
        **sample(1, "", 0.0),
        "doc": doc,
        "target": "1",
        "resps": [[["-9.5", "False"]], [["-2.25", "True"]]],
        "filtered_resps": [["-9.5", "False"], ["-2.25", "True"]],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "acc": 1.0,
        "acc_norm": 0.0,
    }
    path = written(tmp_path / "samples_arc.jsonl", [row])
    found = read_harness(path)
    (one,) = found.answers
    assert one.id == Question("Which is up?", "B", ("the sea", "the sky")).id
    assert (one.question.answer, one.text, one.right) == ("B", None, True)
    assert not read_harness(path, metric="acc_norm").answers[0].right
    with pytest.raises(DataError, match="no text to judge"):
        rejudged(found, {}, "choice")


def test_a_gold_that_is_the_place_of_an_option_becomes_its_letter(tmp_path: Path) -> None:
    doc = {"question": "Which is up?", "choices": ["the sea", "the sky"], "answer": 1}
    path = written(tmp_path / "s.jsonl", [{**sample(1, "The answer is (B).", 0.0), "doc": doc}])
    found = read_harness(path)
    assert found.answers[0].question.answer == "B"
    assert rejudged(found, {}, "choice").answers[0].right


def test_a_question_that_comes_twice_counts_once(tmp_path: Path) -> None:
    path = written(tmp_path / "s.jsonl", [sample(1, "1", 1.0), sample(1, "2", 0.0)])
    found = read_harness(path)
    assert [one.right for one in found.answers] == [True]
    assert found.notes == ("1 answers of s.jsonl are to a question that it had already: the first counts.",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc": {"body": 1}}, r"line 1: no field of 'doc' holds the question"),
        ({"doc": [1]}, "'doc' must be an object, not list"),
        ({"exact_match": 0.5}, "'exact_match' is 0.5 and not 1 or 0"),
        ({"metrics": ["bleu"]}, r"name a metric of right or wrong with --metric \(bleu\)"),
        ({"resps": []}, "'resps' holds nothing"),
    ],
)
def test_rows_that_cannot_be_read_name_the_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "s.jsonl", [{**sample(1, "1", 1.0), **change}])
    with pytest.raises(DataError, match=message):
        read_harness(path)


def test_folders_without_samples_or_with_several_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no samples_"):
        read_harness(tmp_path)
    for name in "xy":
        written(tmp_path / "model" / f"samples_{name}.jsonl", [sample(1, "1", 1.0)])
    with pytest.raises(DataError, match=r"2 files of samples.*model/samples_x.jsonl, model/samples_y.jsonl"):
        read_harness(tmp_path)
    with pytest.raises(DataError, match="holds no row"):
        read_harness(written(tmp_path / "empty.jsonl", []))
    with pytest.raises(DataError, match="no row of lm-evaluation-harness"):
        read_harness(written(tmp_path / "other.jsonl", [{"output": "1"}]))


# ---------------------------------------------------------------- inspect_ai


def log(*scores: Any, scorer: str = "match") -> dict[str, Any]:
    """A log of inspect_ai in its JSON format, cut to what is read."""
    return {
        "version": 2,
        "status": "success",
        "eval": {"task": "toy", "model": "m"},
        "samples": [
            {
                "id": at,
                "epoch": 1,
                "input": [{"role": "system", "content": "Be short."}, {"role": "user", "content": f"{at}?"}],
                "target": str(at),
                "output": {
                    "choices": [
                        {
                            "message": {
                                "role": "assistant",
                                "content": [{"type": "text", "text": f"The answer is {at}."}],
                            },
                            "stop_reason": "stop",
                        }
                    ]
                },
                "scores": {scorer: {"value": value, "answer": str(at)}},
            }
            for at, value in enumerate(scores, 1)
        ],
    }


def test_a_log_of_inspect_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(log("C", "I", 1)), "utf-8")
    found = read_inspect(path)
    assert [(one.question.text, one.right) for one in found.answers] == [
        ("1?", True),
        ("2?", False),
        ("3?", True),
    ]
    assert all(one.right for one in rejudged(found, {}, "number").answers)


def test_logs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    for content, message in (
        (log("P"), "score 'P' is neither right nor wrong"),
        (log(0.5), "score 0.5 is neither"),
        ({"status": "started"}, "no inspect_ai log"),
        ({"samples": [{"scores": {"a": {"value": 1}, "b": {"value": 1}}}]}, r"2 scorers.*\(a, b\)"),
        ({"samples": [{"scores": {"a": {"value": 1}}}]}, r"sample 1: no inspect_ai sample"),
    ):
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises(DataError, match=message):
            read_inspect(path)
    path.write_text("{", "utf-8")
    with pytest.raises(DataError, match="not valid JSON"):
        read_inspect(path)


# ---------------------------------------------------------------- runs, and the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "small"
    run(recipe(), out)
    return out


def test_an_arm_of_a_run_is_named_by_its_method(folder: Path) -> None:
    whole = read_run(folder, "single_stage/causal/0", "test")
    assert whole.name == "small: single_stage/causal/0, test"
    assert len(whole.answers) == 12
    assert read_run(folder, "single_stage", "") == whole
    with pytest.raises(
        RecipeError, match="several arms are there; name one with --method: answer_only/causal/0"
    ):
        read_run(folder, "", "")
    with pytest.raises(RecipeError, match="no arm is 'other'"):
        read_run(folder, "other", "")
    with pytest.raises(RecipeError, match="has no split 'dev'"):
        read_run(folder, "single_stage", "dev")
    with pytest.raises(StoreError, match="is not a run folder"):
        read_run(folder / "steps", "single_stage", "")


def test_two_arms_are_compared_as_the_report_compares_them(folder: Path, tmp_path: Path) -> None:
    found = call(
        folder, folder, "--method", "single_stage", "--method", "answer_only", "--json", tmp_path / "c.json"
    )
    assert found.exit_code == 0, found.output
    report = json.loads((folder / "report.json").read_text("utf-8"))
    (theirs,) = report["comparisons"]
    (ours,) = json.loads((tmp_path / "c.json").read_text("utf-8"))["comparisons"]
    assert ours["n"] == theirs["n"] == 12
    assert ours["difference"] == theirs["difference"]
    assert ours["interval"] == theirs["interval"]
    assert ours["test"]["p_value"] == theirs["p_value"]
    assert "in common: 12 questions" in found.output


def test_a_run_meets_the_harness_and_both_verdicts_are_shown(folder: Path, tmp_path: Path) -> None:
    """The harness missed "18" for "18."; our judge does not, with our own golds."""
    own = read_run(folder, "single_stage", "")
    rows = [
        {
            **sample(at, f"The answer is {one.question.answer}.", 0.0),
            "doc": {"question": one.question.text, "answer": "unknown"},
        }
        for at, one in enumerate(own.answers[:5])
    ]
    path = written(tmp_path / "samples_x.jsonl", rows)
    first, second = comparisons(folder, path, Wanted(("single_stage",), judge=True))
    assert (first.n, first.b.correct, second.b.correct) == (5, 0, 5)
    assert second.test == mcnemar_exact([one.right for one in own.answers[:5]], [True] * 5)
    assert first.notes == (f"7 of 12 questions of {own.name} are not in the other and are left out.",)
    page = tmp_path / "page.md"
    found = call(folder, path, "--method", "single_stage", "--judge", "--markdown", page)
    assert found.exit_code == 0, found.output
    assert "B right: 0 of 5, 0.0 %" in found.output
    assert "B right: 5 of 5, 100.0 %" in found.output
    assert page.read_text("utf-8").count("| both right | only A | only B | neither |") == 2


def test_one_comparison_is_shown_where_our_judge_agrees(tmp_path: Path) -> None:
    a = written(
        tmp_path / "a.jsonl", [sample(1, "The answer is 1.", 1.0), sample(2, "The answer is 3.", 0.0)]
    )
    assert len(comparisons(a, a, Wanted(judge=True, form="number"))) == 1
    with pytest.raises(RecipeError, match="say with --form"):
        comparisons(a, a, Wanted(judge=True))


def test_bad_input_ends_with_a_sentence_and_an_exit_code(folder: Path, tmp_path: Path) -> None:
    missing = call(tmp_path / "none.jsonl", folder)
    assert (missing.exit_code, missing.output.count("\n")) == (DataError.exit_code, 1)
    assert "there is no such file" in missing.output
    thrice = call(folder, folder, *["--method", "single_stage"] * 3)
    assert thrice.exit_code == RecipeError.exit_code
