"""The `openai` teacher against a server that misbehaves in every way met so far."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loopback import RESET, STALL, Loopback, Reply, answer, choice, error, well
from understudy.annotate import annotate
from understudy.errors import TeacherError
from understudy.ledger import Ledger, transient
from understudy.prompts import PromptSpec
from understudy.roles import Task
from understudy.teachers import _client, _wire
from understudy.teachers.openai import OpenAI
from understudy.types import Completion, Message, Question, Request, Sampling

KEY = "sk-test-5f1a9c3e7b"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "FIRST_WAIT_S", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def questions(count: int) -> list[Question]:
    return [Question(f"What is 2 + 2, asked {i} times?", "4") for i in range(count)]


def requests(count: int, samples: tuple[int, ...] = (0,)) -> list[Request]:
    return [Request(q, (Message("user", q.text),), samples) for q in questions(count)]


def ask(server: Loopback, count: int = 1, samples: tuple[int, ...] = (0,), **fields: Any) -> list[Completion]:
    completer = OpenAI(model="toy", base_url=server.url, **fields).build(None)
    got = list(completer.complete(requests(count, samples), Sampling(temperature=0.7)))
    assert sorted((position, c.sample) for position, c in got) == [
        (position, sample) for position in range(count) for sample in samples
    ]
    return [completion for _, completion in sorted(got, key=lambda item: (item[0], item[1].sample))]


PASSING = {
    "busy": error(429, "slow down"),
    "busy, come back at once": error(429, "slow down", **{"Retry-After": "0"}),
    "busy, with a Retry-After that is no time": error(429, "slow down", **{"Retry-After": "soon"}),
    "server error": error(500, "oops"),
    "a proxy's page": Reply(502, "<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"}),
    "request timeout": error(408, "too slow"),
    "torn connection": RESET,
    "no reply": STALL,
    "not JSON": Reply(200, '{"choices": [{"mess'),
    "JSON, but no object": Reply(200, "[1, 2]"),
    "empty choices": Reply(200, {"choices": []}),
    "malformed choice": Reply(200, {"choices": ["text"]}),
    "an error under status 200": Reply(200, {"error": {"message": "upstream"}}),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_is_tried_again(fault: Reply) -> None:
    with Loopback([fault, fault]) as server:
        (got,) = ask(server, timeout_s=0.3)
        assert len(server.bodies) == 3
    assert got.finish_reason == "stop"
    assert got.text.startswith("I read: What is 2 + 2")


def test_retry_after_is_honoured_by_every_request() -> None:
    def slow(body: dict[str, Any]) -> Reply:
        time.sleep(0.1)
        return well(body)

    with Loopback([error(429, "slow down", **{"Retry-After": "0.5"})], otherwise=slow) as server:
        ask(server, count=6, concurrency=2)
        after = [moment - server.times[0] for moment in server.times]
    # The other of the two workers was already asking; from then on, both wait.
    assert after[1] < 0.3
    assert after[2] >= 0.5


def test_retry_after_may_be_a_date() -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    fault = _wire.read(429, {"Retry-After": when}, "", requests(1)[0], (0,))
    assert isinstance(fault, _wire.Fault)
    assert 55 < fault.wait_s <= 60


@pytest.mark.parametrize("fault", [error(503, "busy"), STALL, RESET], ids=["503", "stall", "reset"])
def test_when_retries_run_out_the_question_is_marked_and_the_others_go_on(fault: Reply) -> None:
    def poison(body: dict[str, Any]) -> Reply:
        return fault if "asked 1 times" in body["messages"][0]["content"] else well(body)

    with Loopback(otherwise=poison) as server:
        got = ask(server, count=3, max_retries=1, timeout_s=0.3)
    assert [c.finish_reason for c in got] == ["stop", "error", "stop"]
    assert got[1].error.startswith("unanswered: ")
    assert transient(got[1])


def test_a_server_that_only_fails_ends_the_run() -> None:
    with Loopback(otherwise=lambda body: error(500, "broken")) as server:
        with pytest.raises(TeacherError, match=r"keeps failing \(20 requests in a row.*HTTP 500: broken"):
            ask(server, count=100, max_retries=0, concurrency=4)
        assert len(server.bodies) < 30


FINAL = {
    "context by code": (error(400, "too big", "context_length_exceeded"), "context too long"),
    "context by message": (
        error(400, "This model's maximum context length is 4096 tokens."),
        "context too long",
    ),
    "content filter": (error(400, "blocked", "content_filter"), "content filter"),
    "moderation under 403": (error(403, "flagged", "moderation_blocked"), "content filter"),
}


@pytest.mark.parametrize(("reply", "kind"), FINAL.values(), ids=FINAL.keys())
def test_a_refused_question_is_final_and_not_tried_again(reply: Reply, kind: str, tmp_path: Path) -> None:
    with Loopback([reply]) as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = OpenAI(model="toy", base_url=server.url).build(None)
        for _ in range(2):
            ((_, got),) = ledger.complete(completer, requests(1), Sampling())
            assert (got.finish_reason, got.error.partition(":")[0]) == ("error", kind)
        assert len(server.bodies) == 1
        assert (ledger.asked, ledger.reused) == (1, 1)


SETUP = {
    "no such model": (error(404, "model 'toy' not found"), "'toy'.*teacher.model"),
    "wrong key": (error(401, "Incorrect API key provided"), "OPENAI_API_KEY"),
    "forbidden": (error(403, "country"), "OPENAI_API_KEY"),
    "no credit": (error(429, "quota", "insufficient_quota"), "no credit"),
    "a redirect": (Reply(301, "", {"Location": "https://example.org"}), "rejects what it is sent"),
    "unknown field": (error(400, "unknown field top_k"), "unknown field top_k.*teacher.extra"),
}


@pytest.mark.parametrize(("reply", "message"), SETUP.values(), ids=SETUP.keys())
def test_a_broken_set_up_ends_the_run_with_one_sentence(
    reply: Reply, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Loopback(otherwise=lambda body: reply) as server:
        with pytest.raises(TeacherError, match=message) as caught:
            ask(server, count=50, concurrency=2)
        assert len(server.bodies) <= 4
        assert server.url in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_rejected_question_among_good_ones_is_marked_to_be_asked_again() -> None:
    with Loopback([error(400, "strange")]) as server:
        got = ask(server, count=3, concurrency=1)
    assert [c.error for c in got] == ["unanswered: HTTP 400: strange", "", ""]


def test_no_server_at_all_is_soon_said_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[int] = []

    async def no_pause(call: object, tries: int, fault: _wire.Fault) -> None:
        pauses.append(tries)

    monkeypatch.setattr(_client._Call, "_pause", no_pause)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    completer = OpenAI(model="toy", base_url=url, concurrency=1).build(None)
    with pytest.raises(TeacherError, match=f"{url}.*cannot be reached"):
        list(completer.complete(requests(10), Sampling()))
    assert pauses == [1, 2, 3]


def test_a_refused_connection_while_others_are_answered_is_one_requests_loss() -> None:
    completer = OpenAI(model="toy", base_url="http://localhost:1/v1").build(None)
    assert isinstance(completer, _client.Client)
    call = _client._Call(completer._server, requests(1), Sampling())
    call.answered = 5
    (got,) = call._give_up(_wire.Fault("refused", "no room"), 7, 4, requests(1)[0], (0,))
    assert got.error == "unanswered: no room (tries: 7)"
    with pytest.raises(TeacherError, match="cannot be reached"):
        call._give_up(_wire.Fault("refused", "no room"), 7, 5, requests(1)[0], (0,))


def test_a_server_that_dies_half_way_loses_nothing_it_answered(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Loopback() as server:
        port = server.port

        def dying(body: dict[str, Any]) -> Reply:
            if len(server.bodies) >= 5:
                server.stop_listening()
            return well(body)

        server._otherwise = dying
        completer = OpenAI(model="toy", base_url=server.url, concurrency=1, max_retries=2).build(None)
        got: list[tuple[int, Completion]] = []
        with Ledger(path) as ledger, pytest.raises(TeacherError, match="what it has answered is kept"):
            got.extend(ledger.complete(completer, requests(12), Sampling()))
    with Loopback(port=port) as revived, Ledger(path) as ledger:
        assert len(list(ledger.complete(completer, requests(12), Sampling()))) == 12
        assert (ledger.reused, ledger.asked) == (5, 7)
        assert len(revived.bodies) == 7


def one(reply: Reply) -> Completion:
    with Loopback([reply]) as server:
        (got,) = ask(server)
        assert len(server.bodies) == 1
    return got


READINGS = {
    "null content": (choice(None), "", "", "stop"),
    "refusal": (choice(None, refusal="I cannot."), "I cannot.", "", "stop"),
    "parts": (choice([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab", "", "stop"),
    "cut off": (choice("half a sen", "length"), "half a sen", "", "length"),
    "filtered": (choice("", "content_filter"), "", "", "content_filter"),
    "null finish": (choice("done", None), "done", "", "stop"),
    "reasoning field": (choice("4", reasoning_content="2 and 2"), "4", "2 and 2", "stop"),
    "think marks": (choice("<think>\n2 and 2\n</think>\n\n4"), "4", "2 and 2", "stop"),
    "think, opened by the template": (choice("2 and 2</think>4"), "4", "2 and 2", "stop"),
    "think, cut off": (choice("<think>2 and", "length"), "", "2 and", "length"),
    "unicode": (choice("≈ 4 €, naïve 🦆 答え"), "≈ 4 €, naïve 🦆 答え", "", "stop"),
}


@pytest.mark.parametrize(("said", "text", "reasoning", "finish"), READINGS.values(), ids=READINGS.keys())
def test_what_servers_say_is_read(said: dict[str, Any], text: str, reasoning: str, finish: str) -> None:
    got = one(answer(said))
    assert (got.text, got.reasoning, got.finish_reason) == (text, reasoning, finish)
    assert (got.prompt_tokens, got.completion_tokens) == (10, 5)


def test_usage_may_be_missing() -> None:
    got = one(Reply(body={"choices": [choice("4")], "usage": None}))
    assert (got.prompt_tokens, got.completion_tokens) == (0, 0)


def test_samples_share_a_request_and_its_tokens_add_up() -> None:
    with Loopback([answer(choice("a"), choice("b"), choice("c"), completion_tokens=8)]) as server:
        got = ask(server, samples=(0, 1, 2))
        assert [body["n"] for body in server.bodies] == [3]
    assert [c.text for c in got] == ["a", "b", "c"]
    assert [c.completion_tokens for c in got] == [3, 3, 2]
    assert [c.prompt_tokens for c in got] == [10, 0, 0]


def test_a_server_that_ignores_n_is_asked_one_by_one() -> None:
    with Loopback(otherwise=lambda body: answer(choice("only one"))) as server:
        assert len(ask(server, count=2, samples=(0, 1, 2), concurrency=1)) == 6
        assert [body.get("n", 1) for body in server.bodies] == [3, 1, 1, 1, 1, 1]


def test_a_server_that_rejects_n_is_asked_one_by_one() -> None:
    def single(body: dict[str, Any]) -> Reply:
        return error(400, "n must be 1") if "n" in body else well(body)

    with Loopback(otherwise=single) as server:
        assert all(c.finish_reason == "stop" for c in ask(server, count=2, samples=(0, 1)))


def test_more_choices_than_asked_are_not_taken() -> None:
    with Loopback([answer(choice("a"), choice("b"))]) as server:
        assert [c.text for c in ask(server)] == ["a"]


def test_the_body_says_how_to_sample() -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=64, stop=("\n\n",), seed=5)
    extra = {"top_k": 20, "max_tokens": None, "max_completion_tokens": 64}
    body = _wire.body("toy", requests(1)[0], (2, 3), sampling, True, extra)
    assert body == {
        "model": "toy",
        "messages": [{"role": "user", "content": "What is 2 + 2, asked 0 times?"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["\n\n"],
        "seed": 7,  # 5 + the first sample asked for, so that later samples differ from earlier ones
        "n": 2,
        "top_k": 20,
        "max_completion_tokens": 64,
    }


def test_a_completion_server_gets_one_text() -> None:
    with Loopback() as server:
        (got,) = ask(server, chat=False)
        assert server.paths == ["/v1/completions"]
        assert server.bodies[0]["prompt"] == "What is 2 + 2, asked 0 times?"
    assert got.text.endswith("The answer is 4.")


def test_the_key_is_sent_and_reaches_neither_ledger_nor_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    replies = [
        answer(choice(f"your key is {KEY}", reasoning_content=KEY)),
        error(400, f"context length with {KEY}"),
        error(500, KEY),
    ]
    fields: dict[str, Any] = {"model": "toy", "api_key_env": "MY_KEY", "concurrency": 1, "max_retries": 0}
    with Loopback(replies) as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        spec = OpenAI(base_url=server.url, **fields)
        got = list(ledger.complete(spec.build(None), requests(4), Sampling()))
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        assert KEY not in repr(got) + repr(spec) + repr(spec.identity())
        for file in tmp_path.iterdir():
            assert KEY.encode() not in file.read_bytes()
    assert "your key is ***" in got[0][1].text


def test_without_a_key_none_is_sent() -> None:
    with Loopback() as server:
        ask(server)
        assert "Authorization" not in server.headers[0]


def test_the_official_server_wants_a_key_before_anything_is_sent() -> None:
    with pytest.raises(TeacherError, match="set the environment variable OPENAI_API_KEY"):
        OpenAI(model="toy").build(None)


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key_env": KEY},
        {"api_key_env": "gsk_0123456789abcdef"},
        {"api_key": KEY},
        {"base_url": f"https://user:{KEY}@example.org/v1"},
        {"base_url": f"https://example.org/v1?api-key={KEY}"},
        {"extra": {"headers": {"Authorization": f"Bearer {KEY}"}}},
        {"extra": {"api_key": KEY}},
        {"extra": {"n": 2}},
        {"base_url": "example.org"},
        {"concurrency": 0},
    ],
)
def test_a_recipe_with_a_key_or_nonsense_is_refused_without_repeating_it(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        OpenAI(model="toy", **fields)
    assert KEY not in str(caught.value)


def test_extra_fields_are_part_of_who_answers() -> None:
    plain = OpenAI(model="toy").identity()
    assert plain.revision == ""
    assert OpenAI(model="toy", extra={"top_k": 5}).identity() != plain
    assert OpenAI(model="toy", chat=False).identity() != plain


def test_answers_stream_while_others_are_still_out() -> None:
    gate = threading.Event()

    def slow_second(body: dict[str, Any]) -> Reply:
        if "asked 1 times" in body["messages"][0]["content"]:
            gate.wait(20)
        return well(body)

    with Loopback(otherwise=slow_second) as server:
        completer = OpenAI(model="toy", base_url=server.url).build(None)
        stream = completer.complete(requests(2), Sampling())
        assert next(stream)[0] == 0
        gate.set()
        assert next(stream)[0] == 1
        assert list(stream) == []


def test_dropping_the_iterator_cancels_what_is_out() -> None:
    with Loopback([answer(choice("first"))], otherwise=lambda body: STALL) as server:
        completer = OpenAI(model="toy", base_url=server.url, concurrency=2).build(None)
        stream = completer.complete(requests(10), Sampling())
        next(stream)
        start = time.monotonic()
        del stream
        assert time.monotonic() - start < 5
        assert len(server.bodies) <= 3


def test_it_works_where_an_event_loop_already_runs() -> None:
    async def notebook_cell(server: Loopback) -> int:
        return len(ask(server, count=3))

    with Loopback() as server:
        assert asyncio.run(notebook_cell(server)) == 3


def test_many_requests_keep_to_the_limit_of_concurrency() -> None:
    now, most, lock = 0, 0, threading.Lock()

    def counting(body: dict[str, Any]) -> Reply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return well(body)

    with Loopback(otherwise=counting) as server:
        ask(server, count=40, concurrency=8)
    assert 2 <= most <= 8


def _task() -> Task:
    return Task("toy", "Toy", "number", ("train",), lambda split, source: [], (), "none", "")


def test_only_what_is_missing_is_ever_asked(tmp_path: Path) -> None:
    prompt = PromptSpec(style="zero_shot")
    sampling = Sampling(temperature=0.7)
    with Loopback() as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = OpenAI(model="toy", base_url=server.url).build(None)
        runs = [
            (5, 2, prompt, 10),  # all of it
            (5, 2, prompt, 0),  # nothing again
            (7, 2, prompt, 4),  # two more questions
            (7, 4, prompt, 14),  # two more samples of each
            (7, 4, PromptSpec(style="zero_shot", system="Be brief."), 28),  # another prompt: all again
        ]
        for count, n, how, expected in runs:
            before = server.samples_asked()
            got = annotate(questions(count), _task(), completer, how, sampling, n, ledger)
            assert [c.sample for c in got] == list(range(n)) * count
            assert [c.question_id for c in got[::n]] == [q.id for q in questions(count)]
            assert server.samples_asked() - before == expected
