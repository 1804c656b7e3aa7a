"""The fault table of the `openai` teacher: every way a server has misbehaved, and what becomes of it.

Four outcomes: `tried again` (and then answered), `recorded` (final: the ledger keeps it and nobody asks
again), `left open` (yielded as unanswered and not kept, so that the next run asks again), `stops` (one
sentence). docs/teachers.md holds the same table in words.
"""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopback import RESET, STALL, Loopback, Reply, answer, choice, error, well
from test_teacher_openai import KEY, ask, everything, requests
from understudy.errors import TeacherError
from understudy.ledger import Ledger, transient
from understudy.teachers import _call, _endpoints, _http
from understudy.teachers._secret import cutter
from understudy.teachers.openai import OpenAI
from understudy.types import Completion, Sampling

WARM = Sampling(temperature=0.7)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(_endpoints, "FIRST_REST_S", 0.2)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def whole(**fields: Any) -> dict[str, Any]:
    body = answer(choice("4")).body
    assert isinstance(body, dict)
    return {**body, **fields}


def zipped(body: dict[str, Any], cut: int | None = None) -> Reply:
    return Reply(200, gzip.compress(json.dumps(body).encode())[:cut], {"Content-Encoding": "gzip"})


# ---------------------------------------------------------------- tried again

TRIED_AGAIN = {
    "429": error(429, "slow down"),
    "429 with Retry-After": error(429, "slow down", **{"Retry-After": "0.05"}),
    "429 with retry-after-ms": error(429, "slow down", **{"retry-after-ms": "50"}),
    "429 with a Retry-After that is no time": error(429, "slow down", **{"Retry-After": "soon"}),
    "408": error(408, "too slow"),
    "409": error(409, "conflict"),
    "500": error(500, "oops"),
    "502 with a page": Reply(502, "<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"}),
    "503": error(503, "overloaded"),
    "529": error(529, "Overloaded", "overloaded_error"),
    "reset": RESET,
    "no reply": STALL,
    "body cut off": Reply(200, whole(), action="cut"),
    "body that stops": Reply(200, whole(), action="stop"),
    "headers for ever": Reply(action="drip"),
    "not JSON": Reply(200, '{"choices": [{"mess'),
    "no body": Reply(200, ""),
    "a page under 200": Reply(200, "<html>please log in</html>"),
    "JSON, but no object": Reply(200, "[1, 2]"),
    "JSON deeper than can be read": Reply(200, "[" * 100_000),
    "no choices": Reply(200, {"choices": []}),
    "null choices": Reply(200, {"choices": None}),
    "malformed choice": Reply(200, {"choices": ["text"]}),
    "a choice that failed": Reply(200, whole(choices=[choice("half", "error")])),
    "an error under 200": Reply(200, {"error": {"message": "upstream"}}),
    "429 under 200": Reply(200, {"error": {"message": "upstream is busy", "code": 429}}),
    "gzip cut off": zipped(whole(), cut=40),
    "gzip that is none": Reply(200, "plain text", {"Content-Encoding": "gzip"}),
    "a header line without end": Reply(200, whole(), {"X-Long": "x" * 100_000}),
    "no HTTP": Reply(200, whole(), {"Content-Length": "nonsense"}),
}


@pytest.mark.parametrize("fault", TRIED_AGAIN.values(), ids=TRIED_AGAIN.keys())
def test_what_may_pass_is_tried_again(fault: Reply) -> None:
    with Loopback([fault, fault]) as server:
        (got,) = ask(server, timeout_s=0.3)
        assert len(server.bodies) == 3
        assert server.bodies[0] == server.bodies[2]
    assert (got.finish_reason, got.attempts) == ("stop", 3)
    assert got.text.startswith("I read: What is 2 + 2")


def test_a_reply_beyond_all_measure_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "LARGEST_REPLY", 10_000)
    huge = whole(padding="x" * 20_000)
    with Loopback([Reply(200, huge), zipped(huge)]) as server:
        assert ask(server)[0].attempts == 3


def test_a_server_that_restarts_is_waited_for() -> None:
    with Loopback() as server:
        port = server.port

        def dying(body: dict[str, Any]) -> Reply:
            if len(server.bodies) == 5:
                server.stop_listening()
                threading.Timer(0.3, again.set).start()
            return well(body)

        again = threading.Event()
        server._otherwise = dying
        got: list[Completion] = []
        thread = threading.Thread(
            target=lambda: got.extend(ask(server, count=12, concurrency=1, max_retries=10))
        )
        thread.start()
        assert again.wait(10)
    with Loopback(port=port) as revived:
        thread.join(20)
        assert len(revived.bodies) == 7
    assert [c.finish_reason for c in got] == ["stop"] * 12


# ---------------------------------------------------------------- recorded, and left open

RECORDED = {
    "context by code": (error(400, "too big", "context_length_exceeded"), "context too long"),
    "context in OpenAI's words": (error(400, "This model's maximum context length is 4096 tokens."),),
    "context in llama.cpp's words": (error(400, "too big", "exceed_context_size_error"),),
    "context in Anthropic's words": (error(400, "prompt is too long: 210000 tokens > 200000 maximum"),),
    "context in Google's words": (error(400, "The input token count (9) exceeds the maximum"),),
    "context under 413": (error(413, "Input exceeds the context window"),),
    "content filter": (error(400, "blocked", "content_filter"), "content filter"),
    "moderation under 403": (error(403, "flagged", "moderation_blocked"), "content filter"),
}


@pytest.mark.parametrize("case", RECORDED.values(), ids=RECORDED.keys())
def test_a_refused_question_is_recorded_and_never_asked_again(case: tuple[Any, ...], tmp_path: Path) -> None:
    reply, kind = (*case, "context too long")[:2]
    with Loopback([reply]) as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = OpenAI(model="toy", base_url=server.url).build(None)
        for _ in range(2):
            ((_, got),) = ledger.complete(completer, requests(1), Sampling())
            assert (got.finish_reason, got.error.partition(":")[0]) == ("error", kind)
            assert not transient(got)
        assert len(server.bodies) == 1


def test_a_question_too_long_is_too_long_for_all_its_samples() -> None:
    with Loopback([error(400, "too big", "context_length_exceeded")]) as server:
        got = ask(server, samples=(0, 1, 2))
        assert len(server.bodies) == 1
    assert [c.error.partition(":")[0] for c in got] == ["context too long"] * 3


@pytest.mark.parametrize("fault", [error(503, "busy"), STALL, RESET], ids=["503", "stall", "reset"])
def test_when_retries_run_out_the_question_is_left_open_and_the_others_go_on(fault: Reply) -> None:
    def poison(body: dict[str, Any]) -> Reply:
        return fault if "asked 1 times" in body["messages"][0]["content"] else well(body)

    with Loopback(otherwise=poison) as server:
        got = ask(server, count=3, samples=(0, 1), max_retries=1, timeout_s=0.3)
    assert [c.finish_reason for c in got] == ["stop", "stop", "error", "error", "stop", "stop"]
    assert got[2].error.startswith("unanswered: ")
    assert got[2].attempts == 2
    assert transient(got[2])
    assert not transient(got[0])


def test_the_time_of_all_attempts_together_is_limited() -> None:
    with Loopback(otherwise=lambda body: STALL) as server:
        start = time.monotonic()
        (got,) = ask(server, timeout_s=0.3, total_timeout_s=1.0, max_retries=50)
        assert time.monotonic() - start < 3
        assert 2 <= len(server.bodies) <= 5
    assert got.error.startswith("unanswered: no reply within 0.3 s")
    assert got.latency_s >= 0.6


def test_a_wait_that_is_longer_than_the_time_left_is_not_begun() -> None:
    with Loopback([error(429, "come back tomorrow", **{"Retry-After": "86400"})]) as server:
        start = time.monotonic()
        (got,) = ask(server, total_timeout_s=60)
        assert time.monotonic() - start < 5
    assert got.error.startswith("unanswered: HTTP 429: come back tomorrow")


def test_one_rejected_question_among_good_ones_is_left_open() -> None:
    with Loopback([error(400, "strange")]) as server:
        got = ask(server, count=3, concurrency=1)
    assert [c.error for c in got] == ["unanswered: HTTP 400: strange", "", ""]


# ---------------------------------------------------------------- answers, however odd

ODD = {
    "null content": (whole(choices=[choice(None)]), "", "stop"),
    "no content at all": (whole(choices=[{"finish_reason": "stop"}]), "", "stop"),
    "cut off at the limit": (whole(choices=[choice("half a sen", "length")]), "half a sen", "length"),
    "content filter in the answer": (whole(choices=[choice("", "content_filter")]), "", "content_filter"),
    "an unknown finish": (whole(choices=[choice("4", "eos_token")]), "4", "stop"),
    "a finish that is no text": (whole(choices=[choice("4", 7)]), "4", "stop"),
    "another model's name": (whole(model="somebody-else"), "4", "stop"),
    "unknown fields": (whole(system_fingerprint="fp", choices=[choice("4", audio=None)]), "4", "stop"),
}


@pytest.mark.parametrize(("body", "text", "finish"), ODD.values(), ids=ODD.keys())
def test_an_odd_answer_is_an_answer(body: dict[str, Any], text: str, finish: str) -> None:
    with Loopback([Reply(200, body)]) as server:
        (got,) = ask(server)
        assert len(server.bodies) == 1
    assert (got.text, got.finish_reason, got.error) == (text, finish, "")
    assert json.loads(got.raw) == body


USAGE: dict[str, tuple[Any, tuple[int, int]]] = {
    "none": (None, (0, 0)),
    "a text": ("many", (0, 0)),
    "texts": ({"prompt_tokens": "10", "completion_tokens": "5"}, (0, 0)),
    "null": ({"prompt_tokens": None, "completion_tokens": 5}, (0, 5)),
    "negative": ({"prompt_tokens": -1, "completion_tokens": 5}, (0, 5)),
    "more than a database holds": ({"prompt_tokens": 10**30, "completion_tokens": 5}, (0, 5)),
    "fractions": ({"prompt_tokens": 1.5, "completion_tokens": 5}, (0, 5)),
    "true": ({"prompt_tokens": True, "completion_tokens": 5}, (1, 5)),
}


@pytest.mark.parametrize(("usage", "tokens"), USAGE.values(), ids=USAGE.keys())
def test_a_usage_that_makes_no_sense_counts_nothing(
    usage: Any, tokens: tuple[int, int], tmp_path: Path
) -> None:
    with Loopback([Reply(200, whole(usage=usage))]) as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = OpenAI(model="toy", base_url=server.url).build(None)
        ((_, got),) = ledger.complete(completer, requests(1), WARM)
    assert (got.prompt_tokens, got.completion_tokens) == tokens


def test_of_two_usage_fields_the_last_counts() -> None:
    usage = '"usage": {"prompt_tokens": %d, "completion_tokens": 5}'
    body = f'{{{usage % 1}, "choices": [{json.dumps(choice("4"))}], {usage % 9}}}'
    with Loopback([Reply(200, body)]) as server:
        assert ask(server)[0].prompt_tokens == 9


def test_a_reply_may_be_compressed() -> None:
    with Loopback([zipped(whole())]) as server:
        assert ask(server)[0].text == "4"
        assert "gzip" in server.headers[0]["Accept-Encoding"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("naïve ≈ 答え", "naïve ≈ 答え"),
        ("🦆 𝕏 𠜎", "🦆 𝕏 𠜎"),
        ("\\ud83e\\udd86", "🦆"),
        ("\\u05e9\\u05dc\\u05d5\\u05dd \\u202eabc", "שלום \u202eabc"),
        ("a\\u0000b", "a\0b"),
        ("half \\ud83e pair", "half \ufffd pair"),
        ("\\udd86\\ud83e", "\ufffd\ufffd"),
        ("e\\u0301 \\u2028 \\ufeff \\u200d", "e\u0301 \u2028 \ufeff \u200d"),
    ],
    ids=["accents", "astral", "pair", "right to left", "NUL", "half a pair", "pair reversed", "invisible"],
)
def test_unicode_of_every_kind_comes_through_the_ledger(written: str, read: str, tmp_path: Path) -> None:
    body = f'{{"choices": [{{"message": {{"content": "{written}"}}, "finish_reason": "stop"}}]}}'
    with Loopback([Reply(200, body)]) as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = OpenAI(model="toy", base_url=server.url).build(None)
        for _ in range(2):
            ((_, got),) = ledger.complete(completer, requests(1), WARM)
            assert got.text == read
        assert len(server.bodies) == 1


def test_bytes_that_are_no_text_are_marked() -> None:
    body = json.dumps(whole(choices=[choice("a?b")])).encode().replace(b"?", b"\xff")
    with Loopback([Reply(200, body)]) as server:
        assert ask(server)[0].text == "a\ufffdb"


# ---------------------------------------------------------------- stops


def test_a_key_that_expires_in_mid_run_stops_it_and_keeps_what_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Loopback() as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        server._otherwise = lambda body: (
            well(body) if len(server.bodies) <= 5 else error(401, f"expired {KEY}")
        )
        completer = OpenAI(model="toy", base_url=server.url, concurrency=2).build(None)
        with pytest.raises(TeacherError, match="refused the key in OPENAI_API_KEY") as caught:
            list(ledger.complete(completer, requests(50), WARM))
        assert len(server.bodies) <= 8
        assert KEY not in str(caught.value)
        server._otherwise = well
        assert len(list(ledger.complete(completer, requests(50), WARM))) == 50
        assert ledger.reused == 5


def test_a_redirect_is_not_followed_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Loopback() as elsewhere:
        moved = Reply(307, "", {"Location": f"{elsewhere.url}/chat/completions?key={KEY}"})
        sentence = r"sends us elsewhere.*teacher\.base_url"
        with (
            Loopback(otherwise=lambda body: moved) as server,
            pytest.raises(TeacherError, match=sentence) as caught,
        ):
            ask(server)
        assert elsewhere.bodies == []
    assert elsewhere.url in str(caught.value)
    assert KEY not in str(caught.value)


# ---------------------------------------------------------------- keys

ECHOES = {
    "in the answer": answer(choice(f"your key is {KEY}", reasoning_content=KEY)),
    "in other fields": Reply(200, whole(request={"headers": {"Authorization": f"Bearer {KEY}"}})),
    "as escapes": Reply(200, json.dumps(whole(choices=[choice("?")])).replace("?", f"\\u0073{KEY[1:]}")),
    "in an error": error(400, f"context length with {KEY}"),
    "in a page": Reply(500, f"<html>{KEY}</html>"),
    "in a header": Reply(500, "oops", {"X-Echo": KEY}),
    "in a status line that is none": Reply(200, whole(), {"Content-Length": KEY}),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_an_echoed_key_reaches_no_file_message_or_log(
    echo: Reply, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    got: list[Any] = []
    with Loopback(otherwise=lambda body: echo) as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        spec = OpenAI(model="toy", base_url=server.url, max_retries=0)
        completer = spec.build(None)
        got += everything(completer.complete(requests(2), WARM))
        got += ledger.complete(completer, requests(2), WARM)
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        for file in tmp_path.iterdir():
            assert KEY.encode() not in file.read_bytes()
    assert len(got) == 4
    assert KEY not in repr(got) + repr(spec) + repr(completer) + caplog.text


@pytest.mark.parametrize("key", ["a/b", 'quo"te', "back\\slash", "plus+dot.*", "Ab"])
def test_a_key_is_cut_out_however_json_writes_it(key: str) -> None:
    cut = cutter(key)
    every = "".join(f"\\u{ord(letter):04X}" for letter in key)
    for written in (key, json.dumps(key)[1:-1], every, key.replace("/", "\\/"), every[:6] + key[1:]):
        assert cut(f"<{written}>") == "<***>", written
    assert cut("b\\/a A\\u0062c") == ("b\\/a ***c" if key == "Ab" else "b\\/a A\\u0062c")


# ---------------------------------------------------------------- several endpoints


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield free.getsockname()[1]


def pool(urls: list[str], count: int, **fields: Any) -> list[Completion]:
    spec = OpenAI(model="toy", base_url=tuple(urls), endpoint="pool", **fields)
    return [
        completion for _, completion in everything(spec.build(None).complete(iter(requests(count)), WARM))
    ]


def slowly(body: dict[str, Any]) -> Reply:
    time.sleep(0.02)
    return well(body)


def test_endpoints_share_the_load() -> None:
    with Loopback(otherwise=slowly) as one, Loopback(otherwise=slowly) as other:
        got = pool([one.url, other.url], 40, concurrency=8)
        assert min(len(one.bodies), len(other.bodies)) >= 12
        assert len(one.bodies) + len(other.bodies) == 40
    assert all(c.finish_reason == "stop" for c in got)


def test_an_endpoint_that_is_not_there_costs_no_request(closed_port: int) -> None:
    with Loopback() as server:
        got = pool([f"http://127.0.0.1:{closed_port}/v1", server.url], 30, max_retries=0, concurrency=4)
    assert all(c.finish_reason == "stop" for c in got)


Fault = Callable[[dict[str, Any]], Reply]


@pytest.mark.parametrize("fault", [lambda body: RESET, lambda body: error(500, "dead")], ids=["reset", "500"])
def test_an_endpoint_that_fails_is_left_out_and_comes_back(fault: Fault) -> None:
    with Loopback(otherwise=slowly) as good, Loopback(otherwise=fault) as bad:
        urls = [bad.url, good.url]
        got = pool(urls, 60, concurrency=4, max_retries=6)
        assert all(c.finish_reason == "stop" for c in got)
        assert 5 <= len(bad.bodies) <= 12, "left out after a few failures, and tried again seldom"
        bad._otherwise = slowly
        before = len(bad.bodies)
        pool(urls, 60, concurrency=4)
        assert len(bad.bodies) - before > 20


def test_an_endpoint_that_wants_to_be_left_alone_is_and_the_others_go_on() -> None:
    with Loopback() as good, Loopback([error(429, "tomorrow", **{"Retry-After": "86400"})] * 64) as tired:
        got = pool([tired.url, good.url], 60, concurrency=4, max_retries=0)
        assert 1 <= len(tired.bodies) <= 4
    assert all(c.finish_reason == "stop" for c in got)


def test_an_endpoint_that_dies_in_mid_run_is_tried_again_and_taken_back() -> None:
    with Loopback(otherwise=slowly) as steady:
        with Loopback() as mortal:
            port = mortal.port

            def dying(body: dict[str, Any]) -> Reply:
                if len(mortal.bodies) == 10:
                    mortal.stop_listening()
                return slowly(body)

            mortal._otherwise = dying
            urls = [mortal.url, steady.url]
            got: list[Completion] = []
            thread = threading.Thread(target=lambda: got.extend(pool(urls, 200, concurrency=4)))
            thread.start()
            while len(mortal.bodies) < 10:
                time.sleep(0.01)
        time.sleep(0.1)
        with Loopback(port=port, otherwise=slowly) as revived:
            thread.join(30)
            assert len(revived.bodies) > 10
    assert len(got) == 200
    assert all(c.finish_reason == "stop" for c in got)


def test_when_all_endpoints_are_dead_the_run_ends(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_endpoints, "FIRST_REST_S", 0.01)
    urls = [f"http://127.0.0.1:{closed_port}/v1", "http://127.0.0.1:1/v1"]
    with pytest.raises(TeacherError, match="cannot be reached"):
        pool(urls, 10)


def test_the_ledger_knows_a_pool_by_its_name(tmp_path: Path) -> None:
    with Loopback() as one, Loopback() as other, Ledger(tmp_path / "ledger.sqlite") as ledger:
        pools: list[Any] = [(one.url, other.url), (other.url, one.url), (one.url,), other.url]
        for base_url in pools:
            completer = OpenAI(model="toy", base_url=base_url, endpoint="pool").build(None)
            assert len(list(ledger.complete(completer, requests(6), WARM))) == 6
        assert (ledger.asked, ledger.reused) == (6, 18)


def test_a_name_may_be_the_address_that_was_asked_so_far() -> None:
    before = OpenAI(model="toy", base_url="http://one/v1").identity()
    both = OpenAI(model="toy", base_url=("http://two/v1", "http://one/v1"), endpoint="http://one/v1")
    assert both.identity() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_url": ("http://one/v1", "http://two/v1")}, "set endpoint"),
        ({"base_url": (), "endpoint": "pool"}, "at least one"),
        ({"base_url": ("http://one/v1", "http://one/v1/"), "endpoint": "pool"}, "only once"),
        ({"base_url": ("http://one/v1", "two"), "endpoint": "pool"}, "https://host/v1"),
        ({"endpoint": ""}, "at least 1 character"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OpenAI(model="toy", **fields)
