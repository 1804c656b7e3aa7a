"""Batch plans: every group in its turn, whole, within the budget, the same for one seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import batches
from understudy.batches import Plan, Size, competence, plan

Unit = Literal["tokens", "steps", "epochs", "flops"]

# Sources of 1 to 100 tokens, targets of 1 to 10, one row each.
VARIED = [Size(1, 1 + i % 100, 1 + i % 10, 2 + i % 100 + i % 10) for i in range(1000)]
PAIRS = [Size(2, 4, 2, 11) for _ in range(7)]


def padded(batch: Sequence[int], sizes: Sequence[Size]) -> int:
    """What a batch occupies: rows x (longest source + longest target)."""
    rows = sum(sizes[i].rows for i in batch)
    return rows * (max(sizes[i].source for i in batch) + max(sizes[i].target for i in batch))


def check(got: Plan, sizes: Sequence[Size], batch_tokens: int) -> None:
    """What holds of every plan: the budget of a batch, fair turns, and true totals."""
    assert all(len(b) == 1 or padded(b, sizes) <= batch_tokens for b in got.batches)
    turns = Counter(i for batch in got.batches for i in batch)
    counts = [turns[i] for i in range(len(sizes))]
    assert max(counts) - min(counts) <= 1, "no group comes twice before each came once"
    assert got.tokens == sum(sizes[i].tokens for batch in got.batches for i in batch)
    assert got.padded == sum(padded(batch, sizes) for batch in got.batches)
    assert got.epochs == pytest.approx(sum(counts) / len(sizes))


def test_three_epochs_hold_every_group_three_times() -> None:
    got = plan(VARIED, 512, "epochs", 3, seed=0)
    check(got, VARIED, 512)
    assert Counter(i for batch in got.batches for i in batch) == dict.fromkeys(range(1000), 3)
    assert got.epochs == 3


def test_groups_of_two_fill_batches_by_their_rows() -> None:
    # Two rows of 4 + 2 tokens take 12, so 36 tokens hold three groups.
    got = plan(PAIRS, 36, "epochs", 1, seed=0)
    assert sorted(map(len, got.batches)) == [1, 3, 3]
    assert (got.tokens, got.padded) == (77, 84)


@pytest.mark.parametrize(
    ("unit", "amount"),
    [("steps", 1), ("steps", 7), ("steps", 500), ("tokens", 1), ("tokens", 20000), ("epochs", 0.3)],
)
def test_the_budget_is_met_and_passed_by_less_than_one_batch(unit: Unit, amount: float) -> None:
    got = plan(VARIED, 512, unit, amount, seed=1)
    check(got, VARIED, 512)
    last = got.batches[-1]
    spent = {
        "steps": (len(got.batches), 1),
        "tokens": (got.tokens, sum(VARIED[i].tokens for i in last)),
        "epochs": (got.epochs, len(last) / len(VARIED)),
    }[unit]
    assert spent[0] >= amount
    assert spent[0] - spent[1] < amount or len(got.batches) == 1


def test_a_plan_is_its_seed() -> None:
    assert plan(VARIED, 512, "epochs", 2, seed=0) == plan(VARIED, 512, "epochs", 2, seed=0)
    assert plan(VARIED, 512, "epochs", 2, seed=0).batches != plan(VARIED, 512, "epochs", 2, seed=1).batches


def test_a_longer_budget_starts_like_a_shorter_one() -> None:
    short, long = (plan(VARIED, 512, "steps", steps, seed=0).batches for steps in (30, 300))
    assert long[:30] == short


def test_each_epoch_has_its_own_order() -> None:
    got = plan(VARIED, 512, "epochs", 2, seed=0).batches
    ends = [sum(map(len, got[:n])) for n in range(len(got))].index(1000)
    first, second = got[:ends], got[ends:]
    assert sorted(i for batch in first for i in batch) == list(range(1000))
    assert first != second
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}


def test_batches_do_not_come_in_order_of_length() -> None:
    lengths = [VARIED[batch[0]].source for batch in plan(VARIED, 512, "epochs", 1, seed=0).batches]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))


def test_little_is_padding() -> None:
    got = plan(VARIED, 512, "epochs", 1, seed=0)
    assert got.tokens / got.padded > 0.9


def test_sorting_is_what_saves_the_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    # Windows of one batch's size leave nothing to sort.
    monkeypatch.setattr(batches, "WINDOW", 5)
    got = plan(VARIED, 512, "epochs", 1, seed=0)
    check(got, VARIED, 512)
    assert got.tokens / got.padded < 0.8


def test_a_group_larger_than_a_batch_is_trained_on_alone() -> None:
    sizes = [Size(1, 50, 50, 100), Size(1, 2, 2, 4), Size(1, 2, 2, 4)]
    assert sorted(map(sorted, plan(sizes, 8, "epochs", 1, seed=0).batches)) == [[0], [1, 2]]


# ---------------------------------------------------------------- a budget of flops


def test_a_budget_of_flops_counts_what_each_group_costs() -> None:
    # Group 0 costs as much as the nine others together.
    sizes = [Size(1, 4, 0, 4, flops=9.0), *[Size(1, 4, 0, 4, flops=1.0)] * 9]
    got = plan(sizes, 4, "flops", 36, seed=0)
    check(got, sizes, 4)
    assert got.flops == 36
    assert (len(got.batches), got.epochs) == (20, 2.0)


def test_flops_are_summed_whatever_the_budget_counts() -> None:
    got = plan([Size(1, 4, 0, 4, flops=2.5)] * 4, 8, "epochs", 3, seed=0)
    assert got.flops == 30


def test_a_budget_of_flops_that_nobody_counted_would_never_end() -> None:
    with pytest.raises(ValueError, match="needs the flops of every group"):
        plan([Size(1, 4, 0, 4, flops=1.0), Size(1, 4, 0, 4)], 8, "flops", 3, seed=0)


# ---------------------------------------------------------------- easy ones first

EVEN = [Size(1, 4, 0, 4) for _ in range(1000)]
HARD = [float((7 * i) % 1000) for i in range(1000)]
"""Difficulties 0 to 999, each once, out of order."""


def test_competence_by_hand() -> None:
    assert competence(0) == pytest.approx(0.01)
    # sqrt(0.25 x 0.9999 + 0.0001)
    assert competence(0.25) == pytest.approx(0.5000749943756093)
    assert competence(1) == pytest.approx(1)
    assert competence(1.7) == 1.0


def test_a_batch_is_drawn_from_the_easiest_that_competence_allows() -> None:
    # Ten groups fill a batch, so 400 steps are the budget and the ramp ends after 200.
    got = plan(EVEN, 40, "steps", 400, seed=0, order="easy_first", difficulty=HARD)
    assert len(got.batches) == 400
    hardest = [max(HARD[i] for i in batch) for batch in got.batches]
    allowed = [max(10, math.ceil(competence(step / 200) * 1000)) for step in range(200)]
    assert all(hard < limit for hard, limit in zip(hardest, allowed, strict=False))
    # What is allowed is used: the hardest of ten drawn is near the limit nearly everywhere.
    assert sum(hard > 0.7 * limit for hard, limit in zip(hardest, allowed, strict=False)) > 160
    assert set(got.batches[0]) == {i for i in range(1000) if HARD[i] < 10}
    # From the middle on every group has its turn as in any other training.
    assert Counter(i for batch in got.batches[200:300] for i in batch) == dict.fromkeys(range(1000), 1)


@pytest.mark.parametrize(
    ("unit", "amount"), [("steps", 50), ("tokens", 20000), ("epochs", 2), ("flops", 9000)]
)
def test_easy_first_costs_what_any_order_costs(unit: Unit, amount: float) -> None:
    sizes = [replace(size, flops=float(size.tokens)) for size in VARIED]
    got = plan(sizes, 512, unit, amount, seed=1, order="easy_first", difficulty=HARD)
    assert all(padded(batch, sizes) <= 512 for batch in got.batches)
    assert got.tokens == sum(sizes[i].tokens for batch in got.batches for i in batch)
    last = got.batches[-1]
    spent = {
        "steps": (len(got.batches), 1),
        "tokens": (got.tokens, sum(sizes[i].tokens for i in last)),
        "epochs": (got.epochs, len(last) / len(sizes)),
        "flops": (got.flops, sum(sizes[i].flops for i in last)),
    }[unit]
    assert spent[0] >= amount > spent[0] - spent[1]
    assert got.tokens / got.padded > 0.8, "like lengths still share a batch"


def test_easy_first_is_its_seed_and_ties_are_drawn_by_lot() -> None:
    def first(seed: int) -> Plan:
        return plan(EVEN, 40, "steps", 20, seed, order="easy_first", difficulty=[0.0] * 500 + [1.0] * 500)

    assert first(0) == first(0)
    assert set(first(0).batches[0]) != set(first(1).batches[0]) != set(range(10))
    assert max(first(0).batches[0]) < 500


def test_easy_first_needs_every_difficulty() -> None:
    with pytest.raises(ValueError, match="shorter"):
        plan(EVEN, 40, "steps", 4, 0, order="easy_first", difficulty=HARD[:-1])


@st.composite
def group_sizes(draw: st.DrawFn) -> Size:
    rows, source, target = draw(st.integers(1, 4)), draw(st.integers(1, 60)), draw(st.integers(0, 60))
    return Size(rows, source, target, draw(st.integers(1, rows * (source + target))))


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(group_sizes(), min_size=1, max_size=40),
    batch_tokens=st.integers(1, 400),
    unit=st.sampled_from(["tokens", "steps", "epochs"]),
    amount=st.floats(0.01, 60),
    seed=st.integers(0, 2**31),
)
def test_any_plan_ends_and_is_fair(
    sizes: list[Size], batch_tokens: int, unit: Unit, amount: float, seed: int
) -> None:
    got = plan(sizes, batch_tokens, unit, amount, seed)
    check(got, sizes, batch_tokens)
    met = {"tokens": got.tokens, "steps": len(got.batches), "epochs": got.epochs}
    assert met[unit] >= amount - 1e-9
