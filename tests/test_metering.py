"""Budgets: what they stop, by how little they may be passed, and what is said then."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopback import Loopback
from understudy.errors import BudgetError, RecipeError
from understudy.ledger import Ledger
from understudy.ledger.spending import missing
from understudy.metering import ENOUGH, BudgetSpec, Metered, OverBudgetError, Spent, spent_before
from understudy.prices import Price
from understudy.roles import Completer, Identity, Landed
from understudy.types import Completion, Message, Question, Request, Sampling

DOLLAR = Price(input=1e6, output=1e6)
"""A dollar for a token: what is spent can be read off."""
SHORT = Sampling(max_tokens=10)


class Meal:
    """Answers with the tokens it is told, `window` requests in flight, the newest first."""

    def __init__(self, costs: Sequence[int], window: int = 1) -> None:
        self.identity = Identity("http://meal", "meal")
        self.costs = costs
        self.window = window
        self.handed = 0
        self.flight: list[int] = []
        self.at_last_hand_out: list[int] = []
        self.error = ""

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        waiting: deque[tuple[int, Request]] = deque()
        for item in enumerate(requests):
            waiting.append(item)
            self.flight += [self.cost() for _ in item[1].samples]
            self.at_last_hand_out = list(self.flight)
            if len(waiting) == self.window:
                yield self.answer(*waiting.pop())
        while waiting:
            yield self.answer(*waiting.pop())

    def cost(self) -> int:
        self.handed += 1
        return self.costs[(self.handed - 1) % len(self.costs)]

    def answer(self, position: int, request: Request) -> list[Landed]:
        return [(position, self.say(request, sample)) for sample in request.samples]

    def say(self, request: Request, sample: int) -> Completion:
        tokens = self.flight.pop(0)
        said = Completion(request.question.id, sample, "text" if tokens else "", "stop", 0, tokens)
        return (
            replace(said, finish_reason="error", error=self.error, completion_tokens=0)
            if self.error
            else said
        )

    def close(self) -> None:
        """Nothing is open."""


def requests(count: int, samples: int = 1) -> Iterator[Request]:
    for number in range(count):
        question = Question(f"{number}?", "1")
        yield Request(question, (Message("user", question.text),), tuple(range(samples)))


def eat(
    meal: Completer, budget: BudgetSpec, spent: Spent, count: int, samples: int = 1
) -> tuple[list[Landed], OverBudgetError | None]:
    got: list[Landed] = []
    try:
        for batch in Metered(meal, budget, spent, DOLLAR).complete(requests(count, samples), SHORT):
            got += batch
    except OverBudgetError as stop:
        return got, stop
    return got, None


def test_without_a_cap_everything_passes_and_is_counted() -> None:
    spent = Spent()
    got, stop = eat(Meal([2], window=3), BudgetSpec(), spent, 5, samples=2)
    assert stop is None
    assert sorted((position, said.sample) for position, said in got) == [
        (p, s) for p in range(5) for s in (0, 1)
    ]
    assert spent == Spent(requests=10, tokens=20, usd=20.0)


def test_requests_are_counted_to_the_last() -> None:
    spent = Spent(requests=2)
    got, stop = eat(Meal([1], window=4), BudgetSpec(requests=10), spent, 100)
    assert len(got) == 8
    assert spent.requests == 10
    assert stop is not None


def test_an_answer_may_be_as_long_as_it_can_until_some_have_landed() -> None:
    # A prompt of two bytes may be 16 tokens with its template, and an answer 10: 26 in all.
    assert eat(Meal([10]), BudgetSpec(tokens=25), Spent(), 9)[0] == []
    # One at a time is never too many: 60 - 26 leaves room for answers until more than 34 are spent.
    assert len(eat(Meal([10]), BudgetSpec(tokens=60), Spent(), 9)[0]) == 4
    # Of two at a time the second one waits for the first to land, when 52 do not fit.
    meal = Meal([10], window=2)
    assert len(eat(meal, BudgetSpec(tokens=51), Spent(), 9)[0]) == 3


def test_later_the_mean_decides_and_the_budget_is_used_to_its_end() -> None:
    spent = Spent()
    eat(Meal([10], window=4), BudgetSpec(tokens=1000), spent, 500)
    assert spent.tokens == 1000


def test_answers_of_scattered_lengths_need_more_room() -> None:
    # 20 answers of 0 and 20 tokens in turn come to 200; their mean is 10, three deviations are 30.78.
    assert len(eat(Meal([0, 20]), BudgetSpec(tokens=240), Spent(), 99)[0]) == 20
    assert len(eat(Meal([0, 20]), BudgetSpec(tokens=241), Spent(), 99)[0]) > 20


@settings(max_examples=150, deadline=None)
@given(
    costs=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    window=st.integers(1, 9),
    samples=st.integers(1, 3),
    count=st.integers(0, 80),
    cap=st.integers(1, 600),
    kind=st.sampled_from(["usd", "tokens", "requests"]),
)
def test_the_budget_is_passed_by_no_more_than_was_in_flight(
    costs: list[int], window: int, samples: int, count: int, cap: int, kind: str
) -> None:
    meal, spent = Meal(costs, window), Spent()
    got, stop = eat(meal, BudgetSpec.model_validate({kind: cap}), spent, count, samples)
    # What was handed out is handed over, once, from the front of the stream.
    assert sorted((position, said.sample) for position, said in got) == [
        (position, sample) for position in range(meal.handed // samples) for sample in range(samples)
    ]
    assert (stop is None) == (meal.handed == count * samples)
    used = {"usd": spent.usd, "tokens": spent.tokens, "requests": spent.requests}[kind]
    in_flight = len(meal.at_last_hand_out) if kind == "requests" else sum(meal.at_last_hand_out)
    assert used - in_flight <= cap
    if kind == "requests":
        assert used <= cap


@settings(max_examples=60, deadline=None)
@given(
    costs=st.lists(st.integers(0, 10), min_size=1, max_size=30),
    window=st.integers(1, 9),
    cap=st.integers(1, 26 * ENOUGH),
)
def test_as_long_as_only_the_bound_is_known_the_budget_is_never_passed(
    costs: list[int], window: int, cap: int
) -> None:
    spent = Spent()
    eat(Meal(costs, window), BudgetSpec(tokens=cap), spent, ENOUGH)
    assert spent.tokens <= cap


class Silent(Meal):
    """Writes, and does not say how much."""

    def say(self, request: Request, sample: int) -> Completion:
        return replace(super().say(request, sample), text="text", completion_tokens=0)


def test_who_does_not_count_its_tokens_is_asked_for_no_more_and_all_in_flight_is_kept() -> None:
    got: list[Landed] = []
    metered = Metered(Silent([1], window=3), BudgetSpec(tokens=10_000), Spent(), None)
    with pytest.raises(RecipeError, match=r"does not say how many tokens meal took \(3 answers so far\)"):
        got.extend(landed for batch in metered.complete(requests(50), SHORT) for landed in batch)
    assert sorted(position for position, _ in got) == [0, 1, 2]


@pytest.mark.parametrize("budget", [BudgetSpec(requests=9), BudgetSpec(usd=9)], ids=["requests", "free"])
def test_where_tokens_cost_nothing_nobody_needs_to_count_them(budget: BudgetSpec) -> None:
    spent, free = Spent(), Price(0.0, 0.0)
    got = list(Metered(Silent([1]), budget, spent, free).complete(requests(9), SHORT))
    assert (len(got), spent.requests, spent.uncounted) == (9, 9, 9)


# ---------------------------------------------------------------- what is said


def test_what_it_takes_to_go_on() -> None:
    _, stop = eat(Meal([10]), BudgetSpec(usd=250), Spent(), 100)
    assert stop is not None
    assert str(stop) == (
        "the budget of $250.00 reaches no further (so far 25 requests, 250 tokens, $250.00), and everything "
        "that was answered is kept: raise budget.usd and run again to go on"
    )
    # 75 more at 10 each are 750; with a fifth more and the next request itself that is 250 + 900 + 10.
    assert str(stop.with_left(75)) == (
        "the budget of $250.00 reaches no further (so far 25 requests, 250 tokens, $250.00), and everything "
        "that was answered is kept; to finish this step takes about 75 more requests, 750 tokens, $750.00: "
        "raise budget.usd to 1160.00 and run again"
    )
    assert "takes at least 75 more requests" in str(stop.with_left(75, at_least=True))
    assert stop.exit_code == 7


def test_a_budget_for_not_even_one_request_says_what_one_may_take() -> None:
    _, stop = eat(Meal([10]), BudgetSpec(tokens=20, requests=5), Spent(), 3)
    assert stop is not None
    assert str(stop.with_left(3)) == (
        "the budget of 20 tokens or 5 requests reaches no further (so far nothing), and the next request "
        "alone may take 1 request, 26 tokens, $26.00: raise budget.tokens to 26 and run again"
    )


@settings(max_examples=60, deadline=None)
@given(
    costs=st.lists(st.integers(1, 10), min_size=1, max_size=30),
    window=st.integers(1, 9),
    cap=st.integers(1, 500),
    count=st.integers(1, 120),
)
def test_whoever_raises_the_budget_as_told_gets_further(
    costs: list[int], window: int, cap: int, count: int
) -> None:
    meal, spent, done, raises = Meal(costs, window), Spent(), 0, 0
    while True:
        got, stop = eat(meal, BudgetSpec(tokens=cap), spent, count - done)
        done += len(got)
        if stop is None:
            break
        assert got or raises == 0, "a raised budget must buy something"
        told = re.search(r"raise budget.tokens to (\d+) and", str(stop.with_left(count - done)))
        assert told is not None
        assert int(told[1]) > cap
        cap, raises = int(told[1]), raises + 1
    assert done == count
    assert raises <= 6


def test_dollars_cannot_be_counted_without_a_price() -> None:
    meal = Meal([1])
    with pytest.raises(RecipeError, match=r"price of meal at http://meal is not known.*give 'price:"):
        Metered(meal, BudgetSpec(usd=1), Spent(), None)
    assert meal.handed == 0
    spent = Spent()
    unpriced = Metered(meal, BudgetSpec(tokens=100), spent, None)
    assert len([item for batch in unpriced.complete(requests(3), SHORT) for item in batch]) == 3
    assert spent == Spent(3, 3, 0.0)
    with pytest.raises(OverBudgetError, match=r"reaches no further \(so far 60 requests, 60 tokens\), and"):
        list(Metered(meal, BudgetSpec(tokens=60), spent, None).complete(requests(300), SHORT))


# ---------------------------------------------------------------- over a real connection


def test_a_real_client_is_stopped_and_waited_for() -> None:
    """Many requests in flight, answers in any order, in several goes as the room gets short."""
    from understudy.teachers.openai import OpenAI

    with Loopback() as server:
        client = OpenAI(base_url=server.url, model="toy", concurrency=8).build(None)
        spent = Spent()
        # Each answer is 15 tokens, so 100 of them fit to the last.
        got, stop = eat(client, BudgetSpec(tokens=1500), spent, 300)
        client.close()
        assert stop is not None
        assert spent == Spent(100, 1500, 1500.0)
        assert sorted(position for position, _ in got) == list(range(100))
        assert len(server.bodies) == 100


# ---------------------------------------------------------------- with the ledger


def buy(path: Path, meal: Meal, budget: BudgetSpec, count: int, price: Price | None = DOLLAR) -> Spent:
    spent = spent_before(path, meal.identity, price)
    with Ledger(path, "annotate-1", price.of if price else None) as ledger:
        list(ledger.complete(Metered(meal, budget, spent, price), requests(count), SHORT))
    return spent


def test_a_run_that_is_started_again_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(BudgetError):
        buy(path, Meal([10]), BudgetSpec(usd=250), 100)
    assert spent_before(path, Meal([10]).identity, DOLLAR) == Spent(25, 250, 250.0)
    again = Meal([10])
    with pytest.raises(BudgetError):
        buy(path, again, BudgetSpec(usd=250), 100)
    assert again.handed == 0
    # What is stored is free: only the other 75 are paid for.
    assert buy(path, again, BudgetSpec(usd=1160), 100) == Spent(100, 1000, 1000.0)
    assert again.handed == 75
    assert buy(path, again, BudgetSpec(usd=1), 100) == Spent(100, 1000, 1000.0)


def test_what_was_stored_without_a_price_is_counted_at_todays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    buy(path, Meal([10]), BudgetSpec(), 3, price=None)
    assert spent_before(path, Meal([1]).identity, None) == Spent(3, 30, 0.0)
    assert spent_before(path, Meal([1]).identity, DOLLAR) == Spent(3, 30, 30.0)
    assert spent_before(path, Identity("http://meal", "other"), DOLLAR) == Spent()
    assert spent_before(tmp_path / "none.sqlite", Meal([1]).identity, DOLLAR) == Spent()
    assert not (tmp_path / "none.sqlite").exists()


def test_what_was_imported_was_not_paid_for_here(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    meal = Meal([10])
    with Ledger(path, "import") as ledger:
        list(ledger.complete(meal, requests(3), SHORT))
    assert spent_before(path, meal.identity, DOLLAR) == Spent()


def test_what_may_still_be_answered_is_not_counted(tmp_path: Path) -> None:
    meal, spent = Meal([10]), Spent()
    meal.error = "unanswered: busy"
    eat(meal, BudgetSpec(requests=5), spent, 5)
    assert spent == Spent()
    meal.error = "context too long"
    eat(meal, BudgetSpec(requests=5), spent, 5)
    assert spent == Spent(requests=5)


def test_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    who = Meal([1]).identity
    assert len(list(missing(path, who, requests(4, samples=2), SHORT))) == 4
    buy(path, Meal([1]), BudgetSpec(), 3)
    left = list(missing(path, who, requests(4, samples=2), SHORT))
    assert [request.samples for request in left] == [(1,), (1,), (1,), (0, 1)]
    assert len(list(missing(path, who, requests(4), Sampling(max_tokens=11)))) == 4
    assert list(missing(path, who, requests(3), SHORT)) == []
