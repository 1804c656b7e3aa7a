"""Reading data files: every format gives the same rows with their lines, and bad ones say where."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from understudy.errors import DataError
from understudy.rows import read, suffix

# File name, content, the XML element, and the expected (line, fields).
FORMATS = {
    "lines.jsonl": ('{"a": "1"}\n\n{"a": "2"}\n', "", [(1, {"a": "1"}), (3, {"a": "2"})]),
    "no_last_newline.jsonl": ('{"a": "1"}', "", [(1, {"a": "1"})]),
    "windows.jsonl": ('\ufeff{"a": "1"}\r\n{"a": "2"}\r\n', "", [(1, {"a": "1"}), (2, {"a": "2"})]),
    "separator.jsonl": ('{"a": "x\u2028y"}\n{"a": "2"}\n', "", [(1, {"a": "x\u2028y"}), (2, {"a": "2"})]),
    "array.json": ('[\n  {"a": "1"},\n  {\n "a": "2"}\n]\n', "", [(2, {"a": "1"}), (3, {"a": "2"})]),
    "empty_array.json": ("[ ]", "", []),
    "lines.json": ('{"a": "1"}\n{"a": "2"}\n', "", [(1, {"a": "1"}), (2, {"a": "2"})]),
    "table.csv": (
        'a,b\n"1\n1",x\n2,"y,z"\n',
        "",
        [(2, {"a": "1\n1", "b": "x"}), (4, {"a": "2", "b": "y,z"})],
    ),
    "table.tsv": ('a\tb\n"1\tx\n2\ty\n', "", [(2, {"a": '"1', "b": "x"}), (3, {"a": "2", "b": "y"})]),
    "empty.csv": ("", "", []),
    "problems.xml": (
        '<r>\n<p ID="1"><a>x &lt; y</a></p>\n<p ID="2"><a> z </a></p>\n</r>',
        "p",
        [(2, {"ID": "1", "a": "x < y"}), (3, {"ID": "2", "a": "z"})],
    ),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_its_rows_and_lines(tmp_path: Path, name: str, compressed: bool) -> None:
    content, element, expected = FORMATS[name]
    path = tmp_path / (name + ".gz" if compressed else name)
    data = content.encode("utf-8")
    path.write_bytes(gzip.compress(data) if compressed else data)
    rows = read(path, element)
    assert [(row.line, dict(row.fields)) for row in rows] == expected
    assert all(row.path == path for row in rows)


# File name, content, and what the message must hold.
MALFORMED = {
    "cut.jsonl": (b'{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
    "list.jsonl": (b'{"a": 1}\n[1]\n', "line 2: expected an object"),
    "cut.json": (b'[\n{"a": 1},\n{"a": }\n]', "line 3: not valid JSON"),
    "comma.json": (b'[\n{"a": 1}\n{"a": 2}\n]', "line 3: expected a comma"),
    "open.json": (b'[\n{"a": 1}', "line 2: expected a comma"),
    "number.json": (b"[\n1]", "line 2: expected an object"),
    "deep.jsonl": (b"\n" + b"[" * 200_000, "line 2: not valid JSON"),
    "short.csv": (b"a,b\n1,2\n3\n", "line 3: 1 fields, but the header names 2"),
    "quote.csv": (b'a,b\n1,"2\n', "not valid CSV"),
    "latin.csv": ("a\nx\ncaf\xe9\n".encode("latin-1"), "line 3: not UTF-8"),
    "bad.xml": (b"<r>\n<p></r>", "line 2: not valid XML"),
    "bomb.xml": (b'<!DOCTYPE r [\n<!ENTITY a "b">]><r>&a;</r>', "line 2: XML entities are not accepted"),
    "plain.jsonl.gz": (b'{"a": 1}', "the gzip file is damaged"),
    "cut.jsonl.gz": (gzip.compress(b'{"a": 1}' * 100)[:-10], "the gzip file is damaged"),
    "notes.txt": (b"hello", "cannot tell the format"),
    "broken.parquet": (b"PAR1", "arquet"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_names_itself_and_the_line(tmp_path: Path, name: str) -> None:
    content, expected = MALFORMED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read(path, "p")
    assert str(raised.value).startswith(str(path))
    assert expected in str(raised.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "absent.jsonl")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read(folder)


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": ["1", "2"]}), path)
    assert [(row.line, dict(row.fields)) for row in read(path)] == [(1, {"a": "1"}), (2, {"a": "2"})]


def test_a_cell_longer_than_the_usual_csv_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("a\n" + "x" * 200_000 + "\n", encoding="utf-8")
    assert len(read(path)[0].fields["a"]) == 200_000


@pytest.mark.parametrize(("name", "expected"), [("a.jsonl", ".jsonl"), ("a.b.CSV.gz", ".csv"), ("a", "")])
def test_suffix_looks_under_gz(name: str, expected: str) -> None:
    assert suffix(Path(name)) == expected
