"""Batch plans: every group in its turn, whole, within the budget, the same for one seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import batches
from understudy.batches import Plan, Size, plan

Unit = Literal["tokens", "steps", "epochs"]

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
    first, second = got[: len(got) // 2], got[len(got) // 2 :]
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
