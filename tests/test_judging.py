"""Judging a file: every layout of a row, and a clear sentence for every row that cannot be judged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import DataError
from understudy.judging import JudgedRow, as_json, disagreements, judge_file, strict_summary, summary
from understudy.metrics.strict import strict
from understudy.types import AnswerForm, Judged, Prediction, Question, Verdict, VerdictName, Written


def _write(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def _read(rows: list[JudgedRow]) -> list[tuple[str | None, VerdictName]]:
    return [(row.verdict.extracted, row.verdict.name) for row in rows]


def test_rows_come_back_in_order_and_are_counted(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        {"output": "The answer is 18.", "gold": "18"},
        {"output": "The answer is 17.", "gold": 18},
        "",
        {"output": "I do not know.", "gold": 18.0},
        {"output": "", "gold": "18"},
        {"output": None, "gold": "18"},
    )
    rows = judge_file(path, "number")
    assert [row.line for row in rows] == [1, 2, 4, 5, 6]
    assert _read(rows) == [
        ("18", "correct"),
        ("17", "wrong"),
        (None, "no_answer"),
        (None, "no_answer"),
        (None, "no_answer"),
    ]
    assert summary(rows) == {"correct": 1, "wrong": 1, "no_answer": 3, "total": 5}


def test_json_holds_the_whole_verdict_and_both_counts() -> None:
    rows = [
        JudgedRow(1, Verdict("correct", "18", (4, 6), "cue", "as the gold", "correct", "18")),
        JudgedRow(3, Verdict("wrong", "5", None, "last_number", "reads 5, the gold is 6", "no_answer", None)),
    ]
    assert as_json(rows) == {
        "rows": [
            {
                "extracted": "18",
                "verdict": "correct",
                "span": [4, 6],
                "rule": "cue",
                "reason": "as the gold",
                "strict": "correct",
                "strict_extracted": "18",
            },
            {
                "extracted": "5",
                "verdict": "wrong",
                "span": None,
                "rule": "last_number",
                "reason": "reads 5, the gold is 6",
                "strict": "no_answer",
                "strict_extracted": None,
            },
        ],
        "counts": {"correct": 1, "wrong": 1, "no_answer": 0, "total": 2},
        "strict": {
            "counts": {"correct": 1, "wrong": 0, "no_answer": 1, "total": 2},
            "disagreements": 1,
        },
    }
    assert json.loads(json.dumps(as_json(rows))) == as_json(rows)


def test_rows_on_which_the_two_readings_differ_are_listed_with_both(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        {"output": "The answer is 18.", "gold": 18},
        "",
        {"output": "9 x 2 = 18", "gold": 18},
        {"output": "The answer is 17.", "gold": 18},
    )
    rows = judge_file(path, "number")
    ((line, verdict),) = disagreements(rows)
    assert (line, verdict.name, verdict.strict) == (3, "correct", "no_answer")
    assert (verdict.extracted, verdict.strict_extracted) == ("18", None)
    assert strict_summary(rows) == {"correct": 1, "wrong": 1, "no_answer": 1, "total": 3}


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [("length", "no_answer"), ("stop", "wrong"), (None, "wrong"), ("content_filter", "wrong")],
)
def test_an_output_that_was_cut_off_is_read_as_such(
    tmp_path: Path, reason: str | None, verdict: VerdictName
) -> None:
    path = _write(tmp_path, {"output": "Half of 36 is 1", "gold": 18, "finish_reason": reason})
    assert judge_file(path, "number")[0].verdict.name == verdict


@pytest.mark.parametrize(
    ("gold", "output", "verdict"),
    [
        (["red", "green", "blue"], "The answer is red, green, blue.", "correct"),
        (["red", "green", "blue"], "The answer is red, blue, green.", "wrong"),
        ([1, 2.5, 3], "The answer is 1, 2.5, 3.", "correct"),
        (["ice; snow", "sand"], "The answer is ice; snow; sand.", "wrong"),
        ("red, green, blue", "The answer is red, green, blue.", "correct"),
    ],
)
def test_a_list_gold_may_be_a_json_list(tmp_path: Path, gold: Any, output: str, verdict: VerdictName) -> None:
    path = _write(tmp_path, {"output": output, "gold": gold})
    assert judge_file(path, "list")[0].verdict.name == verdict


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz", "rows.jsonl.gz", "rows.csv"])
def test_a_file_may_be_an_array_a_table_or_compressed(tmp_path: Path, name: str) -> None:
    rows = [{"output": "The answer is 5.", "gold": "5"}, {"output": "The answer is 6.", "gold": "5"}]
    text = {
        "rows.json": json.dumps(rows, indent=1),
        "rows.json.gz": json.dumps(rows),
        "rows.jsonl.gz": "\n".join(map(json.dumps, rows)),
        "rows.csv": "output,gold\nThe answer is 5.,5\nThe answer is 6.,5\n",
    }[name]
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert _read(judge_file(tmp_path / name, "number")) == [("5", "correct"), ("6", "wrong")]


def test_a_row_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[\n{"output": "5", "gold": 5},\n{"output": "5"}\n]')
    with pytest.raises(DataError, match=r"rows\.json, line 3: there is no 'gold'"):
        judge_file(path, "number")


@pytest.mark.parametrize(
    ("choices", "gold"),
    [
        (["ice", "sand", "wood"], "B"),
        (["ice", "sand", "wood"], "sand"),
        (["ice", "sand", "wood"], 2),
        ([{"label": "A", "text": "ice"}, {"label": "B", "text": "sand"}], "B"),
        ([{"label": "1", "text": "ice"}, {"label": "2", "text": "sand"}], "2"),
        ([{"label": "1", "text": "3"}, {"label": "2", "text": "1"}, {"label": "3", "text": "2"}], "2"),
        ([{"text": "ice"}, {"text": "sand"}], "Sand."),
        ({"label": ["A", "B"], "text": ["ice", "sand"]}, "B"),
        ({"label": ["1", "2"], "text": ["ice", "sand"]}, 2),
        ({"A": "ice", "B": "sand"}, "(B)"),
        ({"1": "ice", "2": "sand"}, "2"),
        ({"F": "ice", "G": "sand"}, "G"),
        ([1, 2], "B"),
        (None, "B"),
    ],
)
def test_choices_in_every_layout_are_letters_by_position(tmp_path: Path, choices: Any, gold: Any) -> None:
    path = _write(tmp_path, {"output": "The answer is (B).", "gold": gold, "choices": choices})
    assert _read(judge_file(path, "choice")) == [("B", "correct")]


@pytest.mark.parametrize(("gold", "verdict"), [(True, "correct"), (False, "wrong"), ("Yes", "correct")])
def test_a_boolean_gold_may_be_json(tmp_path: Path, gold: Any, verdict: str) -> None:
    path = _write(tmp_path, {"output": "The answer is yes.", "gold": gold})
    assert _read(judge_file(path, "boolean")) == [("yes", verdict)]


def test_gzip_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps({"output": "nk", "gold": "NK"}).encode()))
    assert _read(judge_file(path, "text")) == [("nk", "correct")]


def test_a_line_separator_within_a_text_splits_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"output": "We add.\u2028The answer is 5.", "gold": 5}\n', encoding="utf-8")
    assert _read(judge_file(path, "number")) == [("5", "correct")]


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        ("number", "{not json", "line 2: not valid JSON"),
        ("number", "[1]", "line 2: expected an object"),
        ("number", {"gold": "1"}, "line 2: there is no 'output'"),
        ("number", {"output": "1"}, "line 2: there is no 'gold'"),
        ("number", {"output": 5, "gold": "1"}, "line 2: 'output' must be a text or null, not int"),
        (
            "number",
            {"output": "1", "gold": "many"},
            "line 2: the gold answer 'many' cannot be read as a number",
        ),
        ("number", {"output": "1", "gold": ["1", "2"]}, "line 2: 'gold' must be"),
        ("list", {"output": "a, b", "gold": ["a", ["b"]]}, "line 2: 'gold' must be"),
        ("number", {"output": "1", "gold": None}, "line 2: 'gold' must be"),
        ("number", {"output": "1", "gold": True}, "line 2: the gold answer 'yes' cannot be read"),
        ("number", '{"output": "1", "gold": NaN}', "line 2: the gold answer 'nan' cannot be read"),
        ("boolean", {"output": "yes", "gold": "perhaps"}, "line 2: the gold answer 'perhaps'"),
        ("choice", {"output": "A", "gold": "C", "choices": ["x", "y"]}, "line 2: the gold answer 'C'"),
        ("choice", {"output": "A", "gold": "A", "choices": "x y"}, "line 2: 'choices' must be a list"),
        ("choice", {"output": "A", "gold": "A", "choices": [{"label": "A"}]}, "line 2: a choice"),
        ("choice", {"output": "A", "gold": "A", "choices": [["x"]]}, "line 2: every choice must be a text"),
        ("choice", {"output": "A", "gold": "A", "choices": {"label": ["A"], "text": ["x", "y"]}}, "as many"),
        ("choice", {"output": "A", "gold": "A", "choices": ["x"] * 27}, "line 2: there are 27 choices"),
        ("text", {"output": "x", "gold": " "}, "line 2: the gold answer ' '"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named(
    tmp_path: Path, form: AnswerForm, row: Any, message: str
) -> None:
    good = {"output": "1", "gold": {"choice": "A", "boolean": "yes", "list": "a, b"}.get(form, "1")}
    path = _write(tmp_path, good, row)
    with pytest.raises(DataError) as caught:
        judge_file(path, form)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: there is no such file"):
        judge_file(tmp_path / "absent.jsonl", "number")
    for name, data, message in [
        ("latin.jsonl", b'{"output": "\xe9"}', "not UTF-8 text"),
        ("cut.jsonl.gz", gzip.compress(b"{}" * 50)[:-9], "gzip file is damaged"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=message):
            judge_file(tmp_path / name, "number")
    (tmp_path / "no suffix").write_text('{"output": "7", "gold": 7}\n')
    assert len(judge_file(tmp_path / "no suffix", "number")) == 1, "lines of JSON, for want of a better sign"
    (tmp_path / "long").write_text(f'{{"output": "7", "gold": 1{"0" * 5000}}}\n')
    with pytest.raises(DataError, match="line 1: not valid JSON"):
        judge_file(tmp_path / "long", "number")
    assert judge_file(_write(tmp_path, ""), "number") == []


def test_the_metric_counts_strict_verdicts_and_says_how_many_differ() -> None:
    question = Question("What is 9 x 2?", "18")
    prediction = Prediction(question.id, (Written("answer", "text", "stop", 5),))
    verdicts = (
        Verdict("correct", "18", strict="correct", strict_extracted="18"),
        Verdict("correct", "18", strict="no_answer"),
        Verdict("correct", "18", strict="wrong", strict_extracted="9"),
        Verdict("no_answer", None, strict="no_answer"),
    )
    score = strict([Judged(question, prediction, verdict) for verdict in verdicts])
    assert (score.name, score.value, score.n) == ("strict", 1 / 4, 4)
    assert score.explanation.endswith("on 2 of 4 the two readings come to different verdicts")
