"""What completions cost: a short table of list prices, and the user's own price in its place.

The table, prices.json, names the provider's page behind each price, where it was read, and the day. Only
names that the table lists are priced: a snapshot that it does not know may cost something else, so its
price is unknown, which is None and never a guess. The catch: list prices are not a bill. They know nothing
of contracts, taxes or long-prompt tiers, nor of what some providers charge for filling their cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from understudy.roles import Spec
from understudy.types import Completion

TABLE = Path(__file__).with_name("prices.json")
LITELLM = "litellm"
"""The endpoint whose models are named "provider/model"."""
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, and who says so."""

    input: float
    output: float
    cached_input: float | None = None
    """For prompt tokens that the server had in its cache; None where they cost the same or nobody says."""
    batch: float | None = None
    """What a batch costs as a share of this; None where there is no such offer or it is not known."""
    source: str = ""

    def usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """What these tokens cost; `cached_tokens` are those of `prompt_tokens` that came from the cache."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.input + cached_tokens * cached + completion_tokens * self.output) / _MILLION

    def of(self, completion: Completion) -> float:
        """What one completion cost: the price that a ledger records beside it."""
        return self.usd(completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens)

    def batched(self) -> Price | None:
        """The price of the same through the provider's batch service; None if that is not known."""
        if self.batch is None:
            return None
        cached = None if self.cached_input is None else self.cached_input * self.batch
        return replace(
            self,
            input=self.input * self.batch,
            output=self.output * self.batch,
            cached_input=cached,
            batch=None,
            source=f"{self.source}; batch",
        )

    def describe(self) -> str:
        """One phrase for the terminal and the report."""
        return f"${self.input:g} in, ${self.output:g} out per million tokens ({self.source})"


class PriceSpec(Spec):
    """What the teacher costs, in US dollars, where the table does not know or you pay something else."""

    input: float = Field(ge=0)
    """For `per` prompt tokens."""
    output: float = Field(ge=0)
    """For `per` completion tokens, hidden reasoning included."""
    cached_input: float | None = Field(None, ge=0)
    """For `per` prompt tokens that came from the server's cache."""
    per: float = Field(_MILLION, gt=0)
    """How many tokens the prices are for."""

    def price(self) -> Price:
        factor = _MILLION / self.per
        cached = None if self.cached_input is None else self.cached_input * factor
        return Price(self.input * factor, self.output * factor, cached, source="the recipe")


def price_of(model: str, endpoint: str) -> Price | None:
    """The list price of a model at an endpoint, as `Identity` names them; None if the table has none.

    The same weights cost something else at every provider, so the endpoint's host decides who is asked:
    a server of your own has no list price.
    """
    if endpoint == LITELLM:
        provider, slash, name = model.partition("/")
        return _prices().get((f"{LITELLM}:{provider}", name) if slash else (f"{LITELLM}:", model))
    try:
        host = urlsplit(endpoint).hostname
    except ValueError:
        return None
    return _prices().get((host or "", model))


@cache
def _prices() -> Mapping[tuple[str, str], Price]:
    """(host, or litellm's prefix; model) -> price, each name of a model by itself."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    return {
        (place, name): _price(provider, entry, table["looked_up"])
        for provider in table["providers"].values()
        for place in (*provider["hosts"], *(f"{LITELLM}:{prefix}" for prefix in provider["prefixes"]))
        for model, entry in provider["models"].items()
        for name in (model, *entry.get("also", ()))
    }


def _price(provider: Mapping[str, Any], entry: Mapping[str, Any], looked_up: str) -> Price:
    note = f"; {provider['note']}" if "note" in provider else ""
    return Price(
        input=entry["input"],
        output=entry["output"],
        cached_input=entry.get("cached_input"),
        batch=provider.get("batch"),
        source=f"{provider['source']}, looked up {looked_up}{note}",
    )
