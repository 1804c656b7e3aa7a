"""What is done with a ledger: listing, showing, exporting, dropping, checking, reading replies again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from test_ledger import WARM, Toy, path, request
from understudy.errors import StoreError
from understudy.ledger import Ledger
from understudy.ledger.dropping import Dropped, drop
from understudy.ledger.export import write_file
from understudy.ledger.reading import COLUMNS, entries, find, summaries
from understudy.ledger.selection import Selection
from understudy.ledger.verifying import problems
from understudy.ledger_commands import ledger as commands
from understudy.roles import Landed
from understudy.types import Completion, Question, Request, Sampling

__all__ = ["path"]


def reply(*texts: str) -> str:
    """As an OpenAI-compatible server writes it."""
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in texts]
    return json.dumps({"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 4}})


class Server(Toy):
    """Hands over the samples of a request with the reply they came in; `blind`, it could not read that."""

    def __init__(self, name: str = "toy", blind: bool = False) -> None:
        super().__init__(name)
        self.blind = blind

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        for position, asked in enumerate(requests):
            # The first sample says how likely it was.
            said = [
                replace(self.say(asked, sample), logprob=None if sample else -1.5) for sample in asked.samples
            ]
            raw = reply(*[c.text for c in said])
            yield [(position, replace(c, raw=raw, text="" if self.blind else c.text)) for c in said]


class Refused(Toy):
    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        yield [
            (position, Completion(r.question.id, 0, "", "error", error="context too long"))
            for position, r in enumerate(requests)
        ]


def fill(path: Path) -> None:
    """Two samples of "a" and one of "b" by toy, one of "a" by other and a refusal, in two runs."""
    with Ledger(path, run="first", price=lambda c: 0.5 if c.sample == 0 else None) as ledger:
        list(ledger.complete(Server(), [request("a", (0, 1), system="s"), request("b")], WARM))
    with Ledger(path, run="second") as ledger:
        list(ledger.complete(Server("other"), [request("a")], WARM))
        list(ledger.complete(Refused("other"), [request("c")], WARM))


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        number: int = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    return number


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        assert database.execute(statement, values).rowcount == 1


# ---------------------------------------------------------------- listing and showing


def test_a_summary_for_each_model(path: Path) -> None:
    fill(path)
    other, toy = summaries(path)
    assert (toy.endpoint, toy.model, toy.runs) == ("http://toy", "toy", ("first",))
    assert (toy.completions, toy.questions, toy.errors) == (3, 2, 0)
    assert (toy.prompt_tokens, toy.completion_tokens) == (9, 6)
    assert (toy.usd, toy.unpriced) == (1.0, 1)
    assert (other.completions, other.errors, other.usd, other.unpriced) == (2, 1, None, 2)
    assert toy.first <= toy.last <= other.last


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), 5),
        (Selection(run="second"), 2),
        (Selection(model="toy"), 3),
        (Selection(endpoint="http://toy"), 5),
        (Selection(errors=True), 1),
        (Selection(model="toy", errors=True), 0),
        (Selection(before="2020-01-01"), 0),
        (Selection(before="2999-01-01"), 5),
        (Selection(run="' OR 1 --"), 0),
    ],
)
def test_a_selection_meets_every_condition(path: Path, selection: Selection, expected: int) -> None:
    fill(path)
    assert len(list(entries(path, selection))) == expected


def test_everything_about_one_completion(path: Path) -> None:
    fill(path)
    question = Question("a", "1").id
    found = find(path, question)
    assert [(entry["model"], entry["sample"]) for entry in found] == [("toy", 0), ("toy", 1), ("other", 0)]
    entry = found[1]
    assert list(entry) == list(COLUMNS)
    assert entry["messages"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    assert entry["sampling"] == {"temperature": 0.7, "top_p": 1, "max_tokens": 512, "stop": [], "seed": None}
    assert entry["raw"] == reply("toy: a #0", "toy: a #1")
    assert find(path, entry["key"]) == find(path, entry["key"][:10]) == [entry]


@pytest.mark.parametrize("wanted", ["0" * 64, "abcde", "100%", ""])
def test_a_completion_that_is_not_there_is_said(path: Path, wanted: str) -> None:
    fill(path)
    with pytest.raises(StoreError, match="has no completion"):
        find(path, wanted)


def test_a_ledger_that_is_not_there_is_said_and_not_made(path: Path) -> None:
    for look in (lambda: summaries(path), lambda: list(entries(path)), lambda: list(problems(path))):
        with pytest.raises(StoreError, match="there is no ledger at"):
            look()
    assert not path.exists()


# ---------------------------------------------------------------- exporting


def test_an_export_holds_every_row(path: Path, tmp_path: Path) -> None:
    fill(path)
    out = tmp_path / "out.jsonl"
    assert write_file(entries(path), out) == 5
    assert [json.loads(line) for line in out.read_text().splitlines()] == list(entries(path))


def test_an_export_to_parquet_holds_the_same(path: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    fill(path)
    with Ledger(path) as ledger:
        list(ledger.complete(Toy(), [request("half a pair: \ud83d")], WARM))
    out = tmp_path / "out.parquet"
    assert write_file(entries(path), out) == 6
    rows = parquet.read_table(out).to_pylist()
    for row, entry in zip(rows[:5], entries(path), strict=False):
        assert row | {"sampling": json.loads(row["sampling"])} == entry
    assert rows[5]["messages"] == [{"role": "user", "content": "half a pair: \ufffd"}]


def test_an_export_that_fails_leaves_no_file(path: Path, tmp_path: Path) -> None:
    fill(path)

    def broken() -> Iterator[dict[str, Any]]:
        yield from entries(path)
        raise StoreError("the disk is gone")

    with pytest.raises(StoreError, match="gone"):
        write_file(broken(), tmp_path / "out.jsonl")
    assert [file.name for file in tmp_path.iterdir() if "out" in file.name] == []


# ---------------------------------------------------------------- dropping


def test_a_dry_run_counts_and_drops_nothing(path: Path) -> None:
    fill(path)
    before = list(entries(path))
    assert drop(path, Selection(model="toy"), dry_run=True) == Dropped(3, 2, 2)
    assert list(entries(path)) == before


def test_what_is_dropped_is_asked_again_and_the_rest_is_kept(path: Path) -> None:
    fill(path)
    assert drop(path, Selection(run="first"), dry_run=False) == Dropped(3, 2, 2)
    assert [entry["model"] for entry in entries(path)] == ["other", "other"]
    assert (count(path, "prompts"), count(path, "replies")) == (2, 1)
    assert list(problems(path)) == []
    toy = Toy()
    with Ledger(path) as ledger:
        list(ledger.complete(toy, [request("b")], WARM))
    assert toy.asked == [("b", 0)]


def test_space_is_given_back(path: Path) -> None:
    with Ledger(path) as ledger:
        list(ledger.complete(Toy(), [request("long " * 1000 + str(i)) for i in range(50)], WARM))
    before = path.stat().st_size
    drop(path, Selection(model="toy"), dry_run=False)
    assert path.stat().st_size < before / 4


def test_everything_is_not_dropped_by_mistake(path: Path) -> None:
    fill(path)
    with pytest.raises(StoreError, match="say what to drop"):
        drop(path, Selection(), dry_run=False)


# ---------------------------------------------------------------- checking

DAMAGES: dict[str, tuple[str, str]] = {
    "a changed model": (
        "UPDATE completions SET model = 'better' WHERE text = 'toy: b #0'",
        "does not have the key of what it says",
    ),
    "a changed sample": (
        "UPDATE completions SET sample = 7 WHERE text = 'toy: b #0'",
        "does not have the key",
    ),
    "a changed sampling": (
        "UPDATE completions SET sampling = replace(sampling, '0.7', '0.8') WHERE text = 'toy: b #0'",
        "does not have the key",
    ),
    "no sampling": ("UPDATE completions SET sampling = '{}' WHERE text = 'toy: b #0'", "cannot be read"),
    "a changed prompt": (
        "UPDATE prompts SET messages = replace(messages, 'b', 'B') WHERE messages LIKE '%\"b\"%'",
        "does not have the hash of its text",
    ),
    "a lost prompt": ("DELETE FROM prompts WHERE messages LIKE '%\"b\"%'", "has no prompt"),
    "a prompt too many": ("INSERT INTO prompts VALUES ('00', '[]')", "prompt 00 belongs to no completion"),
    "a lost reply": ("DELETE FROM replies WHERE id = 1", "has lost its reply"),
    "a reply too many": ("INSERT INTO replies VALUES (99, '[]', x'00')", "reply 99 belongs to no completion"),
    "a broken reply": ("UPDATE replies SET body = x'00' WHERE id = 2", "reply 2 cannot be unpacked"),
    "an unknown ending": (
        "UPDATE completions SET finish_reason = '?' WHERE text = 'toy: b #0'",
        "unknown reason",
    ),
    "a failure that may pass": (
        "UPDATE completions SET error = 'unanswered: HTTP 503' WHERE finish_reason = 'error'",
        "should not have been stored",
    ),
    "a text that was lost": (
        "UPDATE completions SET text = '' WHERE text = 'toy: b #0'",
        "lacks the text that its reply holds",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(path: Path, damage: str) -> None:
    fill(path)
    assert run("verify", path).exit_code == 0
    statement, sentence = DAMAGES[damage]
    change(path, statement)
    verified = run("verify", path)
    assert verified.exit_code == 1
    assert sentence in verified.output


def test_a_damaged_file_is_named(path: Path) -> None:
    with Ledger(path) as ledger:
        list(ledger.complete(Toy(), [request("long " * 100 + str(i)) for i in range(100)], WARM))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    try:
        found = list(problems(path))
    except StoreError as error:
        found = [str(error)]
    assert found


# ---------------------------------------------------------------- reading replies again


def test_a_mended_parser_mends_rows_without_asking(path: Path) -> None:
    with Ledger(path) as ledger:
        asked = [request("a", (0, 1)), request("b")]
        blind = list(ledger.complete(Server(blind=True), asked, WARM))
        assert {completion.text for _, completion in blind} == {""}
    assert "lacks the text" in run("verify", path).output
    assert run("reparse", path).output == "3 completions changed\n"
    assert run("reparse", path).output == "0 completions changed\n"
    assert run("verify", path).exit_code == 0
    with Ledger(path) as ledger:
        got = {(at, c.sample): c.text for at, c in ledger.complete(Toy(stop_after=0), asked, WARM)}
    assert got == {(0, 0): "toy: a #0", (0, 1): "toy: a #1", (1, 0): "toy: b #0"}


def test_samples_keep_their_texts_when_one_of_them_is_dropped(path: Path) -> None:
    with Ledger(path) as ledger:
        list(ledger.complete(Server(blind=True), [request("a", (0, 1, 2))], WARM))
    change(path, "DELETE FROM completions WHERE sample = 1")
    assert run("reparse", path).output == "2 completions changed\n"
    assert [entry["text"] for entry in entries(path)] == ["toy: a #0", "toy: a #2"]


def test_a_parser_that_cannot_read_a_reply_changes_nothing(path: Path) -> None:
    fill(path)
    before = list(entries(path))
    unanswered = Completion("", 0, "", "error", error="unanswered: what is this?")
    parsers: list[Callable[[str, tuple[int, ...]], list[Completion]]] = [
        lambda raw, samples: [],
        lambda raw, samples: [unanswered],
    ]
    for parse in parsers:
        with Ledger(path) as ledger:
            assert ledger.reparse(parse) == 0
    assert list(entries(path)) == before


# ---------------------------------------------------------------- commands


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_ls_prints_what_there_is(path: Path) -> None:
    fill(path)
    lines = run("ls", path.parent).output.splitlines()
    assert lines[4:7] == [
        "http://toy toy",
        "  3 completions of 2 questions, 0 errors",
        "  9 prompt and 6 completion tokens, 1.0000 USD and 1 without a price",
    ]
    (row,) = map(json.loads, run("ls", path, "--json", "--model", "toy").output.splitlines())
    assert row["completions"] == 3


def test_show_prints_one_json_object_each(path: Path) -> None:
    fill(path)
    assert json.loads(run("show", path, Question("b", "1").id).output)["text"] == "toy: b #0"


def test_export_writes_to_a_file_or_the_standard_output(path: Path, tmp_path: Path) -> None:
    fill(path)
    printed = run("export", path, "-", "--run", "first").output
    assert len(printed.splitlines()) == 3
    run("export", path, tmp_path / "out.jsonl", "--run", "first")
    assert (tmp_path / "out.jsonl").read_text() == printed


def test_gc_says_what_it_does(path: Path) -> None:
    fill(path)
    would = run("gc", path, "--errors", "--dry-run").output
    assert would == "would drop 1 completions, 1 prompts and 0 replies\n"
    assert run("gc", path, "--errors").output == would.replace("would drop", "dropped")
    assert run("verify", path).output == "whole\n"
