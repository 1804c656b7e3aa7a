"""Published worked examples, values one can compute in the head, and simulations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.statistics import (
    benjamini_hochberg,
    mcnemar_exact,
    minimum_detectable_difference,
    paired_bootstrap,
    wilson,
)


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, the score method
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0000),  # the third one mirrored
    ],
)
def test_wilson_agrees_with_the_published_table(correct: int, n: int, low: float, high: float) -> None:
    assert wilson(correct, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_one_half_of_four_by_hand() -> None:
    # centre 1/2; half-width z / (n + z^2) * sqrt(n/4 + z^2/4), with z = 1 at 68.27 %
    low, high = wilson(2, 4, confidence=math.erf(1 / math.sqrt(2)))
    assert (high - low) / 2 == pytest.approx(math.sqrt(4 / 4 + 1 / 4) / 5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_stays_inside_the_unit(counts: tuple[int, int]) -> None:
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match="0 <= correct <= n"):
        wilson(correct, n)


def test_mcnemar_on_the_approval_table() -> None:
    # Agresti, Categorical Data Analysis: 1600 Britons asked twice about the prime minister.
    # The chi-square version gives 17.36; the exact p is the one of R's exact2x2::mcnemar.exact.
    test = mcnemar_exact(*pairs(both=794, only_a=150, only_b=86, neither=570))
    assert (test.both, test.only_a, test.only_b, test.neither) == (794, 150, 86, 570)
    assert test.p_value == pytest.approx(3.716e-05, rel=1e-3)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (1, 1, 1.0),
        (1, 0, 1.0),  # one coin: 2 * 1/2
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (4, 1, 2 * 6 / 32),  # at most one head of five, both tails
    ],
)
def test_mcnemar_is_a_coin_flip_on_the_disagreements(only_a: int, only_b: int, p: float) -> None:
    for both, neither in ((0, 1), (30, 70)):
        assert mcnemar_exact(*pairs(both, only_a, only_b, neither)).p_value == pytest.approx(p)


def test_mcnemar_of_swapped_arms_is_the_same() -> None:
    a, b = pairs(10, 9, 2, 10)
    assert mcnemar_exact(a, b).p_value == mcnemar_exact(b, a).p_value
    assert mcnemar_exact(a, b).only_a == mcnemar_exact(b, a).only_b == 9


def test_bootstrap_agrees_with_the_approval_table_of_the_book() -> None:
    # Agresti prints 0.04 with a 95 % interval from 0.020 to 0.060 for this table.
    difference, low, high = paired_bootstrap(*pairs(794, 150, 86, 570))
    assert difference == pytest.approx(0.04)
    assert (low, high) == pytest.approx((0.020, 0.060), abs=0.003)


def test_counts_resample_like_questions() -> None:
    a, b = pairs(10, 12, 5, 13)
    d = numpy.array(a, dtype=int) - numpy.array(b, dtype=int)
    means = numpy.random.default_rng(1).choice(d, size=(20_000, len(d))).mean(axis=1)
    slow = numpy.quantile(means, [0.025, 0.975])
    assert paired_bootstrap(a, b)[1:] == pytest.approx(tuple(slow), abs=1.5 / len(d))


def test_bootstrap_is_repeatable_and_turns_its_sign() -> None:
    a, b = pairs(10, 9, 2, 10)
    assert paired_bootstrap(a, b) == paired_bootstrap(a, b)
    assert paired_bootstrap(a, b).difference == -paired_bootstrap(b, a).difference


@pytest.mark.parametrize(
    ("table", "difference"), [((5, 0, 0, 5), 0.0), ((0, 7, 0, 0), 1.0), ((0, 0, 7, 0), -1.0)]
)
def test_without_variation_the_interval_has_no_width(table: tuple[int, ...], difference: float) -> None:
    assert paired_bootstrap(*pairs(*table)) == (difference, difference, difference)


@pytest.mark.parametrize("paired", [mcnemar_exact, paired_bootstrap])
@pytest.mark.parametrize(("a", "b"), [([True], [True, False]), ([], [])])
def test_pairs_must_be_pairs(
    paired: Callable[[list[bool], list[bool]], object], a: list[bool], b: list[bool]
) -> None:
    with pytest.raises(ValueError, match="same questions twice"):
        paired(a, b)


def test_benjamini_hochberg_on_the_example_of_the_paper() -> None:
    # Benjamini and Hochberg 1995, section 3.3: at q = 0.05 the first four of fifteen are rejected
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    adjusted = benjamini_hochberg(p)
    assert [value <= 0.05 for value in adjusted] == [True] * 4 + [False] * 11
    assert adjusted[0] == pytest.approx(0.0015)  # 15 * 0.0001 / 1
    assert adjusted[3] == pytest.approx(0.035625)  # 15 * 0.0095 / 4


def test_benjamini_hochberg_keeps_the_order_given() -> None:
    assert benjamini_hochberg([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert benjamini_hochberg([0.3]) == [0.3]
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize(("n", "discordance"), [(600, 0.5), (300, 0.2), (1319, 0.3)])
def test_the_detectable_difference_is_found_four_times_in_five(n: int, discordance: float) -> None:
    d = minimum_detectable_difference(n, discordance)
    assert d is not None
    shares = [(discordance + d) / 2, (discordance - d) / 2, 1 - discordance]
    draws = numpy.random.default_rng(0).multinomial(n, shares, size=20_000)
    only_a, only_b = draws[:, 0], draws[:, 1]
    found = numpy.abs(only_a - only_b) / numpy.sqrt(only_a + only_b) > 1.959964
    assert found.mean() == pytest.approx(0.8, abs=0.015)


def test_the_detectable_difference_satisfies_its_formula() -> None:
    # discordance 0.4 and difference 0.2: (1.95996 sqrt(0.4) + 0.84162 sqrt(0.36))^2 / 0.04 = 76.09
    assert minimum_detectable_difference(76, 0.4) == pytest.approx(0.2, abs=2e-4)


def test_discordance_cannot_be_below_the_difference() -> None:
    d = minimum_detectable_difference(600, 0.0)
    assert d is not None
    assert 600 * d == pytest.approx((1.959964 + 0.841621 * math.sqrt(1 - d)) ** 2, rel=1e-5)
    assert minimum_detectable_difference(600, 1e-6) == pytest.approx(d)


def test_five_questions_can_show_nothing() -> None:
    assert minimum_detectable_difference(5) is None  # 2 * (1/2)^5 > 0.05
    assert minimum_detectable_difference(6) is not None


def test_more_questions_show_smaller_differences() -> None:
    found = [minimum_detectable_difference(n, 0.3) for n in (20, 100, 600, 1319, 100_000)]
    assert all(d is not None for d in found)
    assert found == sorted(found, key=lambda d: -(d or 0))


@pytest.mark.parametrize(("n", "discordance"), [(0, 0.5), (10, -0.1), (10, 1.1)])
def test_power_refuses_impossible_inputs(n: int, discordance: float) -> None:
    with pytest.raises(ValueError, match="power needs"):
        minimum_detectable_difference(n, discordance)
