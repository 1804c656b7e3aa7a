"""The ledger's file: shared by processes, cut off at any moment, old, damaged, full."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from loopback import Loopback, Reply, answer, choice
from test_ledger import Patient, Toy, path, request, run
from understudy.errors import StoreError
from understudy.ledger import Ledger, _file
from understudy.ledger._keys import digest, messages_text
from understudy.ledger._rows import unpack
from understudy.ledger.verifying import problems
from understudy.teachers.openai import OpenAI
from understudy.types import Completion, Message, Question, Request, Sampling

__all__ = ["path"]

WARM = Sampling(temperature=0.7)

CHILD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from test_ledger import Toy, WARM, request
    from understudy.ledger import Ledger

    class Slow(Toy):
        def say(self, request, sample):
            time.sleep(float(sys.argv[3]))
            return super().say(request, sample)

    toy = Slow(sys.argv[2])
    toy.identity = Toy().identity
    with Ledger(Path(sys.argv[1])) as ledger:
        for position, completion in ledger.complete(toy, [request(str(i)) for i in range(60)], WARM):
            print(position, completion.text, flush=True)
""")


def child(path: Path, name: str, pause: float) -> subprocess.Popen[str]:
    search = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", CHILD, str(path), name, str(pause)]
    environment = os.environ | {"PYTHONPATH": search}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


# ---------------------------------------------------------------- several processes, sudden ends


@pytest.mark.parametrize("moment", range(0, 60, 12))
def test_a_killed_process_has_kept_every_answer_it_gave(path: Path, moment: int) -> None:
    process = child(path, "toy", 0.003)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(moment)]
    process.send_signal(signal.SIGKILL)
    seen += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    toy = Toy()
    assert len(run(path, toy, [request(str(i)) for i in range(60)])) == 60
    # At most one answer had landed but was not yet printed.
    assert len(toy.asked) in (60 - len(seen), 59 - len(seen))
    assert list(problems(path)) == []


def test_two_processes_share_a_ledger_and_agree(path: Path) -> None:
    """Each says its own name, so any answer that they do not share shows."""
    outputs = []
    for process in [child(path, name, 0.002) for name in ("one", "two")]:
        outputs.append(sorted(process.communicate(timeout=30)[0].splitlines()))
        assert process.returncode == 0
    assert len(outputs[0]) == 60
    assert outputs[0] == outputs[1]


def test_of_two_answers_to_one_request_the_first_stored_counts(path: Path) -> None:
    class Overtaken(Patient):
        """While it thinks, another process asks the same and is quicker."""

        def say(self, request: Request, sample: int) -> Completion:
            quicker = Toy("quicker")
            quicker.identity = self.identity
            run(path, quicker, [request])
            said = super().say(request, sample)
            return Completion(said.question_id, sample, said.text, "stop", raw="a reply that came too late")

    ((_, got),) = run(path, Overtaken(), [request("a")])
    assert got.text == "quicker: a #0"
    assert list(problems(path)) == [], "no reply is left that belongs to nobody"


# ---------------------------------------------------------------- files of format 1

FORMAT_1 = """
CREATE TABLE IF NOT EXISTS prompts (hash TEXT PRIMARY KEY, messages TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS completions (
  key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, model TEXT NOT NULL, revision TEXT NOT NULL,
  prompt TEXT NOT NULL REFERENCES prompts(hash), sampling TEXT NOT NULL, sample INTEGER NOT NULL,
  question_id TEXT NOT NULL, text TEXT NOT NULL, reasoning TEXT NOT NULL, finish_reason TEXT NOT NULL,
  error TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  created TEXT NOT NULL, run TEXT NOT NULL
) WITHOUT ROWID;
"""
OLD_SAMPLING = '{"max_tokens":512,"seed":null,"stop":[],"temperature":0.7,"top_p":1.0}'
OLD_KEYS = {
    ("a", 0): "234d7bf7f76e388b6874cd850855c45a7e02e52fa692966b664614c2038612d5",
    ("b", 1): "d9be1ebf836e7339cc07d506a79fd4e8cb3657340e1ed52a31eb701784e5ec49",
}


def write_format_1(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA user_version = 1")
        database.executescript(FORMAT_1)
        for (text, sample), key in OLD_KEYS.items():
            messages = messages_text((Message("user", text),))
            prompt, question = digest(messages), Question(text, "1").id
            database.execute("INSERT INTO prompts VALUES (?, ?)", (prompt, messages))
            asked = (key, "http://toy", "toy", "", prompt, OLD_SAMPLING, sample, question)
            said = (f"old {text}", "hm", "stop", "", 3, 2, "2026-11-21T09:00:00.000+00:00", "trial")
            marks = ",".join("?" * len(asked + said))
            database.execute(f"INSERT INTO completions VALUES ({marks})", asked + said)


FORMAT_2 = """
CREATE TABLE prompts (hash TEXT PRIMARY KEY, messages TEXT NOT NULL);
CREATE TABLE replies (id INTEGER PRIMARY KEY, samples TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE completions (
  key TEXT PRIMARY KEY NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, revision TEXT NOT NULL,
  prompt TEXT NOT NULL REFERENCES prompts(hash), sampling TEXT NOT NULL, sample INTEGER NOT NULL,
  question_id TEXT NOT NULL, text TEXT NOT NULL, reasoning TEXT NOT NULL, finish_reason TEXT NOT NULL,
  error TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL,
  latency_s REAL NOT NULL, attempts INTEGER NOT NULL, created TEXT NOT NULL, run TEXT NOT NULL,
  raw INTEGER REFERENCES replies(id)
);
"""


def write_format_2(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA user_version = 2")
        database.executescript(FORMAT_2)
        database.execute("INSERT INTO replies VALUES (1, '[0]', ?)", (zlib.compress(b"a reply"),))
        for (text, sample), key in OLD_KEYS.items():
            messages = messages_text((Message("user", text),))
            prompt, question = digest(messages), Question(text, "1").id
            database.execute("INSERT INTO prompts VALUES (?, ?)", (prompt, messages))
            asked = (key, "http://toy", "toy", "", prompt, OLD_SAMPLING, sample, question)
            said = (f"old {text}", "hm", "stop", "", 3, 2, 0.25, 1.5, 2, "2026-11-21T09:00:00.000+00:00")
            row = (*asked, *said, "trial", 1 if text == "a" else None)
            database.execute(f"INSERT INTO completions VALUES ({','.join('?' * len(row))})", row)


def test_a_file_of_format_2_gets_the_new_column_and_keeps_all_it_has(path: Path) -> None:
    write_format_2(path)
    with closing(sqlite3.connect(path)) as database:
        before = database.execute("SELECT * FROM completions").fetchall()
    toy = Toy()
    got = run(path, toy, [request("a", (0, 1)), request("b", (1,))])
    assert [(c.text, c.logprob) for _, c in got] == [("old a", None), ("toy: a #1", None), ("old b", None)]
    assert toy.asked == [("a", 1)]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
        after = database.execute("SELECT * FROM completions WHERE text LIKE 'old%'").fetchall()
    assert after == [(*row, None) for row in before]
    assert list(problems(path)) == []


def test_a_kill_while_the_column_is_added_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_format_2(path)
    monkeypatch.setattr(_file, "_FROM_2", f"{_file._FROM_2}; SELECT * FROM no_such_table")
    with pytest.raises(StoreError, match="no_such_table"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as database:
        assert "logprob" not in str(database.execute("SELECT sql FROM sqlite_master").fetchall())
    monkeypatch.undo()
    toy = Toy()
    run(path, toy, [request("a"), request("b", (1,))])
    assert toy.asked == []


def test_a_file_of_format_1_is_moved_to_the_new_one(path: Path) -> None:
    write_format_1(path)
    asked = [request("a", (0, 1)), request("b", (0, 1))]
    toy = Toy()
    got = run(path, toy, asked)
    assert [c.text for _, c in got] == ["old a", "toy: a #1", "toy: b #0", "old b"]
    assert sorted(toy.asked) == [("a", 1), ("b", 0)]
    assert got[0][1] == Completion(Question("a", "1").id, 0, "old a", "stop", 3, 2, "hm")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
        old = database.execute(
            "SELECT usd, raw, logprob, run, created FROM completions WHERE text = 'old a'"
        ).fetchone()
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert old == (None, None, None, "trial", "2026-11-21T09:00:00.000+00:00")
    assert tables == {"prompts", "replies", "completions"}
    assert list(problems(path)) == []


def test_a_kill_while_a_file_is_moved_leaves_the_old_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_format_1(path)
    monkeypatch.setattr(_file, "_FROM_1", _file._FROM_1 + "SELECT * FROM no_such_table")
    with pytest.raises(StoreError, match="no_such_table"):
        Ledger(path)
    monkeypatch.undo()
    toy = Toy()
    run(path, toy, [request("a"), request("b", (1,))])
    assert toy.asked == []


@pytest.mark.parametrize("write", [write_format_1, write_format_2])
def test_two_processes_may_move_a_file_at_once(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    for process in [child(path, name, 0) for name in ("one", "two")]:
        assert "old a" not in process.communicate(timeout=30)[0]
        assert process.returncode == 0
    assert list(problems(path)) == []


# ---------------------------------------------------------------- a ledger that cannot be used


def test_a_file_that_is_no_ledger_is_left_alone(path: Path) -> None:
    path.write_text("dear diary, " * 100)
    with pytest.raises(StoreError, match=r"ledger.sqlite is not a ledger; move it away"):
        Ledger(path)
    assert path.read_text().startswith("dear diary")


def test_another_database_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE diary (day)")
    with pytest.raises(StoreError, match=r"ledger.sqlite is not a ledger; move it away"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("diary",)]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_newer_format_is_not_touched(path: Path) -> None:
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer understudy"):
        Ledger(path)


def test_a_held_ledger_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_file, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder, Ledger(path) as ledger:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="held by another process"):
            list(ledger.complete(Toy(), [request("a")], WARM))


def test_a_full_disk_is_said_and_what_fitted_is_kept(path: Path) -> None:
    long = [request("long " * 400 + str(i)) for i in range(50)]
    with Ledger(path) as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(StoreError, match=r"the disk that holds the ledger .* is full"):
            list(ledger.complete(Toy(), long, WARM))
        kept = ledger.asked - 1
    assert kept > 3
    toy = Toy()
    assert len(run(path, toy, long)) == 50
    assert len(toy.asked) == 50 - kept
    assert list(problems(path)) == []


# ---------------------------------------------------------------- what must not be in it, and what it takes


def test_a_key_that_a_server_echoes_is_not_in_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)

    def echo(body: dict[str, object]) -> Reply:
        return answer(choice(f"your key is {key}", reasoning_content=key))

    with Loopback(otherwise=echo) as server, Ledger(path) as ledger:
        completer = OpenAI(model="m", base_url=server.url).build(None)
        got = list(ledger.complete(completer, [request("a"), request("b")], WARM))
        assert len(got) == 2
        kept = list(ledger._db.execute("SELECT body FROM replies"))
    assert all(key not in repr(c) for _, c in got)
    files = [file.read_bytes() for file in path.parent.glob("ledger.sqlite*")]
    assert files
    assert all(key.encode() not in data for data in files)
    assert all(key not in unpack(body) for (body,) in kept)
    assert kept, "the replies are kept, without the key"


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc"
)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "benchmarks" / "ledger.py"
    peaks = []
    for rows in (10_000, 200_000):
        command = [sys.executable, str(script), "--only-pass", str(tmp_path / f"{rows}"), "--rows", str(rows)]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < peaks[0] + 50, "MB"
