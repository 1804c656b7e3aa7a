"""The `litellm` teacher with a stand-in for the library: same names, same shapes, no network."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import ValidationError

from understudy.errors import TeacherError
from understudy.ledger import Ledger, transient
from understudy.teachers import _litellm
from understudy.teachers.litellm import LiteLLM
from understudy.types import Completion, Message, Question, Request, Sampling

KEY = "sk-test-5f1a9c3e7b"
WARM = Sampling(temperature=0.7, max_tokens=64, stop=("\n\n",), seed=5)
Json = dict[str, Any]


class TroubleError(Exception):
    """An error with a status and headers, as litellm's have them."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"litellm.{type(self).__name__}: {message}")
        self.status_code = status
        self.litellm_response_headers = headers


class BadRequestError(TroubleError): ...


class ContextWindowExceededError(BadRequestError): ...


class ContentPolicyViolationError(BadRequestError): ...


class BudgetExceededError(TroubleError): ...


class Said:
    """A ModelResponse, as far as it is looked at."""

    def __init__(self, reply: Json) -> None:
        self._reply = reply

    def model_dump_json(self) -> str:
        return json.dumps(self._reply)


def said(*texts: str, **message: str) -> Said:
    choices = [{"message": {"content": text, **message}, "finish_reason": "stop"} for text in texts]
    return Said({"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": 6}})


def well(asked: Json) -> Said:
    return said(*[f"I read: {asked['messages'][-1]['content']} ({i})" for i in range(asked.get("n", 1))])


class Library(ModuleType):
    """Answers `script` one by one, then `otherwise` for ever; an exception is raised."""

    def __init__(self) -> None:
        super().__init__("litellm")
        self.suppress_debug_info = False
        self.script: list[Said | Exception] = []
        self.otherwise: Callable[[Json], Said | Exception] = well
        self.asked: list[Json] = []
        self.in_flight = self.most = 0

    async def acompletion(self, **asked: Any) -> Said:
        self.asked.append(asked)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(0.002)
        finally:
            self.in_flight -= 1
        reply = self.script.pop(0) if self.script else self.otherwise(asked)
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    stand_in = Library()
    monkeypatch.setitem(sys.modules, "litellm", stand_in)
    monkeypatch.setattr(_litellm, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("SOME_PROVIDERS_API_KEY", KEY)
    return stand_in


def offline(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """The fields of one that answers here, for the contracts that every teacher keeps."""
    stack.enter_context(patch.dict(sys.modules, litellm=Library()))
    return {"model": "toy"}


def requests(count: int, samples: tuple[int, ...] = (0,)) -> list[Request]:
    texts = [f"What is 2 + 2, asked {i} times?" for i in range(count)]
    return [Request(Question(text, "4"), (Message("user", text),), samples) for text in texts]


def ask(asked: list[Request], **fields: Any) -> list[Completion]:
    completer = LiteLLM(model="gemini/toy", **fields).build(None)
    landed = [item for batch in completer.complete(iter(asked), WARM) for item in batch]
    assert sorted((position, c.sample) for position, c in landed) == [
        (position, sample) for position, request in enumerate(asked) for sample in request.samples
    ]
    return [completion for _, completion in sorted(landed, key=lambda item: (item[0], item[1].sample))]


def test_every_sample_is_answered_once_and_its_raw_reply_kept(library: Library) -> None:
    got = ask(requests(3, (0, 1)))
    assert [c.text for c in got] == [
        f"I read: What is 2 + 2, asked {i} times? ({sample})" for i in range(3) for sample in (0, 1)
    ]
    assert [(c.prompt_tokens, c.completion_tokens) for c in got[:2]] == [(10, 3), (0, 3)]
    assert json.loads(got[1].raw)["choices"][1]["message"]["content"] == got[1].text
    assert got[0].latency_s > 0
    assert library.suppress_debug_info


def test_what_the_library_is_told(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    ask(
        requests(1, (2, 3)),
        base_url="https://example.org/",
        api_key_env="MY_KEY",
        extra={"top_k": 9, "top_p": None},
    )
    assert library.asked == [
        {
            "model": "gemini/toy",
            "messages": [{"role": "user", "content": "What is 2 + 2, asked 0 times?"}],
            "temperature": 0.7,
            "max_tokens": 64,
            "stop": ["\n\n"],
            "seed": 7,
            "n": 2,
            "top_k": 9,
            "timeout": 120,
            "num_retries": 0,
            "max_retries": 0,
            "api_base": "https://example.org",
            "api_key": KEY,
        }
    ]


def test_reasoning_comes_apart(library: Library) -> None:
    library.script = [said("4", reasoning_content="2 and 2"), said("<think>2 and 2</think>4")]
    assert [(c.text, c.reasoning) for c in ask(requests(2), concurrency=1)] == [("4", "2 and 2")] * 2


def test_no_more_than_so_many_at_once(library: Library) -> None:
    assert len(ask(requests(30), concurrency=4)) == 30
    assert library.most == 4


def test_requests_are_read_only_as_far_as_they_are_worked_on(library: Library) -> None:
    read = 0

    def stream() -> Any:
        nonlocal read
        for request in requests(2000):
            read += 1
            yield request

    landed = LiteLLM(model="toy", concurrency=4).build(None).complete(stream(), WARM)
    next(landed)
    assert read < 200
    landed.close()  # type: ignore[attr-defined]
    assert len(library.asked) < 200


PASSING = {
    "busy": TroubleError(429, "slow down"),
    "busy, come back soon": TroubleError(429, "slow down", {"Retry-After": "0.01"}),
    "broken": TroubleError(500, "oops"),
    "no reply": TroubleError(408, "timed out"),
    "an error without a status": RuntimeError("a bug"),
    "no choices": Said({"choices": []}),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_is_tried_again(fault: Said | Exception, library: Library) -> None:
    library.script = [fault, fault]
    (got,) = ask(requests(1))
    assert (got.finish_reason, got.attempts) == ("stop", 3)


def test_when_retries_run_out_the_question_is_marked_and_the_others_go_on(library: Library) -> None:
    def poison(asked: Json) -> Said | Exception:
        return (
            TroubleError(503, "busy") if "asked 1 times" in asked["messages"][0]["content"] else well(asked)
        )

    library.otherwise = poison
    got = ask(requests(3), max_retries=1)
    assert [c.finish_reason for c in got] == ["stop", "error", "stop"]
    assert got[1].error == "unanswered: HTTP 503: litellm.TroubleError: busy (attempts: 2)"
    assert transient(got[1])


def test_a_provider_that_only_fails_ends_the_run(library: Library) -> None:
    library.otherwise = lambda asked: TroubleError(500, "broken")
    with pytest.raises(TeacherError, match=r"keeps failing \(20 requests in a row.*broken"):
        ask(requests(200), max_retries=0, concurrency=4)
    assert len(library.asked) < 30


FINAL = {
    "context": (ContextWindowExceededError(400, "4097 tokens"), "context too long: HTTP 400"),
    "filter": (ContentPolicyViolationError(400, "flagged"), "content filter: HTTP 400"),
}


@pytest.mark.parametrize(("error", "message"), FINAL.values(), ids=FINAL.keys())
def test_a_refused_question_is_final(
    error: Exception, message: str, library: Library, tmp_path: Path
) -> None:
    library.script = [error]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for _ in range(2):
            ((_, got),) = ledger.complete(LiteLLM(model="toy").build(None), requests(1), WARM)
            assert got.error.startswith(message)
    assert len(library.asked) == 1


def test_a_rejected_question_among_good_ones_may_be_asked_again(library: Library) -> None:
    library.script = [BadRequestError(400, "strange")]
    got = ask(requests(3), concurrency=1)
    assert [c.error for c in got] == ["unanswered: HTTP 400: litellm.BadRequestError: strange", "", ""]


SETUP = {
    "wrong key": (TroubleError(401, f"wrong {KEY}"), "HTTP 401.*valid key"),
    "forbidden": (TroubleError(403, "no"), "HTTP 403.*valid key"),
    "no such model": (TroubleError(404, "toy"), r"'gemini/toy'.*teacher\.model"),
    "no credit": (TroubleError(402, "pay"), "no credit"),
    "no budget": (BudgetExceededError(400, "spent"), "no credit"),
    "unknown field": (BadRequestError(400, "unknown field top_k"), r"unknown field top_k.*teacher\.extra"),
}


@pytest.mark.parametrize(("error", "message"), SETUP.values(), ids=SETUP.keys())
def test_a_broken_set_up_ends_the_run_with_one_sentence(
    error: Exception, message: str, library: Library
) -> None:
    library.otherwise = lambda asked: error
    with pytest.raises(TeacherError, match=message) as caught:
        ask(requests(50), concurrency=2)
    assert len(library.asked) <= 6
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ignores", [True, False])
def test_a_provider_that_draws_one_sample_at_a_time_is_asked_one_by_one(
    ignores: bool, library: Library
) -> None:
    def single(asked: Json) -> Said | Exception:
        if "n" in asked and not ignores:
            return BadRequestError(400, "n must be 1")
        return well({**asked, "n": 1})

    library.otherwise = single
    assert {c.finish_reason for c in ask(requests(2, (0, 1, 2)), concurrency=1)} == {"stop"}
    assert [asked.get("n", 1) for asked in library.asked[:3]] == [3, 1, 1]


def test_keys_in_the_environment_reach_neither_ledger_nor_answers(library: Library, tmp_path: Path) -> None:
    library.script = [said(f"your key is {KEY}"), ContextWindowExceededError(400, f"with {KEY}")]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = LiteLLM(model="toy", concurrency=1).build(None)
        got = [completion for _, completion in ledger.complete(completer, requests(2), WARM)]
        for file in tmp_path.iterdir():
            assert KEY.encode() not in file.read_bytes()
    assert got[0].text == "your key is ***"
    assert got[1].error.endswith("with ***")


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(TeacherError, match=r"pip install 'understudy\[litellm\]'"):
        LiteLLM(model="toy").build(None)


def test_a_key_that_is_named_and_not_there_is_said_before_anything_is_sent(library: Library) -> None:
    with pytest.raises(TeacherError, match="set the environment variable NO_SUCH_KEY"):
        LiteLLM(model="toy", api_key_env="NO_SUCH_KEY").build(None)


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key_env": KEY},
        {"base_url": f"https://user:{KEY}@example.org/v1"},
        {"extra": {"api_key": KEY}},
        {"extra": {"api_base": "https://example.org"}},
        {"extra": {"mock_response": "hi"}},
        {"extra": {"n": 2}},
        {"concurrency": 0},
    ],
)
def test_a_recipe_with_a_key_or_nonsense_is_refused_without_repeating_it(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        LiteLLM(model="toy", **fields)
    assert KEY not in str(caught.value)


def test_address_and_extra_are_part_of_who_answers() -> None:
    plain = LiteLLM(model="toy").identity()
    assert (plain.endpoint, plain.model, plain.revision) == ("litellm", "toy", "")
    assert LiteLLM(model="toy", base_url="https://example.org").identity() != plain
    assert LiteLLM(model="toy", extra={"top_k": 5}).identity() != plain
