"""A budget for a run, and a completer that keeps to it.

`Metered` stands between the ledger and the teacher, so it sees only what has to be paid for. It reads the
stream of requests and hands out no new one that might pass the budget: what is in flight is counted by a
cautious estimate until it lands. Then it lets everything in flight land, looks how much room that left, and
goes on or stops. The catch: nobody knows beforehand how long an answer will be, so the last requests may
pass the budget by a little, though never by more than all that was in flight.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from understudy.errors import BudgetError, RecipeError
from understudy.ledger import transient
from understudy.ledger.selection import Selection
from understudy.ledger.spending import spending
from understudy.prices import Price
from understudy.roles import Completer, Identity, Landed, Spec
from understudy.types import Completion, Request, Sampling

ENOUGH = 20
"""Completions that must have landed before their mean says what the next one costs."""
DEVIATIONS = 3.0
"""Standard deviations by which what is in flight may be dearer than its mean."""
BYTES_PER_TOKEN = 3
"""For the bound: few texts have more than a token for every three bytes of UTF-8."""
EXTRA_TOKENS = 16
"""For the bound: what a chat template puts around a prompt."""

MARGIN = 1.2
"""How much more than the mean says a budget should be raised by, so that once is enough."""

Amounts = dict[str, float]
"""What something costs, by the name of the cap that it counts against: "usd", "tokens", "requests"."""


class BudgetSpec(Spec):
    """What a run may cost in all, however often it is started. Whichever cap is reached first stops it."""

    usd: float | None = Field(None, gt=0)
    """US dollars, at the prices that the table or `price` gives."""
    tokens: int | None = Field(None, gt=0)
    """Prompt and completion tokens together, as the server counts them."""
    requests: int | None = Field(None, gt=0)
    """Completions: asking for four samples of a question counts as four."""

    def caps(self) -> Amounts:
        """The caps that there are."""
        given = {"usd": self.usd, "tokens": self.tokens, "requests": self.requests}
        return {name: float(cap) for name, cap in given.items() if cap is not None}


@dataclass(slots=True)
class Spent:
    """What a run has used so far. One of these is shared by all that spends in a run."""

    requests: int = 0
    tokens: int = 0
    usd: float = 0.0
    uncounted: int = 0
    """Of the requests, those whose answer came without a number of tokens: what they cost is not known."""

    def add(self, completion: Completion, price: Price | None) -> bool:
        """Count a completion as the ledger will, and say whether it counts: a failure that may pass is not
        kept and costs nothing."""
        if transient(completion):
            return False
        self.requests += 1
        self.tokens += completion.prompt_tokens + completion.completion_tokens
        self.usd += price.of(completion) if price else 0.0
        said = completion.finish_reason != "error" and bool(completion.text or completion.reasoning)
        self.uncounted += said and completion.completion_tokens == 0
        return True

    def amounts(self) -> Amounts:
        return {"usd": self.usd, "tokens": float(self.tokens), "requests": float(self.requests)}


def spent_before(ledger: Path, identity: Identity, price: Price | None) -> Spent:
    """What a ledger says this teacher has used, so that a run that is started again goes on counting.

    Completions that were stored before there was a price are counted at `price`.
    """
    found = spending(ledger, Selection(endpoint=identity.endpoint, model=identity.model))
    unpriced = price.usd(found.unpriced_prompt_tokens, found.unpriced_completion_tokens) if price else 0.0
    return Spent(
        requests=found.completions,
        tokens=found.prompt_tokens + found.completion_tokens,
        usd=found.usd + unpriced,
        uncounted=found.uncounted,
    )


def check_price(who: Identity, price: Price | None) -> None:
    """Raises RecipeError where dollars are to be counted and nobody knows the price."""
    if price is None:
        raise RecipeError(
            f"the price of {who.model} at {who.endpoint or 'this machine'} is not known, so 'budget.usd' "
            "cannot be kept: give 'price: {input: ..., output: ...}' in US dollars per million tokens, "
            "or give budget.tokens or budget.requests instead"
        )


def check_counts(who: Identity, uncounted: int, budget: BudgetSpec, price: Price | None) -> None:
    """Raises RecipeError where tokens are to be counted, or paid for, and nobody says how many came."""
    caps = _of_tokens(budget.caps(), price)
    if uncounted and caps:
        unkept = " and ".join(f"'budget.{name}'" for name in caps)
        came = "1 answer" if uncounted == 1 else f"{uncounted:,} answers"
        raise RecipeError(
            f"{who.endpoint} does not say how many tokens {who.model} took ({came} so far), so {unkept} "
            "cannot be kept: give budget.requests instead and run again, everything that was answered is kept"
        )


def _of_tokens(caps: Amounts, price: Price | None) -> list[str]:
    """The caps that only a server that counts its tokens can be held to."""
    free = price is not None and price.input == price.output == 0
    return [name for name in caps if name == "tokens" or (name == "usd" and not free)]


class OverBudgetError(BudgetError):
    """Says what was spent; and once it is told how much is left to do, what that would take."""

    def __init__(self, budget: BudgetSpec, spent: Spent, each: Amounts, next_one: Amounts) -> None:
        """`each` is what a completion has cost on average, empty if there is none yet, and `next_one` what
        the request that was not sent may cost."""
        self._caps = budget.caps()
        self._spent = spent.amounts()
        self._each = each
        self._next = next_one
        super().__init__(
            f"{self._reaches()}, and everything that was answered is kept: raise "
            f"{' or '.join(f'budget.{name}' for name in self._caps)} and run again to go on"
        )

    def __reduce__(self) -> tuple[type[BudgetError], tuple[str]]:
        """From a worker process only the sentence travels."""
        return BudgetError, (str(self),)

    def with_left(self, left: int, at_least: bool = False) -> BudgetError:
        """The same for `left` completions that are still to be asked for; `at_least` if there may be more."""
        if not self._each:
            return BudgetError(
                f"{self._reaches()}, and the next request alone may take {_list(self._next)}: raise "
                f"{self._raised(self._next)} and run again"
            )
        costs = {name: left * each for name, each in self._each.items()}
        margin = {name: MARGIN * cost + self._next[name] for name, cost in costs.items()}
        about = "at least" if at_least else "about"
        return BudgetError(
            f"{self._reaches()}, and everything that was answered is kept; to finish this step takes {about} "
            f"{_list(costs, 'more ')}: raise {self._raised({**margin, 'requests': left})} and run again"
        )

    def _reaches(self) -> str:
        known = {name: amount for name, amount in self._spent.items() if name in self._each or amount}
        caps = " or ".join(_amount(name, cap) for name, cap in self._caps.items())
        return f"the budget of {caps} reaches no further (so far {_list(known) or 'nothing'})"

    def _raised(self, more: Amounts) -> str:
        """Every cap that does not reach for `more`, with what it would have to be."""
        wanted = {name: self._spent[name] + more[name] for name in self._caps}
        short = {name: amount for name, amount in wanted.items() if amount > self._caps[name]}
        return " and ".join(f"budget.{name} to {_up(name, amount)}" for name, amount in short.items())


class Metered:
    """A completer that hands out no request for which the budget might not reach."""

    def __init__(self, completer: Completer, budget: BudgetSpec, spent: Spent, price: Price | None) -> None:
        """Raises RecipeError when dollars are to be counted and nobody knows the price."""
        if budget.usd is not None:
            check_price(completer.identity, price)
        self.identity = completer.identity
        self._completer = completer
        self._budget = budget
        self._spent = spent
        self._price = price

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """Raises BudgetError once everything that was handed out has landed, if requests are left then; and
        RecipeError, then too, if an answer came without a number of tokens and those are what is counted."""
        stream = _Stream(requests)
        meter = _Meter(self._budget, self._spent, self._price, sampling)
        while True:
            start = stream.handed
            for batch in self._completer.complete(stream.read(meter.admits), sampling):
                for _, said in batch:
                    meter.landed(said)
                yield [(start + position, said) for position, said in batch]
            check_counts(self.identity, meter.uncounted, self._budget, self._price)
            if stream.held is None:
                return
            if stream.handed == start:
                raise OverBudgetError(self._budget, self._spent, meter.each(), meter.alone(stream.held))

    def close(self) -> None:
        self._completer.close()


class _Stream:
    """A stream of requests that can be left at a request which is not admitted, and entered again there."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.handed = 0
        self.held: Request | None = None
        """The request that was not admitted."""
        self._requests = iter(requests)

    def read(self, admits: Callable[[Request], bool]) -> Iterator[Request]:
        while True:
            request = self.held if self.held is not None else next(self._requests, None)
            if request is None:
                return
            self.held = request
            if not admits(request):
                return
            self.held = None
            self.handed += 1
            yield request


class _Meter:
    """What is in flight, and what it may cost. A completer may read in another thread than answers land in,
    so the lock is held wherever both meet."""

    def __init__(self, budget: BudgetSpec, spent: Spent, price: Price | None, sampling: Sampling) -> None:
        self._caps = budget.caps()
        self._spent = spent
        self._price = price
        self._sampling = sampling
        self._lock = threading.Lock()
        self._in_flight = 0
        self._longest = 0
        """Bytes of the longest prompt so far."""
        self.uncounted = 0
        """Answers that came without a number of tokens."""
        self._counts_tokens = bool(_of_tokens(self._caps, price))
        self._seen = {name: _Sums() for name in ("usd", "tokens") if name != "usd" or price}

    def admits(self, request: Request) -> bool:
        """Whether the budget reaches for this one too; if so it is in flight from now on."""
        with self._lock:
            if self.uncounted and self._counts_tokens:
                return False
            size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
            self._longest = max(self._longest, size)
            flight = self._in_flight + len(request.samples)
            there, expected = self._spent.amounts(), self._expected(flight)
            if any(there[name] + expected[name] > cap for name, cap in self._caps.items()):
                return False
            self._in_flight = flight
            return True

    def landed(self, said: Completion) -> None:
        with self._lock:
            self._in_flight -= 1
            before, uncounted = self._spent.amounts(), self._spent.uncounted
            if self._spent.add(said, self._price):
                for name, amount in self._spent.amounts().items():
                    if name in self._seen:
                        self._seen[name].add(amount - before[name])
            self.uncounted += self._spent.uncounted - uncounted

    def each(self) -> Amounts:
        """What a completion has cost on average, here or in the run; empty if there is none yet."""
        if not self._spent.requests:
            return {}
        run = self._spent.amounts()
        means = {
            name: seen.mean if seen.count else run[name] / run["requests"]
            for name, seen in self._seen.items()
        }
        return {"requests": 1.0, **means}

    def alone(self, request: Request) -> Amounts:
        """What one request may cost by itself."""
        return self._expected(len(request.samples))

    def _expected(self, completions: int) -> Amounts:
        """What so many completions cost, cautiously."""
        each = {name: self._cautious(name, seen, completions) for name, seen in self._seen.items()}
        return {"requests": float(completions), **each}

    def _cautious(self, name: str, seen: _Sums, completions: int) -> float:
        """By those that have landed here; else by twice the run's mean; else as much as they possibly can."""
        run = self._spent.amounts()
        if seen.count >= ENOUGH:
            return completions * seen.mean + DEVIATIONS * seen.deviation * math.sqrt(completions)
        if run["requests"] >= ENOUGH:
            return completions * 2 * run[name] / run["requests"]
        prompt, most = self._longest // BYTES_PER_TOKEN + EXTRA_TOKENS, self._sampling.max_tokens
        if name == "usd" and self._price:
            return completions * self._price.usd(prompt, most)
        return float(completions * (prompt + most))


@dataclass(slots=True)
class _Sums:
    """Mean and standard deviation of what comes one by one (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        change = value - self.mean
        self.mean += change / self.count
        self.squares += change * (value - self.mean)

    @property
    def deviation(self) -> float:
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


# ---------------------------------------------------------------- sentences


def _list(amounts: Amounts, more: str = "") -> str:
    """ "1,240 requests, 310,000 tokens, $0.42", as far as known."""
    order = [name for name in ("requests", "tokens", "usd") if name in amounts]
    return ", ".join(_amount(name, amounts[name], more if name == "requests" else "") for name in order)


def _amount(name: str, amount: float, more: str = "") -> str:
    if name == "usd":
        return dollars(amount)
    return f"{amount:,.0f} {more}{name.removesuffix('s') if amount == 1 else name}"


def _up(name: str, amount: float) -> str:
    """As the recipe would say it, rounded up."""
    return f"{math.ceil(amount * 100) / 100:.2f}" if name == "usd" else f"{math.ceil(amount)}"


def dollars(amount: float) -> str:
    """Two digits after the point, or as many as show anything."""
    return f"${amount:,.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.2g}"
