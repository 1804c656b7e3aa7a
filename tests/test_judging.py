"""Judging a file: every layout of a row, and a clear sentence for every row that cannot be judged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import DataError
from understudy.judging import JudgedRow, as_json, judge_file, summary
from understudy.types import AnswerForm


def _write(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


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
    assert rows == [
        JudgedRow("18", "correct"),
        JudgedRow("17", "wrong"),
        JudgedRow(None, "no_answer"),
        JudgedRow(None, "no_answer"),
        JudgedRow(None, "no_answer"),
    ]
    assert summary(rows) == {"correct": 1, "wrong": 1, "no_answer": 3, "total": 5}
    assert as_json(rows[:1]) == {
        "rows": [{"extracted": "18", "verdict": "correct"}],
        "counts": {"correct": 1, "wrong": 0, "no_answer": 0, "total": 1},
    }


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
    assert judge_file(path, "choice") == [JudgedRow("B", "correct")]


@pytest.mark.parametrize(("gold", "verdict"), [(True, "correct"), (False, "wrong"), ("Yes", "correct")])
def test_a_boolean_gold_may_be_json(tmp_path: Path, gold: Any, verdict: str) -> None:
    path = _write(tmp_path, {"output": "The answer is yes.", "gold": gold})
    assert judge_file(path, "boolean") == [JudgedRow("yes", verdict)]  # type: ignore[arg-type]


def test_gzip_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps({"output": "nk", "gold": "NK"}).encode()))
    assert judge_file(path, "text") == [JudgedRow("nk", "correct")]


def test_a_line_separator_within_a_text_splits_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"output": "We add.\u2028The answer is 5.", "gold": 5}\n', encoding="utf-8")
    assert judge_file(path, "number") == [JudgedRow("5", "correct")]


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        ("number", "{not json", "line 2 is not JSON"),
        ("number", "[1]", "line 2 must be a JSON object"),
        ("number", {"gold": "1"}, "line 2 has no 'output'"),
        ("number", {"output": "1"}, "line 2 has no 'gold'"),
        ("number", {"output": 5, "gold": "1"}, "line 2: 'output' must be a text or null, not int"),
        (
            "number",
            {"output": "1", "gold": "many"},
            "line 2: the gold answer 'many' cannot be read as a number",
        ),
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
    good = {"output": "1", "gold": {"choice": "A", "boolean": "yes"}.get(form, "1")}
    path = _write(tmp_path, good, row)
    with pytest.raises(DataError) as caught:
        judge_file(path, form)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl cannot be read"):
        judge_file(tmp_path / "absent.jsonl", "number")
    for name, data, message in [
        ("latin.jsonl", b'{"output": "\xe9"}', "not UTF-8"),
        ("cut.jsonl.gz", gzip.compress(b"{}" * 50)[:-9], "damaged gzip"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=message):
            judge_file(tmp_path / name, "number")
    assert judge_file(_write(tmp_path, ""), "number") == []
