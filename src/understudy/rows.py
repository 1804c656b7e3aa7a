"""Read the rows of a data file, each with the line it began on: JSON Lines, JSON, CSV, TSV, XML, Parquet.

Any of them may be gzipped, save Parquet. The catch: text is UTF-8 (a byte order mark is dropped), every
error names the file and the line, and a JSON file must hold one array of objects at its top.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from understudy.errors import DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".xml", ".parquet")
LARGEST_FIELD = 1 << 24  # csv's own limit of 131,072 characters is too small for retrieved passages


class NoSplitError(DataError):
    """The source has no such split. `data.prepare` then cuts a missing dev from train."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its fields, and where it stands."""

    fields: Mapping[str, Any]
    path: Path
    line: int
    """The line on which the row begins, from 1; for Parquet, and for the Hub, the number of the row."""

    @property
    def place(self) -> str:
        return f"{self.path}, line {self.line}"

    def wrong(self, what: str) -> DataError:
        """The error for this row, to be raised: "file, line 3: what"."""
        return DataError(f"{self.place}: {what}")


def suffix(path: Path) -> str:
    """The format that a file's name tells, without `.gz`: ".jsonl", ".csv", ..."""
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return bare.suffix.lower()


def read(path: Path, element: str = "", otherwise: str = "") -> list[Row]:
    """All rows of a file; `element` names the XML element that is a row, and `otherwise` the format of a
    file whose name does not tell it.

    Raises DataError when the file is missing, of an unknown format, damaged, or has a malformed row.
    """
    kind = suffix(path)
    kind = kind if kind in SUFFIXES else otherwise or kind
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if kind not in SUFFIXES:
        raise DataError(
            f"{path}: cannot tell the format from the name; use one of {', '.join(SUFFIXES)}, "
            "with .gz after it if compressed"
        )
    if kind == ".parquet":
        return list(_parquet(path))
    text = read_text(path)
    if kind == ".xml":
        return list(_xml(path, text, element))
    if kind in (".csv", ".tsv"):
        return list(_table(path, text, "\t" if kind == ".tsv" else ","))
    if kind == ".json" and text.lstrip().startswith("["):
        return list(_array(path, text))
    return list(_lines(path, text))


def read_text(path: Path) -> str:
    """A file's text, decompressed if it is gzipped. Raises DataError when that cannot be done."""
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz" or data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error


def _checked(path: Path, line: int, value: object) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            f"{path}, line {line}: expected an object of named fields, not {type(value).__name__}"
        )
    return Row(value, path, line)


def _lines(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines(): JSON strings may hold U+2028 and the like, which do not end a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not valid JSON ({error})") from error
        yield _checked(path, number, value)


def _array(path: Path, text: str) -> Iterator[Row]:
    """The objects of a JSON array one at a time, so that each is known by its line."""
    decoder = json.JSONDecoder()
    at, line, counted = text.index("[") + 1, 1, 0
    while True:
        at = _skip_blank(text, at)
        if text[at : at + 1] == "]":
            return
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            where = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise DataError(f"{path}, line {where}: not valid JSON ({error})") from error
        yield _checked(path, line, value)
        at = _skip_blank(text, at)
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "]":
            raise DataError(
                f"{path}, line {text.count(chr(10), 0, at) + 1}: expected a comma or the end of the array"
            )


def _skip_blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


class _TabSeparated(csv.excel_tab):
    """Quotes are plain characters: what data sets call TSV has no quoting."""

    quoting = csv.QUOTE_NONE


def _table(path: Path, text: str, separator: str) -> Iterator[Row]:
    csv.field_size_limit(LARGEST_FIELD)
    dialect = _TabSeparated if separator == "\t" else csv.excel
    reader = csv.reader(io.StringIO(text, newline=""), dialect, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        begins = reader.line_num + 1
        for cells in reader:
            if cells:
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {begins}: {len(cells)} fields, but the header names {len(header)}"
                    )
                yield Row(dict(zip(header, cells, strict=True)), path, begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from error


def _xml(path: Path, text: str, element: str) -> Iterator[Row]:
    """Every `element` as its attributes and the text of its children. Entities are refused."""
    rows: list[Row] = []
    fields: dict[str, str] = {}
    inside: list[str] = []
    begins = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal fields, begins
        if inside:
            inside.append(name)
        elif name == element:
            inside.append(name)
            fields, begins = dict(attributes), parser.CurrentLineNumber

    def data(characters: str) -> None:
        if len(inside) > 1:
            fields[inside[1]] = fields.get(inside[1], "") + characters

    def end(_name: str) -> None:
        if inside and len(inside) == 1:
            rows.append(Row({key: value.strip() for key, value in fields.items()}, path, begins))
        if inside:
            inside.pop()

    def entity(*_declaration: object) -> None:
        raise DataError(f"{path}, line {parser.CurrentLineNumber}: XML entities are not accepted")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.CharacterDataHandler = data
    parser.EndElementHandler = end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid XML ({error})") from error
    yield from rows


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: reading Parquet needs pyarrow; install understudy[hub]") from error
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    for number, fields in enumerate(table.to_pylist(), start=1):
        yield Row(fields, path, number)
