"""Prices: sums that one can do in the head, names that are known, and names that are not guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from understudy.ledger import Ledger
from understudy.ledger.spending import spending
from understudy.metering import BudgetSpec, Metered, Spent
from understudy.prices import TABLE, Price, PriceSpec, price_of
from understudy.roles import Identity, Landed
from understudy.teachers._messages import MessagesDialect
from understudy.teachers._wire import read
from understudy.types import Completion, Message, Question, Request, Sampling

OPENAI = "https://api.openai.com/v1/chat/completions"


def test_the_sum() -> None:
    price = Price(input=2.0, output=10.0, cached_input=0.5)
    assert price.usd(1_000_000, 0) == 2.0
    assert price.usd(0, 100_000) == 1.0
    assert price.usd(3_000_000, 500_000, cached_tokens=2_000_000) == 2.0 + 1.0 + 5.0
    assert Price(2.0, 10.0).usd(1_000_000, 0, cached_tokens=1_000_000) == 2.0
    assert price.of(Completion("q", 0, "text", "stop", 500, 100)) == 0.002
    assert price.of(Completion("q", 0, "text", "stop", 500, 100, cached_tokens=400)) == 0.0014


def cached_of(read: Callable[..., Any], usage: dict[str, Any], samples: int = 1) -> list[tuple[int, int]]:
    """(prompt tokens, cached ones) of every sample in a reply with this usage, as a dialect reads it."""
    said = {"message": {"content": "4"}, "finish_reason": "stop"}
    reply = {"choices": [said] * samples, "content": [{"type": "text", "text": "4"}], "usage": usage}
    request = Request(Question("2 + 2?", "4"), (Message("user", "2 + 2?"),), tuple(range(samples)))
    got = read(200, {}, json.dumps(reply), request, request.samples)
    return [(one.prompt_tokens, one.cached_tokens) for one in got]


def test_servers_say_which_tokens_they_had_cached() -> None:
    openai = {"prompt_tokens": 100, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 60}}
    assert cached_of(read, openai, samples=2) == [(100, 60), (0, 0)], "a prompt is counted once"
    assert cached_of(read, {**openai, "prompt_tokens_details": {"cached_tokens": 900}}) == [(100, 100)]
    senseless: tuple[Any, ...] = (None, [], {"cached_tokens": "many"}, {"cached_tokens": -1})
    for nonsense in senseless:
        assert cached_of(read, {**openai, "prompt_tokens_details": nonsense}) == [(100, 0)]
    anthropic = {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30}
    assert cached_of(MessagesDialect("toy", {}).read, anthropic) == [(60, 30)]


class Cached:
    """Says one word to every prompt of a hundred tokens, all of which it knew."""

    identity = Identity("http://cached", "cached")

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        for place, request in enumerate(requests):
            yield [(place, Completion(request.question.id, 0, "4", "stop", 100, 1, cached_tokens=100))]

    def close(self) -> None:
        """Nothing is open."""


def test_the_ledger_and_the_budget_count_cached_tokens_at_their_price(tmp_path: Path) -> None:
    price, path = Price(input=1e6, output=1e6, cached_input=0.1e6), tmp_path / "ledger.sqlite"
    spent = Spent()
    request = Request(Question("2 + 2?", "4"), (Message("user", "2 + 2?"),))
    with Ledger(path, price=price.of) as ledger:
        metered = Metered(Cached(), BudgetSpec(usd=10_000), spent, price)
        [(_, said)] = ledger.complete(metered, [request], Sampling())
    assert said.cached_tokens == 0, "what a run makes of an answer does not depend on a cache"
    assert spending(path).usd == pytest.approx(11)
    assert spending(path).prompt_tokens == 100
    assert spent.usd == pytest.approx(11)


def test_a_batch_costs_its_share() -> None:
    half = Price(2.0, 10.0, 0.5, batch=0.5, source="page").batched()
    assert half == Price(1.0, 5.0, 0.25, None, "page; batch")
    assert Price(2.0, 10.0).batched() is None


def test_names_and_their_snapshots() -> None:
    known = price_of("gpt-4o-mini", OPENAI)
    assert known is not None
    assert known == price_of("gpt-4o-mini-2024-07-18", OPENAI)
    assert (known.input, known.output, known.batch) == (0.15, 0.6, 0.5)
    # The same family's older snapshot costs more, and has a line of its own.
    old, new = price_of("gpt-4o-2024-05-13", OPENAI), price_of("gpt-4o", OPENAI)
    assert old is not None
    assert new is not None
    assert (old.input, new.input) == (5.0, 2.5)


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [
        ("gpt-4o-mini-2031-01-01", OPENAI),  # a snapshot that nobody has priced
        ("gpt-4o-mini", "http://localhost:8000/v1/chat/completions"),  # a server of one's own
        ("gpt-4o-mini", "https://api.openai.com.example.org/v1"),
        ("gpt-4o-mini", "http://[broken/v1"),
        ("claude-sonnet-5", OPENAI),  # another provider's model
        ("Qwen/Qwen2.5-7B-Instruct-Turbo", "vllm"),
        ("gpt-4o-mini", ""),
        ("gemini-2.5-flash", "litellm"),  # litellm sells that through several providers
        ("GPT-4o-mini", OPENAI),
    ],
)
def test_what_is_not_in_the_table_is_unknown(model: str, endpoint: str) -> None:
    assert price_of(model, endpoint) is None


@pytest.mark.parametrize("model", ["gpt-4o-mini", "openai/gpt-4o-mini"])
def test_litellm_names_the_provider_before_the_model(model: str) -> None:
    assert price_of(model, "litellm") == price_of("gpt-4o-mini", OPENAI)
    assert price_of("together_ai/openai/gpt-oss-120b", "litellm") == price_of(
        "openai/gpt-oss-120b", "https://api.together.xyz/v1/chat/completions"
    )


def test_the_recipe_names_its_own_price() -> None:
    price = PriceSpec(input=0.001, output=0.002, cached_input=0.0005, per=1000).price()
    assert price == Price(1.0, 2.0, 0.5, source="the recipe")
    assert PriceSpec(input=3, output=4).price().usd(1_000_000, 1_000_000) == 7.0
    with pytest.raises(ValidationError):
        PriceSpec(input=-1, output=0)


def test_every_price_has_a_page_and_a_day() -> None:
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    day = date.fromisoformat(table["looked_up"])
    names: set[tuple[str, str]] = set()
    for provider in table["providers"].values():
        assert provider["source"].startswith("https://")
        for model, entry in provider["models"].items():
            assert 0 < entry["input"] <= entry["output"]
            assert entry.get("cached_input", 0) <= entry["input"]
            for name in (model, *entry.get("also", ())):
                price = price_of(name, f"https://{provider['hosts'][0]}/v1")
                assert price is not None
                assert re.search(rf"https://\S+, looked up {day}", price.describe())
                assert (provider["hosts"][0], name) not in names, f"{name} is priced twice"
                names.add((provider["hosts"][0], name))
