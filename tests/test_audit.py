"""`understudy audit` on a run and on a file: everything is printed, and a run's report holds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from small import recipe, run
from understudy.cli import main

PARTS = ["quality", "leak", "bias", "gold", "contamination"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def names(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [part["name"] for part in json.loads(result.stdout)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited") / "run"
    run(recipe("curate.per_question=1"), folder)
    return folder


def test_a_run_holds_its_audit_in_all_three_reports(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    assert [part["name"] for part in report["audit"]] == PARTS
    for part in report["audit"]:
        assert part["sentences"][0] in (finished / "report.md").read_text(encoding="utf-8").replace("\\", "")
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert all(part["title"].replace("'", "&#39;") in page for part in report["audit"])
    assert report["audit"][0]["numbers"]


def test_auditing_a_run_again_prints_it_and_runs_nothing_else(finished: Path) -> None:
    before = {path.name for path in (finished / "steps").iterdir()}
    assert names(call("audit", str(finished), "--json")) == PARTS
    assert {path.name for path in (finished / "steps").iterdir()} == before


def test_a_reader_is_added_to_a_finished_run_and_enters_its_report(finished: Path) -> None:
    said = call("audit", str(finished), "audit.reader=lexical")
    assert said.exit_code == 0, said.output
    assert "The reader lexical" in said.stdout
    leak = json.loads((finished / "report.json").read_text(encoding="utf-8"))["audit"][1]
    assert leak["numbers"]["reader"] == "lexical"
    assert call("report", str(finished)).exit_code == 0


def test_a_key_that_the_rationales_hang_on_is_refused(finished: Path) -> None:
    refused = call("audit", str(finished), "sampling.max_tokens=99")
    assert refused.exit_code == 6
    assert "annotate" in refused.stderr
    assert "\n" not in refused.stderr.strip()


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    refused = call("audit", str(tmp_path))
    assert refused.exit_code == 6
    assert "not a run folder" in refused.stderr


def written(path: Path, *rows: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_file_is_audited_by_its_rows(tmp_path: Path) -> None:
    asked = {"question": "Ann has 2 pens and buys 3. How many?", "gold": 6}
    right = {
        "question": "Bo has 4 hats and loses 1. How many?",
        "gold": 3,
        "output": "4 - 1 = 3. The answer is 3.",
    }
    wrong = [{**asked, "output": f"{way} 2 + 3 = 5. The answer is 5."} for way in ("So", "Now", "Then")]
    path = written(
        tmp_path / "outputs", *wrong, right, {**right, "output": "4 - 1 = 2. So 3", "finish_reason": "stop"}
    )
    parts = {part["name"]: part for part in json.loads(call("audit", path, "--json").stdout)}
    assert list(parts) == PARTS
    assert parts["gold"]["numbers"]["suspects"]["count"] == 1
    checks = {row[0]: row[1:3] for row in parts["quality"]["rows"]}
    assert tuple(checks["holds a wrong equation"]) == ("1", "5")
    assert call("audit", path, "--task", "gsm8k").exit_code == 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no row"),
        ([{"output": "5"}], "line 1: there is no 'gold'"),
        ([{"output": "5", "gold": "5", "question": 5}], "line 1: 'question' must be a text"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, rows: list[dict[str, object]], words: str) -> None:
    refused = call("audit", written(tmp_path / "bad.jsonl", *rows))
    assert refused.exit_code == 3
    assert words in refused.stderr


def test_a_gold_that_the_form_cannot_hold_names_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "bad.jsonl", {"output": "5", "gold": "perhaps"})
    refused = call("audit", path, "--form", "number")
    assert refused.exit_code == 3
    assert "line 1" in refused.stderr


def test_keys_are_for_runs_and_forms_for_files(tmp_path: Path, finished: Path) -> None:
    path = written(tmp_path / "some.jsonl", {"output": "5", "gold": "5"})
    assert call("audit", path, "audit.reader=lexical").exit_code == 2
    assert call("audit", str(finished), "--form", "number").exit_code == 2
