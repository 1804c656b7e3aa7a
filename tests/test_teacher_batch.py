"""The `openai_batch` teacher against a stand-in service: what is paid for is collected, and paid for once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from batch_server import BatchServer, Json, answered
from understudy.errors import StoreError, TeacherError
from understudy.ledger import Ledger, transient
from understudy.teachers import _provider
from understudy.teachers.openai import OpenAI
from understudy.teachers.openai_batch import OpenAIBatch
from understudy.types import Completion, Message, Question, Request, Sampling

KEY = "sk-test-5f1a9c3e7b"
WARM = Sampling(temperature=0.7, seed=5)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_provider, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def offline(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """The fields of one that answers here, for the contracts that every teacher keeps."""
    server = stack.enter_context(BatchServer())
    return {"base_url": server.url, "model": "toy", "state": folder / "state", "poll_s": 0.01}


def requests(count: int, samples: tuple[int, ...] = (0,)) -> list[Request]:
    texts = [f"What is 2 + 2, asked {i} times?" for i in range(count)]
    return [Request(Question(text, "4"), (Message("user", text),), samples) for text in texts]


def teacher(server: BatchServer, state: Path, **fields: Any) -> OpenAIBatch:
    return OpenAIBatch(model="toy", base_url=server.url, state=state, poll_s=0.01, **fields)


def ask(server: BatchServer, state: Path, asked: list[Request], **fields: Any) -> list[Completion]:
    """Every sample once, in the order of the questions and then of the samples."""
    completer = teacher(server, state, **fields).build(None)
    landed = [item for batch in completer.complete(iter(asked), WARM) for item in batch]
    assert sorted((position, c.sample) for position, c in landed) == [
        (position, sample) for position, request in enumerate(asked) for sample in sorted(request.samples)
    ]
    assert all(c.question_id == asked[position].question.id for position, c in landed)
    return [completion for _, completion in sorted(landed, key=lambda item: (item[0], item[1].sample))]


def notes(state: Path) -> list[Path]:
    return list(state.rglob("*.json"))


def test_every_question_gets_its_own_answer_and_nothing_is_left_behind(state: Path) -> None:
    with BatchServer() as server:
        got = ask(server, state, requests(3, (0, 1)))
        (rows,) = server.inputs()
    assert [c.text for c in got] == [
        f"I read: What is 2 + 2, asked {i} times? The answer is 4. ({sample})"
        for i in range(3)
        for sample in (0, 1)
    ]
    assert {c.finish_reason for c in got} == {"stop"}
    assert json.loads(got[0].raw)["choices"][0]["message"]["content"] == got[0].text
    assert [row["url"] for row in rows] == ["/v1/chat/completions"] * 3
    # One row draws both samples, so its prompt is paid for once.
    assert [(row["body"]["n"], row["body"]["seed"]) for row in rows] == [(2, 5)] * 3
    assert notes(state) == []


def test_no_question_sends_nothing(state: Path) -> None:
    with BatchServer() as server:
        assert ask(server, state, []) == []
        assert server.calls == []


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        ({"requests_per_file": 2}, [2, 2, 1]),
        ({"bytes_per_file": 800}, [2, 2, 1]),
        ({"bytes_per_file": 1}, [1, 1, 1, 1, 1]),
        ({"requests_per_file": 5}, [5]),
    ],
)
def test_files_keep_to_the_limits(limits: dict[str, int], sizes: list[int], state: Path) -> None:
    with BatchServer() as server:
        assert len(ask(server, state, requests(5), **limits)) == 5
        assert [len(rows) for rows in server.inputs()] == sizes
        for name, data in server.files.items():
            if name.startswith("file-in") and len(data.splitlines()) > 1:
                assert len(data) <= limits.get("bytes_per_file", len(data))


def test_requests_are_read_only_as_far_as_batches_may_run(state: Path) -> None:
    read = 0

    def stream() -> Iterator[Request]:
        nonlocal read
        for request in requests(12):
            read += 1
            yield request

    with BatchServer() as server:
        completer = teacher(server, state, requests_per_file=2, concurrency=2).build(None)
        landed = completer.complete(stream(), WARM)
        assert len(next(landed)) == 2
        assert read == 4  # two batches of two are running, and no third may
        assert sum(len(batch) for batch in landed) == 10


def test_the_order_of_the_results_and_lines_that_come_twice_change_nothing(state: Path) -> None:
    def rearranged(lines: list[Json]) -> list[Json]:
        stranger = {"custom_id": "not-ours", "response": answered({"messages": [{"content": "?"}]})}
        late = {**lines[0], "response": {"status_code": 200, "body": {"choices": [{"text": "another"}]}}}
        return [stranger, {"custom_id": None}, *lines[::-1], late, *lines]

    with BatchServer() as server:
        plain = ask(server, state, requests(4))
    with BatchServer(rearrange=rearranged) as server:
        assert ask(server, state, requests(4)) == plain
        assert len(server.batches) == 1


def test_lines_that_are_no_json_are_passed_over(state: Path) -> None:
    with BatchServer() as server:

        def torn(method: str, path: str) -> None:
            server.files.update({k: b'{"torn\n[1]\n' + v for k, v in server.files.items() if "out" in k})

        server.after = torn
        assert len(ask(server, state, requests(2))) == 2


def test_an_expired_batch_pays_only_for_what_is_missing(state: Path) -> None:
    with BatchServer(ends=["expired"]) as server:
        got = ask(server, state, requests(5))
        assert {c.finish_reason for c in got} == {"stop"}
        assert [len(rows) for rows in server.inputs()] == [5, 2]
        assert set(server.paid.values()) == {1}
        assert [c.attempts for c in got] == [1, 2, 1, 2, 1]
    assert notes(state) == []


def test_what_never_gets_an_answer_is_given_up_and_may_be_asked_again(state: Path) -> None:
    with BatchServer(otherwise="expired") as server:
        got = ask(server, state, requests(8))
        assert [len(rows) for rows in server.inputs()] == [8, 4, 2]
    lost = [c for c in got if c.finish_reason == "error"]
    assert [c.error for c in lost] == ["unanswered: batch_expired: not executed (tries: 3)"]
    assert transient(lost[0])


def test_a_cancelled_batch_is_collected_and_not_sent_again(state: Path) -> None:
    with BatchServer(ends=["cancelled"]) as server:
        got = ask(server, state, requests(4))
        assert len(server.batches) == 1
    assert [c.error for c in got] == ["", "unanswered: the batch was cancelled"] * 2
    assert notes(state) == []


def test_a_batch_that_the_provider_refuses_ends_the_run_with_its_reason(state: Path) -> None:
    with BatchServer(ends=["failed"]) as server:
        with pytest.raises(TeacherError, match=r"no such model.*nothing of it was run"):
            ask(server, state, requests(2))
        assert notes(state) == []
        assert len(ask(server, state, requests(2))) == 2


ROWS = {
    "too long": (
        {"error": {"code": "context_length_exceeded", "message": "4097"}},
        400,
        "context too long: HTTP 400",
    ),
    "filtered": ({"error": {"code": "content_filter", "message": "no"}}, 400, "content filter: HTTP 400"),
    "rejected": ({"error": {"message": "strange"}}, 400, "unanswered: HTTP 400: strange"),
}


@pytest.mark.parametrize(("body", "status", "error"), ROWS.values(), ids=ROWS.keys())
def test_a_row_that_fails_is_that_questions_own_data(
    body: Json, status: int, error: str, state: Path
) -> None:
    def one_bad(asked: Json) -> Json:
        if "asked 1 times" in asked["messages"][-1]["content"]:
            return {"status_code": status, "body": body}
        return answered(asked)

    with BatchServer(respond=one_bad) as server:
        got = ask(server, state, requests(3))
        assert len(server.batches) == 1
    assert [c.finish_reason for c in got] == ["stop", "error", "stop"]
    assert got[1].error.startswith(error)


def test_a_row_that_met_a_passing_fault_is_sent_again(state: Path) -> None:
    seen: list[str] = []

    def busy_once(asked: Json) -> Json:
        seen.append(asked["messages"][-1]["content"])
        if seen.count(seen[-1]) == 1 and "asked 1 times" in seen[-1]:
            return {"status_code": 500, "body": {"error": {"message": "oops"}}}
        return answered(asked)

    with BatchServer(respond=busy_once) as server:
        assert {c.finish_reason for c in ask(server, state, requests(3))} == {"stop"}
        assert [len(rows) for rows in server.inputs()] == [3, 1]


@pytest.mark.parametrize("status", [200, 400])
def test_a_provider_that_draws_one_sample_per_row_is_asked_one_by_one(status: int, state: Path) -> None:
    def single(asked: Json) -> Json:
        if "n" in asked and status == 400:
            return {"status_code": 400, "body": {"error": {"message": "n must be 1"}}}
        return answered({**asked, "n": 1})

    with BatchServer(respond=single) as server:
        got = ask(server, state, requests(2, (0, 1, 2)))
        assert {c.finish_reason for c in got} == {"stop"}
        answered_in_the_first = 2 if status == 200 else 0
        assert [len(rows) for rows in server.inputs()] == [2, 6 - answered_in_the_first]
        assert all("n" not in row["body"] for row in server.inputs()[1])


def test_a_recipe_that_no_row_passes_ends_the_run(state: Path) -> None:
    wrong = {"status_code": 400, "body": {"error": {"message": "unknown field top_k"}}}
    with (
        BatchServer(respond=lambda asked: wrong) as server,
        pytest.raises(TeacherError, match=r"unknown field top_k.*teacher\.extra"),
    ):
        ask(server, state, requests(5))


def test_a_wrong_key_is_one_sentence_and_is_nowhere_on_disk(state: Path) -> None:
    refused = (401, {"error": {"message": f"wrong key {KEY}"}})
    with BatchServer(fault=lambda method, path: refused) as server:
        with pytest.raises(TeacherError, match="OPENAI_API_KEY") as caught:
            ask(server, state, requests(2))
        assert KEY not in str(caught.value)
        assert server.calls == [("POST", "/v1/files")]


def test_the_key_reaches_neither_notes_nor_answers(state: Path) -> None:
    def echo(asked: Json) -> Json:
        message = {"role": "assistant", "content": f"your key is {KEY}"}
        return {"status_code": 200, "body": {"choices": [{"message": message, "finish_reason": "stop"}]}}

    kept: list[bytes] = []
    with BatchServer(respond=echo) as server:

        def keep(method: str, path: str) -> None:
            kept.extend(path.read_bytes() for path in notes(state))

        server.after = keep
        got = ask(server, state, requests(2))
        assert server.keys == {f"Bearer {KEY}"}
    assert kept
    assert KEY.encode() not in b"".join(kept)
    assert KEY not in repr(got)
    assert got[0].text == "your key is ***"


PASSING = {
    "busy": (429, {"error": {"message": "slow down"}}),
    "broken": (500, {"error": {"message": "oops"}}),
}


@pytest.mark.parametrize("reply", PASSING.values(), ids=PASSING.keys())
def test_a_fault_on_any_call_is_waited_out_and_no_batch_is_made_twice(
    reply: tuple[int, Json], state: Path
) -> None:
    """The first call of each kind fails before it is done."""
    failed: set[tuple[str, str]] = set()

    def first_fails(method: str, path: str) -> tuple[int, Json] | None:
        kind = method, path.split("/")[2]
        if kind in failed:
            return None
        failed.add(kind)
        return reply

    with BatchServer(fault=first_fails) as server:
        assert len(ask(server, state, requests(2))) == 2
        assert len(failed) == 4
        assert len(server.batches) == 1


def test_a_batch_whose_reply_was_lost_is_found_and_not_made_again(state: Path) -> None:
    with BatchServer(page=1) as server:
        lost: list[str] = []

        def lose(method: str, path: str) -> None:
            if (method, path) == ("POST", "/v1/batches") and not lost:
                lost.append(path)
                raise ConnectionResetError

        server.after = lose
        assert len(ask(server, state, requests(4), requests_per_file=2)) == 4
        assert lost
        assert len(server.batches) == 2
        assert set(server.paid.values()) == {1}


def test_when_retries_run_out_the_batches_go_on(state: Path) -> None:
    with BatchServer(looks=0) as server:

        def down(method: str, path: str) -> tuple[int, Json] | None:
            return (503, {}) if path.startswith("/v1/batches/") else None

        server.fault = down
        with pytest.raises(TeacherError, match="run again to collect them"):
            ask(server, state, requests(3), max_retries=1)
        assert len(notes(state)) == 1
        server.fault = lambda method, path: None
        assert len(ask(server, state, requests(3))) == 3
        assert len(server.batches) == 1


def test_a_batch_of_another_account_is_said_and_its_note_is_named(state: Path) -> None:
    with BatchServer() as server:
        server.fault = lambda method, path: (503, {}) if path.startswith("/v1/batches/") else None
        with pytest.raises(TeacherError):
            ask(server, state, requests(3), max_retries=0)
        (note,) = notes(state)
        server.fault = lambda method, path: None
        server.batches.clear()
        with pytest.raises(TeacherError, match=f"delete {note}"):
            ask(server, state, requests(3))
        note.unlink()
        assert len(ask(server, state, requests(3))) == 3


def test_results_that_the_provider_no_longer_keeps_are_bought_again(state: Path) -> None:
    with BatchServer() as server:

        def forget_first(method: str, path: str) -> tuple[int, Json] | None:
            return (404, {}) if path == "/v1/files/file-out-1/content" else None

        server.fault = forget_first
        assert {c.finish_reason for c in ask(server, state, requests(2))} == {"stop"}
        assert len(server.batches) == 2


def test_what_is_on_its_way_is_waited_for_by_whoever_asks_for_a_part_of_it(state: Path) -> None:
    with BatchServer(looks=0) as server:
        first = teacher(server, state).build(None).complete(requests(4, (0, 1)), WARM)
        server.fault = lambda method, path: (503, {}) if path.startswith("/v1/batches/") else None
        with pytest.raises(TeacherError):
            list(first)
        server.fault = lambda method, path: None
        # Other questions, another order, and more samples of one of those that are on their way.
        asked = [*requests(6, (0,))[:3:-1], replace(requests(4)[3], samples=(1, 2))]
        got = ask(server, state, asked)
        assert [c.text[-3:] for c in got[-2:]] == ["(1)", "(0)"]
        rows = server.inputs()
        assert [[row["body"].get("n", 1) for row in file] for file in rows] == [[2] * 4, [1] * 3]
        # The rest of the first batch is still there for those who ask for it, and nothing is bought for them.
        assert len(ask(server, state, requests(3, (0, 1)))) == 6
        assert len(server.batches) == 2
        assert set(server.paid.values()) == {1}


def test_twins_share_one_row(state: Path) -> None:
    one = requests(1)[0]
    twin = replace(one, question=Question("Another question with the same prompt?", "4"))
    with BatchServer() as server:
        got = ask(server, state, [one, twin])
        assert len(server.inputs()[0]) == 1
    assert got[0].text == got[1].text


def test_another_sampling_or_prompt_is_another_row(state: Path) -> None:
    with BatchServer() as server:
        spec = teacher(server, state)
        for sampling in (WARM, replace(WARM, temperature=0.1), replace(WARM, seed=6)):
            list(spec.build(None).complete(requests(1), sampling))
        list(teacher(server, state, extra={"top_k": 3}).build(None).complete(requests(1), WARM))
        ids = [row["custom_id"] for file in server.inputs() for row in file]
    assert len(set(ids)) == 4
    assert all(name.endswith("-0-1") for name in ids)


# ---------------------------------------------------------------- kills

CHILD = """
import sys
from pathlib import Path
from understudy.ledger import Ledger
from understudy.teachers.openai_batch import OpenAIBatch
from understudy.types import Message, Question, Request, Sampling

url, folder = sys.argv[1], Path(sys.argv[2])
texts = [f"What is 2 + 2, asked {i} times?" for i in range(7)]
asked = [Request(Question(text, "4"), (Message("user", text),)) for text in texts]
spec = OpenAIBatch(model="toy", base_url=url, state=folder / "state", poll_s=0.02, requests_per_file=3)
with Ledger(folder / "ledger.sqlite") as ledger:
    print(sum(1 for _ in ledger.complete(spec.build(None), asked, Sampling())))
"""

MOMENTS = {
    "while it uploads": ("POST", "/v1/files", 1),
    "after an upload": ("POST", "/v1/files", 2),
    "before a batch is made": ("GET", "/v1/batches", 1),
    "while a batch is made": ("POST", "/v1/batches", 1),
    "while the last batch is made": ("POST", "/v1/batches", 3),
    "while it waits": ("GET", "/v1/batches/batch-1", 1),
    "while it downloads": ("GET", "/v1/files/file-out-3/content", 1),
    "between two downloads": ("GET", "/v1/files/file-out-4/content", 1),
}


@pytest.mark.parametrize(("method", "path", "times"), MOMENTS.values(), ids=MOMENTS.keys())
def test_a_killed_run_finds_its_batches_and_pays_nothing_twice(
    method: str, path: str, times: int, tmp_path: Path
) -> None:
    """The process is killed when the service has done what it was asked and before the reply is sent."""
    with BatchServer() as server:
        process: subprocess.Popen[bytes] | None = None
        started, killed = threading.Event(), threading.Event()

        def kill(*call: str) -> None:
            if call == (method, path) and server.count(*call) >= times and not killed.is_set():
                started.wait(10)
                assert process is not None
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed.set()

        server.after = kill
        process = start(server, tmp_path)
        started.set()
        assert process.wait(30) == -signal.SIGKILL
        assert killed.wait(10)
        assert start(server, tmp_path).wait(30) == 0
        assert (tmp_path / "said.txt").read_text() == "7\n"
        assert len(server.paid) == 7
        assert set(server.paid.values()) == {1}
        assert len(server.batches) == 3
    assert notes(tmp_path) == []
    assert list((tmp_path / "temporary").iterdir()) == [], "a kill leaves no prompts behind"


def start(server: BatchServer, folder: Path) -> subprocess.Popen[bytes]:
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, server.url, str(folder)],
            stdout=said,
            env={**os.environ, "TMPDIR": str(temporary)},
        )


# ---------------------------------------------------------------- the recipe's side


def test_it_shares_the_ledger_with_the_live_teacher(state: Path, tmp_path: Path) -> None:
    with BatchServer() as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        spec = teacher(server, state, extra={"top_k": 3})
        assert spec.identity() == OpenAI(model="toy", base_url=server.url, extra={"top_k": 3}).identity()
        assert len(list(ledger.complete(spec.build(None), requests(3), WARM))) == 3
        live = OpenAI(model="toy", base_url=server.url, extra={"top_k": 3}).build(None)
        assert len(list(ledger.complete(live, requests(3), WARM))) == 3
        assert (ledger.asked, ledger.reused) == (3, 3)


def test_the_default_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with BatchServer() as server:
        seen: list[Path] = []
        server.after = lambda method, path: seen.extend(notes(tmp_path))
        list(
            OpenAIBatch(model="toy", base_url=server.url, poll_s=0.01).build(None).complete(requests(1), WARM)
        )
    assert seen
    assert seen[0].parent.parent == tmp_path / "understudy" / "batches"


def test_a_note_that_cannot_be_read_is_named(state: Path) -> None:
    with BatchServer() as server:
        spec = teacher(server, state)

        def spoil(method: str, path: str) -> None:
            for note in notes(state):
                note.write_text("{")

        server.after = spoil
        server.fault = lambda method, path: (503, {}) if path.startswith("/v1/batches/") else None
        with pytest.raises(TeacherError):
            ask(server, state, requests(1), max_retries=0)
        with pytest.raises(StoreError, match="delete it"):
            list(spec.build(None).complete(requests(1), WARM))


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key_env": KEY},
        {"base_url": f"https://user:{KEY}@example.org/v1"},
        {"extra": {"n": 2}},
        {"poll_s": 0},
    ],
)
def test_a_recipe_with_a_key_or_nonsense_is_refused_without_repeating_it(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        OpenAIBatch(model="toy", **fields)
    assert KEY not in str(caught.value)


def test_looks_become_rarer_while_nothing_changes(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with BatchServer(looks=20) as server:
        list(
            OpenAIBatch(model="toy", base_url=server.url, state=state).build(None).complete(requests(1), WARM)
        )
    assert pauses[:3] == [30, 45, 67.5]
    assert pauses[-1] == 600
    assert len(pauses) == 20
