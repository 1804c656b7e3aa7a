"""The `anthropic` teacher against a stand-in for the Messages API."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loopback import RESET, Loopback, Reply
from understudy.errors import TeacherError
from understudy.ledger import Ledger, transient
from understudy.teachers import _call
from understudy.teachers._messages import MessagesDialect
from understudy.teachers.anthropic import Anthropic
from understudy.types import Completion, Message, Question, Request, Sampling

KEY = "sk-ant-test-5f1a9c3e7b"
PLAIN = Sampling(temperature=1.0, max_tokens=64)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def said(*blocks: dict[str, Any], stop_reason: str = "end_turn", **usage: int) -> Reply:
    counts = {"input_tokens": 10, "output_tokens": 5, **usage}
    return Reply(
        body={"type": "message", "content": list(blocks), "stop_reason": stop_reason, "usage": counts}
    )


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def error(status: int, kind: str, message: str, code: str = "", **headers: str) -> Reply:
    details = {"error_code": code} if code else None
    body = {"type": "error", "error": {"type": kind, "message": message, "details": details}}
    return Reply(status, body, headers)


def well(body: dict[str, Any]) -> Reply:
    return said(text(f"I read: {body['messages'][-1]['content']}"))


def offline(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """The fields of one that answers here, for the contracts that every teacher keeps."""
    return {"base_url": stack.enter_context(Loopback(otherwise=well)).url, "model": "toy"}


def requests(count: int, samples: tuple[int, ...] = (0,)) -> list[Request]:
    texts = [f"What is 2 + 2, asked {i} times?" for i in range(count)]
    return [Request(Question(t, "4"), (Message("user", t),), samples) for t in texts]


def ask(
    server: Loopback, asked: list[Request], sampling: Sampling = PLAIN, **fields: Any
) -> list[Completion]:
    completer = Anthropic(model="toy", base_url=server.url, **fields).build(None)
    landed = [item for batch in completer.complete(iter(asked), sampling) for item in batch]
    return [completion for _, completion in sorted(landed, key=lambda item: (item[0], item[1].sample))]


def one(reply: Reply) -> Completion:
    with Loopback([reply]) as server:
        (got,) = ask(server, requests(1))
    return got


def test_several_samples_are_several_requests() -> None:
    with Loopback(otherwise=well) as server:
        got = ask(server, requests(2, (0, 1, 2)))
        assert server.paths == ["/v1/messages"] * 6
        assert all("n" not in body for body in server.bodies)
    assert [(c.sample, c.text) for c in got] == [
        (sample, f"I read: What is 2 + 2, asked {i} times?") for i in range(2) for sample in range(3)
    ]
    assert got[0].latency_s > 0


def test_the_body_and_the_headers() -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", "1 + 1?"),
        Message("assistant", "2"),
        Message("user", "2 + 2?"),
    )
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=64, stop=("\n\nQ:",), seed=3)
    with Loopback(otherwise=well) as server:
        request = replace(requests(1)[0], messages=messages)
        ask(server, [request], sampling, extra={"top_k": 20, "top_p": None})
        assert server.bodies == [
            {
                "model": "toy",
                "max_tokens": 64,
                "system": "Be brief.",
                "messages": [
                    {"role": "user", "content": "1 + 1?"},
                    {"role": "assistant", "content": "2"},
                    {"role": "user", "content": "2 + 2?"},
                ],
                "temperature": 0.5,
                "stop_sequences": ["\n\nQ:"],
                "top_k": 20,
            }
        ]
        headers = {name.lower(): value for name, value in server.headers[0].items()}
    assert headers["x-api-key"] == KEY
    assert headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in headers


def test_what_the_api_does_by_itself_is_not_sent() -> None:
    """Newer models refuse the fields at any value, so 1, which is what they do, must not be written."""
    body = MessagesDialect("toy", {}).body(requests(1)[0], (0,), PLAIN)
    assert body.keys() == {"model", "max_tokens", "messages"}
    greedy = MessagesDialect("toy", {}).body(requests(1)[0], (0,), replace(PLAIN, temperature=0))
    assert greedy["temperature"] == 0


def test_a_model_that_refuses_the_temperature_ends_the_run_with_what_to_do() -> None:
    refused = error(400, "invalid_request_error", "`temperature` is deprecated for this model.")
    with (
        Loopback(otherwise=lambda body: refused) as server,
        pytest.raises(TeacherError, match=r"`temperature` is deprecated.*sampling"),
    ):
        ask(server, requests(9), replace(PLAIN, temperature=0))


THOUGHT = {"type": "thinking", "thinking": "2 and 2", "signature": "xyz"}
READINGS: dict[str, tuple[Reply, str, str, str]] = {
    "text": (said(text("4")), "4", "", "stop"),
    "stop sequence": (said(text("4"), stop_reason="stop_sequence"), "4", "", "stop"),
    "two texts": (said(text("It is "), text("4")), "It is 4", "", "stop"),
    "thinking": (said(THOUGHT, text("4")), "4", "2 and 2", "stop"),
    "thinking twice": (said(THOUGHT, THOUGHT, text("4")), "4", "2 and 2\n\n2 and 2", "stop"),
    "thinking that is withheld": (
        said({"type": "redacted_thinking", "data": "abc"}, text("4")),
        "4",
        "",
        "stop",
    ),
    "cut off": (said(text("It is"), stop_reason="max_tokens"), "It is", "", "length"),
    "cut off while thinking": (said(THOUGHT, stop_reason="max_tokens"), "", "2 and 2", "length"),
    "full context": (said(text("It"), stop_reason="model_context_window_exceeded"), "It", "", "length"),
    "refusal": (said(stop_reason="refusal"), "", "", "content_filter"),
    "nothing to say": (said(), "", "", "stop"),
    "unknown reason": (said(text("4"), stop_reason="new"), "4", "", "stop"),
    "unknown block": (said({"type": "new", "new": 1}, text("4")), "4", "", "stop"),
    "block without text": (said({"type": "text"}, text("4")), "4", "", "stop"),
    "unicode": (said(text("≈ 4 €, naïve 🦆 答え")), "≈ 4 €, naïve 🦆 答え", "", "stop"),
}


@pytest.mark.parametrize(("reply", "words", "reasoning", "finish"), READINGS.values(), ids=READINGS.keys())
def test_what_it_says_is_read(reply: Reply, words: str, reasoning: str, finish: str) -> None:
    got = one(reply)
    assert (got.text, got.reasoning, got.finish_reason) == (words, reasoning, finish)
    assert (got.prompt_tokens, got.completion_tokens) == (10, 5)
    assert json.loads(got.raw) == reply.body
    again = MessagesDialect("toy", {}).read(200, {}, got.raw, requests(1)[0], (0,))
    assert again == [replace(got, latency_s=0)]


def test_cached_prompt_tokens_are_prompt_tokens() -> None:
    got = one(said(text("4"), cache_creation_input_tokens=100, cache_read_input_tokens=1000))
    assert got.prompt_tokens == 1110
    assert one(Reply(body={"content": [], "usage": None})).prompt_tokens == 0


PASSING = {
    "overloaded": error(529, "overloaded_error", "Overloaded"),
    "busy": error(429, "rate_limit_error", "slow down"),
    "broken": error(500, "api_error", "oops"),
    "torn": RESET,
    "no content": Reply(body={"type": "message"}),
    "no JSON": Reply(body='{"content": [{"ty'),
    "JSON, but no object": Reply(body="[1]"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_is_tried_again(fault: Reply) -> None:
    with Loopback([fault, fault], otherwise=well) as server:
        (got,) = ask(server, requests(1))
        assert len(server.bodies) == 3
    assert got.finish_reason == "stop"
    assert got.attempts == 3


def test_retry_after_is_honoured() -> None:
    with Loopback(
        [error(429, "rate_limit_error", "slow down", **{"retry-after": "0.4"})], otherwise=well
    ) as server:
        ask(server, requests(1))
        assert server.times[1] - server.times[0] >= 0.4


def test_an_allowance_that_is_used_up_is_waited_for() -> None:
    soon = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20)
        ),
    }

    def last(body: dict[str, Any]) -> Reply:
        return replace(well(body), headers=soon)

    with Loopback(otherwise=last) as server:
        ask(server, requests(2), concurrency=1)
        assert server.times[1] - server.times[0] > 0.2  # 50 requests in 20 s are one in 0.4 s


FINAL = {
    "too long": (
        error(400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
        "context too long",
    ),
    "too large": (error(413, "request_too_large", "Request exceeds the maximum size"), "context too long"),
}


@pytest.mark.parametrize(("reply", "kind"), FINAL.values(), ids=FINAL.keys())
def test_a_question_that_is_too_long_is_final_and_not_tried_again(
    reply: Reply, kind: str, tmp_path: Path
) -> None:
    with Loopback([reply], otherwise=well) as server, Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = Anthropic(model="toy", base_url=server.url).build(None)
        for _ in range(2):
            ((_, got),) = ledger.complete(completer, requests(1), PLAIN)
            assert (got.finish_reason, got.error.partition(":")[0]) == ("error", kind)
        assert len(server.bodies) == 1


def test_a_rejected_question_among_good_ones_may_be_asked_again() -> None:
    strange = error(400, "invalid_request_error", "strange")
    with Loopback([strange], otherwise=well) as server:
        got = ask(server, requests(3), concurrency=1)
    assert [c.error for c in got] == ["unanswered: HTTP 400: strange", "", ""]
    assert transient(got[0])


SETUP = {
    "wrong key": (error(401, "authentication_error", f"invalid x-api-key {KEY}"), "ANTHROPIC_API_KEY"),
    "forbidden": (error(403, "permission_error", "no"), "ANTHROPIC_API_KEY"),
    "no such model": (error(404, "not_found_error", "model: toy"), "'toy'.*teacher.model"),
    "no credit": (error(400, "invalid_request_error", "Your credit balance is too low"), "no credit"),
    "billing": (error(402, "billing_error", "pay"), "no credit"),
    "spend limit": (
        error(429, "rate_limit_error", "limit", "enforced_spend_limit_reached"),
        "no credit",
    ),
    "own spend limit": (
        error(400, "invalid_request_error", "You have reached your specified API usage limits."),
        "no credit",
    ),
}


@pytest.mark.parametrize(("reply", "message"), SETUP.values(), ids=SETUP.keys())
def test_a_broken_set_up_ends_the_run_with_one_sentence(reply: Reply, message: str) -> None:
    with Loopback(otherwise=lambda body: reply) as server:
        with pytest.raises(TeacherError, match=message) as caught:
            ask(server, requests(50), concurrency=2)
        assert len(server.bodies) <= 4
        assert server.url in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_key_reaches_neither_ledger_nor_answers(tmp_path: Path) -> None:
    with (
        Loopback(otherwise=lambda body: said(THOUGHT, text(f"your key is {KEY}"))) as server,
        Ledger(tmp_path / "ledger.sqlite") as ledger,
    ):
        spec = Anthropic(model="toy", base_url=server.url)
        ((_, got),) = ledger.complete(spec.build(None), requests(1), PLAIN)
        for file in tmp_path.iterdir():
            assert KEY.encode() not in file.read_bytes()
    assert got.text == "your key is ***"


def test_the_official_server_wants_a_key_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(TeacherError, match="set the environment variable ANTHROPIC_API_KEY"):
        Anthropic(model="toy").build(None)


def test_a_key_that_no_header_can_hold_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", f"{KEY}\nX: y")
    with pytest.raises(TeacherError, match="ANTHROPIC_API_KEY holds characters") as caught:
        Anthropic(model="toy").build(None)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key_env": KEY},
        {"base_url": f"https://user:{KEY}@example.org/v1"},
        {"base_url": "example.org"},
        {"extra": {"headers": {"x-api-key": KEY}}},
        {"extra": {"messages": []}},
        {"extra": {"system": "Be brief."}},
        {"api_key": KEY},
        {"concurrency": 0},
    ],
)
def test_a_recipe_with_a_key_or_nonsense_is_refused_without_repeating_it(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Anthropic(model="toy", **fields)
    assert KEY not in str(caught.value)


def test_extra_fields_are_part_of_who_answers() -> None:
    plain = Anthropic(model="toy").identity()
    assert (plain.endpoint, plain.revision) == ("https://api.anthropic.com/v1/messages", "")
    assert Anthropic(model="toy", extra={"thinking": {"type": "adaptive"}}).identity() != plain
