"""The `openai` teacher: what it asks, how fast, what it reads, and who it says it is."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from pydantic import ValidationError

from loopback import STALL, Loopback, Reply, answer, choice, error, well
from understudy.annotate import annotate
from understudy.errors import TeacherError
from understudy.ledger import Ledger
from understudy.prompts import PromptSpec
from understudy.roles import Landed, Task
from understudy.teachers import _call, _limits, _wire
from understudy.teachers._bridge import Bridge
from understudy.teachers._faults import Fault
from understudy.teachers._limits import Allowance
from understudy.teachers._pace import Bucket, Budget, Window
from understudy.teachers.openai import OpenAI
from understudy.types import Completion, Message, Question, Request, Sampling

KEY = "sk-test-5f1a9c3e7b"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "FIRST_WAIT_S", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def questions(count: int) -> list[Question]:
    return [Question(f"What is 2 + 2, asked {i} times?", "4") for i in range(count)]


def requests(count: int, samples: tuple[int, ...] = (0,)) -> list[Request]:
    return [Request(q, (Message("user", q.text),), samples) for q in questions(count)]


def everything(batches: Iterator[Sequence[Landed]]) -> list[Landed]:
    """All that landed; a batch is never empty."""
    got = list(batches)
    assert all(got)
    return [landed for batch in got for landed in batch]


def ask(server: Loopback, count: int = 1, samples: tuple[int, ...] = (0,), **fields: Any) -> list[Completion]:
    completer = OpenAI(model="toy", base_url=server.url, **fields).build(None)
    got = everything(completer.complete(iter(requests(count, samples)), Sampling(temperature=0.7)))
    assert sorted((position, c.sample) for position, c in got) == [
        (position, sample) for position in range(count) for sample in samples
    ]
    return [completion for _, completion in sorted(got, key=lambda item: (item[0], item[1].sample))]


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
    assert isinstance(fault, Fault)
    assert 55 < fault.wait_s <= 60


def test_a_server_that_only_fails_ends_the_run() -> None:
    with Loopback(otherwise=lambda body: error(500, "broken")) as server:
        with pytest.raises(TeacherError, match=r"keeps failing \(20 requests in a row.*HTTP 500: broken"):
            ask(server, count=100, max_retries=0, concurrency=4)
        assert len(server.bodies) < 30


SETUP = {
    "no such model": (error(404, "model 'toy' not found"), "'toy'.*teacher.model"),
    "wrong key": (error(401, "Incorrect API key provided"), "OPENAI_API_KEY"),
    "forbidden": (error(403, "country"), "OPENAI_API_KEY"),
    "no credit": (error(429, "quota", "insufficient_quota"), "no credit"),
    "a redirect": (Reply(307, "", {"Location": "https://example.org"}), "to https://example.org.*base_url"),
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


def test_no_server_at_all_is_soon_said_with_its_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    completer = OpenAI(model="toy", base_url=url, concurrency=1).build(None)
    with pytest.raises(TeacherError, match=f"{url}.*cannot be reached"):
        everything(completer.complete(requests(10), Sampling()))


def test_a_refused_connection_while_others_are_answered_is_one_requests_loss() -> None:
    completer = OpenAI(model="toy", base_url="http://localhost:1/v1").build(None)
    loop = asyncio.new_event_loop()
    bridge = Bridge(requests(1), 1, loop)
    call = _call.Call(completer._server, Sampling(), bridge)  # type: ignore[attr-defined]
    call._answered = 5
    job = _call.Job(0, requests(1)[0], (0,), attempts=7, answered=4)
    call._give_up(job, Fault("refused", "no room"), 0.0)
    bridge.end()
    ((_, got),) = next(bridge.batches())
    assert got.error == "unanswered: no room (attempts: 7)"
    job.answered = 5
    with pytest.raises(TeacherError, match="cannot be reached"):
        call._give_up(job, Fault("refused", "no room"), 0.0)
    loop.close()


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
    "reasoning field of routers": (choice("4", reasoning="2 and 2"), "4", "2 and 2", "stop"),
    "thinking parts": (
        choice([{"type": "thinking", "thinking": [{"text": "2 and 2"}]}, {"type": "text", "text": "4"}]),
        *("4", "2 and 2", "stop"),
    ),
    "think marks": (choice("<think>\n2 and 2\n</think>\n\n4"), "4", "2 and 2", "stop"),
    "think, opened by the template": (choice("2 and 2</think>4"), "4", "2 and 2", "stop"),
    "think, cut off": (choice("<think>2 and", "length"), "", "2 and", "length"),
    "think, empty": (choice("<think>\n\n</think>\n4"), "4", "", "stop"),
    "think twice": (choice("<think>a</think>b <think>c</think>d"), "b d", "a\n\nc", "stop"),
    "think between": (choice("First <think>a</think>4"), "First 4", "a", "stop"),
    "think again, cut off": (choice("<think>a</think>b<think>c", "length"), "b", "a\n\nc", "length"),
    "think, closed twice": (choice("<think>a</think>b</think>c"), "bc", "a", "stop"),
    "think, only mentioned": (choice("Write <think> first."), "Write <think> first.", "", "stop"),
    "other marks": (choice("[THINK]2 and 2[/THINK]4"), "4", "2 and 2", "stop"),
    "marks in words": (choice("<|begin_of_thought|>a<|end_of_thought|>4"), "4", "a", "stop"),
    "channels": (
        choice(
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>"
        ),
        *("4", "a", "stop"),
    ),
    "channels, cut off": (choice("<|channel|>analysis<|message|>2 and", "length"), "", "2 and", "length"),
    "channels, marks stripped": (choice("analysis2 and 2assistantfinal4"), "4", "2 and 2", "stop"),
    "analysis, but no channel": (choice("analysis of 4"), "analysis of 4", "", "stop"),
    "spaces": (choice("  4 \n"), "  4 \n", "", "stop"),
    "unicode": (choice("≈ 4 €, naïve 🦆 答え"), "≈ 4 €, naïve 🦆 答え", "", "stop"),
}


@pytest.mark.parametrize(("said", "text", "reasoning", "finish"), READINGS.values(), ids=READINGS.keys())
def test_what_servers_say_is_read(said: dict[str, Any], text: str, reasoning: str, finish: str) -> None:
    got = one(answer(said))
    assert (got.text, got.reasoning, got.finish_reason) == (text, reasoning, finish)
    assert (got.prompt_tokens, got.completion_tokens) == (10, 5)


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


def test_a_completion_says_what_it_took_and_keeps_the_whole_reply() -> None:
    def slowly(body: dict[str, Any]) -> Reply:
        time.sleep(0.1)
        return well(body)

    with Loopback([error(500, "oops")], otherwise=slowly) as server:
        one, other = ask(server, samples=(0, 1))
    assert (one.attempts, other.attempts) == (2, 2)
    assert 0.1 <= one.latency_s < 5
    assert one.raw == other.raw
    assert [said["message"]["content"] for said in json.loads(one.raw)["choices"]] == [one.text, other.text]


def test_a_final_error_keeps_the_whole_reply() -> None:
    with Loopback([error(400, "too big", "context_length_exceeded")]) as server:
        assert "context_length_exceeded" in ask(server)[0].raw


def test_the_body_says_how_to_sample() -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=64, stop=("\n\n",), seed=5)
    extra = {
        "top_k": 20,
        "max_tokens": None,
        "max_completion_tokens": 64,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer"}},
        "logprobs": True,
    }
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
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer"}},
        "logprobs": True,
    }


def test_a_completion_server_gets_one_text() -> None:
    with Loopback() as server:
        (got,) = ask(server, chat=False)
        assert server.paths == ["/v1/completions"]
        assert server.bodies[0]["prompt"] == "What is 2 + 2, asked 0 times?"
    assert got.text.endswith("The answer is 4.")


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
        assert [position for position, _ in next(stream)] == [0]
        gate.set()
        assert [position for position, _ in next(stream)] == [1]
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


# ---------------------------------------------------------------- order and streams


def position_of(body: dict[str, Any]) -> int:
    return int(body["messages"][0]["content"].split("asked ")[1].split()[0])


def test_questions_are_asked_in_their_order() -> None:
    with Loopback() as server:
        ask(server, count=30, concurrency=1)
        assert [position_of(body) for body in server.bodies] == list(range(30))


def test_what_is_asked_again_goes_before_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "FIRST_WAIT_S", 0.02)

    def slowly(body: dict[str, Any]) -> Reply:
        time.sleep(0.01)
        return well(body)

    with Loopback([error(500, "oops")], otherwise=slowly) as server:
        ask(server, count=60, concurrency=1)
        order = [position_of(body) for body in server.bodies]
    assert order[0] == 0
    assert 2 <= order.index(0, 1) <= 30, "as soon as its wait was over, and the others did not wait for it"
    assert [position for position in order if position] == list(range(1, 60))


def test_a_request_that_waits_for_its_next_attempt_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "FIRST_WAIT_S", 1.0)
    with Loopback([error(500, "oops")] * 4) as server:
        completer = OpenAI(model="toy", base_url=server.url, concurrency=2).build(None)
        start = time.monotonic()
        stream = completer.complete(requests(20), Sampling())
        landed = 0
        while landed < 16:
            landed += len(next(stream))
        assert time.monotonic() - start < 0.5, "sixteen are answered while four wait"
        landed += sum(len(batch) for batch in stream)
    assert landed == 20


def test_requests_are_read_only_as_fast_as_they_are_worked_on() -> None:
    read = 0

    def endless() -> Iterator[Request]:
        nonlocal read
        while True:
            question = Question(f"What is {read} + 2?", "4")
            yield Request(question, (Message("user", question.text),))
            read += 1

    with Loopback() as server:
        completer = OpenAI(model="toy", base_url=server.url, concurrency=2).build(None)
        stream = completer.complete(endless(), Sampling())
        landed = 0
        while landed < 200:
            landed += len(next(stream))
            assert read <= landed + 2 + 2 * 64
        stream.close()  # type: ignore[attr-defined]
        time.sleep(0.2)
        assert len(server.bodies) <= read


def test_the_stream_is_read_in_the_callers_thread() -> None:
    threads: set[int] = set()

    def watched() -> Iterator[Request]:
        for request in requests(200):
            threads.add(threading.get_ident())
            yield request

    with Loopback() as server:
        everything(OpenAI(model="toy", base_url=server.url).build(None).complete(watched(), Sampling()))
    assert threads == {threading.get_ident()}


def test_a_stream_that_breaks_is_heard_of() -> None:
    def broken() -> Iterator[Request]:
        yield from requests(5)
        raise ZeroDivisionError

    before = set(threading.enumerate())
    with Loopback() as server, pytest.raises(ZeroDivisionError):
        everything(OpenAI(model="toy", base_url=server.url).build(None).complete(broken(), Sampling()))
    assert set(threading.enumerate()) <= before


def test_without_requests_nothing_is_started() -> None:
    completer = OpenAI(model="toy", base_url="http://127.0.0.1:1/v1").build(None)
    assert list(completer.complete(iter(()), Sampling())) == []


def test_what_landed_while_the_caller_was_busy_comes_in_one_batch() -> None:
    gate = threading.Event()

    def first_at_once(body: dict[str, Any]) -> Reply:
        if position_of(body):
            gate.wait(20)
        return well(body)

    with Loopback(otherwise=first_at_once) as server:
        stream = OpenAI(model="toy", base_url=server.url).build(None).complete(requests(40), Sampling())
        assert len(next(stream)) == 1
        gate.set()
        time.sleep(1)
        assert len(next(stream)) == 39


# ---------------------------------------------------------------- pace


def test_the_window_grows_with_answers_and_is_cut_once_for_all_that_was_in_flight() -> None:
    window = Window(100)
    assert window.size == 64
    for _ in range(20):
        window.answered(window.size)
    assert window.size == 84
    window.congested(sent=1.0, now=2.0)
    assert window.size == 58
    window.congested(sent=1.5, now=2.5)
    assert window.size == 58, "it was sent before the cut"
    window.congested(sent=2.1, now=3.0)
    assert window.size == 41
    for _ in range(42):
        window.answered(window.size)
    assert window.size == 42, "after a cut it grows by one in each round"
    window.answered(5)
    assert window.size == 42, "what is not used is not raised"


def test_the_window_stays_between_one_and_what_is_allowed() -> None:
    window = Window(3)
    for _ in range(20):
        window.answered(window.size)
    assert window.size == 3
    for moment in range(20):
        window.congested(sent=moment, now=moment)
    assert window.size == 1


@pytest.mark.parametrize("units", [1, 6, 60, 600, 6000])
def test_a_bucket_never_lets_more_through_in_a_minute(units: int) -> None:
    bucket, now, sent = Bucket.per_minute(units, 0.0), 0.0, []
    while now < 200:
        wait = bucket.wait(1, now)
        now += wait
        if wait == 0:
            bucket.take(1)
            sent.append(now)
    most = max(sum(start <= moment < start + 60 for moment in sent) for start in sent[:: max(1, units // 50)])
    assert most <= units
    assert len(sent) >= units * 200 / 60 * 0.9 - 1, "and hardly less"


def test_a_request_larger_than_the_bucket_waits_for_a_full_one_and_overdraws_it() -> None:
    bucket = Bucket(size=10, rate=1, now=0)
    assert bucket.wait(100, 0) == 0
    bucket.take(100)
    assert bucket.wait(1, 0) == 91
    bucket.take(-60)  # it used less than was thought
    assert bucket.wait(1, 0) == 31
    assert bucket.wait(1, 31) == 0


def test_what_a_server_says_about_its_limit_counts() -> None:
    budget = Budget(None, None, 0.0)
    assert budget.wait(10**9, 0.0) == 0
    budget.learn(Allowance("requests", remaining=1, limit=60, reset_s=59), 0.0)
    assert budget.wait(1, 0.0) == 0
    budget.take(1)
    assert budget.wait(1, 0.0) == pytest.approx(1.0)
    budget.learn(Allowance("tokens", remaining=0, limit=600, reset_s=60), 0.0)
    assert budget.wait(50, 0.0) == pytest.approx(5.0)
    budget.learn(Allowance("tokens", remaining=0, limit=600, reset_s=0), 0.0)
    assert budget.wait(50, 1.0) == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[
            ("20", 20),
            ("0.5", 0.5),
            ("1s", 1),
            ("20ms", 0.02),
            ("6m0s", 360),
            ("1m30.5s", 90.5),
            ("2h", 7200),
        ],
        *[("1d2h3m4s5ms", 93784.005), ("0", 0), ("0s", 0), (" 7 ", 7)],
        *[("", None), ("soon", None), ("-5", None), ("nan", None), ("inf", None), ("s", None), ("1x", None)],
    ],
)
def test_lengths_of_time_are_read(value: str, seconds: float | None) -> None:
    got = _limits.seconds(value)
    assert got == (None if seconds is None else pytest.approx(seconds))


def test_moments_are_read() -> None:
    then = datetime.now(UTC) + timedelta(seconds=60)
    written = (then.isoformat(), f"{then:%Y-%m-%dT%H:%M:%SZ}", format_datetime(then, usegmt=True))
    for value in (*written, str(then.timestamp()), str(int(then.timestamp() * 1000))):
        got = _limits.seconds(value)
        assert got is not None
        assert 58 < got <= 60, value
    assert _limits.seconds("Mon, 01 Jan 2001 00:00:00 GMT") == 0


@hypothesis.given(hypothesis.strategies.text())
def test_no_text_in_a_header_is_an_accident(value: str) -> None:
    got = _limits.seconds(value)
    assert got is None or 0 <= got < float("inf")
    assert _limits.retry_after({"Retry-After": value, "retry-after-ms": value}) >= 0


ALLOWANCES = {
    "OpenAI": (
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [Allowance("requests", 59, 60, 1), Allowance("tokens", 149984, 150000, 360)],
    ),
    "seconds": (
        {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"},
        [Allowance("requests", 0, 10, 30)],
    ),
    "half of it": ({"x-ratelimit-remaining-requests": "0"}, []),
    "nonsense": (
        {"x-ratelimit-limit": "many", "x-ratelimit-remaining": "few", "x-ratelimit-reset": "soon"},
        [],
    ),
}


@pytest.mark.parametrize(("headers", "allowances"), ALLOWANCES.values(), ids=ALLOWANCES.keys())
def test_allowances_are_read(headers: dict[str, str], allowances: list[Allowance]) -> None:
    assert list(_limits.allowances(headers)) == allowances


def test_anthropics_allowance_ends_at_a_moment() -> None:
    name = "anthropic-ratelimit-requests"
    reset = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    (got,) = _limits.allowances({f"{name}-limit": "50", f"{name}-remaining": "0", f"{name}-reset": reset})
    assert (got.unit, got.remaining, got.limit) == ("requests", 0, 50)
    assert 28 < got.reset_s <= 30


def limited(most: int) -> tuple[Callable[[dict[str, Any]], Reply], Callable[[], int]]:
    """A server that works on `most` requests at once and refuses others; and how often it did."""
    lock, now, refused = threading.Lock(), 0, 0

    def serve(body: dict[str, Any]) -> Reply:
        nonlocal now, refused
        with lock:
            if now >= most:
                refused += 1
                return error(429, "slow down")
            now += 1
        time.sleep(0.02)
        with lock:
            now -= 1
        return well(body)

    return serve, lambda: refused


def test_concurrency_adapts_to_a_server_that_takes_few_at_once() -> None:
    serve, refused = limited(4)
    with Loopback(otherwise=serve) as server:
        got = ask(server, count=300, concurrency=32, max_retries=6)
    assert all(c.finish_reason == "stop" for c in got)
    assert refused() < 300, "far fewer than it would be with all 32 at once"


def test_a_busy_server_does_not_use_up_the_attempts_of_a_request() -> None:
    serve, refused = limited(1)
    with Loopback(otherwise=serve) as server:
        got = ask(server, count=30, concurrency=8, max_retries=0)
    assert all(c.finish_reason == "stop" for c in got)
    assert refused() > 10
    assert max(c.attempts for c in got) > 1


def test_a_server_that_only_says_too_many_requests_ends_the_run() -> None:
    with Loopback(otherwise=lambda body: error(429, "no quota today")) as server:
        with pytest.raises(TeacherError, match=r"keeps failing .*HTTP 429: no quota today"):
            ask(server, count=100, max_retries=2, concurrency=8)
        assert len(server.bodies) < 400


def test_requests_per_minute_are_kept_to() -> None:
    with Loopback() as server:
        start = time.monotonic()
        ask(server, count=25, concurrency=20, requests_per_minute=1200)
        assert 0.2 <= time.monotonic() - start < 5
        first_quarter = [moment for moment in server.times if moment - server.times[0] < 0.1]
    assert len(first_quarter) <= 23  # a second's worth at once, then 20 every second


def test_tokens_per_minute_are_kept_to_and_corrected_by_what_was_used() -> None:
    # A second's worth is 100 tokens. A request is thought to use about 7 for its prompt and 50 for its
    # answer, and turns out to use 15 in all.
    with Loopback() as server:
        completer = OpenAI(model="toy", base_url=server.url, tokens_per_minute=6000, concurrency=4).build(
            None
        )
        start = time.monotonic()
        everything(completer.complete(requests(15), Sampling(max_tokens=50)))
        took = time.monotonic() - start
    assert 0.8 <= took < 5, "225 tokens, of which 100 may come at once"


def test_remaining_requests_of_the_server_are_kept_to() -> None:
    headers = {"x-ratelimit-limit-requests": "20", "x-ratelimit-reset-requests": "1s"}

    def counting(body: dict[str, Any]) -> Reply:
        left = max(0, 20 - len(server.bodies))
        return replace(well(body), headers={**headers, "x-ratelimit-remaining-requests": str(left)})

    with Loopback(otherwise=counting) as server:
        ask(server, count=26, concurrency=1)
        gaps = [after - before for before, after in pairwise(server.times)]
    assert max(gaps[:19]) < 1
    assert min(gaps[20:]) >= 0.03, "20 a second come back"
