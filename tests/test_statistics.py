"""Published worked examples, values one can compute in the head, and simulations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.statistics import (
    Pooled,
    benjamini_hochberg,
    crossed_accuracy,
    crossed_difference,
    hierarchical_bootstrap,
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


def test_bootstrap_agrees_with_the_closed_form_of_a_paired_difference() -> None:
    # Fleiss, Statistical Methods for Rates and Proportions, section 8.1: the standard error of a difference
    # of paired proportions is sqrt(b + c - (b - c)^2 / n) / n; here sqrt(236 - 64^2 / 1600) / 1600 = 0.0095
    _, low, high = paired_bootstrap(*pairs(794, 150, 86, 570), resamples=200_000)
    assert (high - low) / (2 * 1.959964) == pytest.approx(math.sqrt(236 - 64**2 / 1600) / 1600, rel=0.02)


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


@pytest.mark.parametrize(
    ("discordance", "difference", "n"),
    [  # Connor 1987, Biometrics 43:209, as two calculators work it out that name him:
        (0.50, 0.40, 23),  # powerandsamplesize.com, McNemar's Z-test, 2-sided: p01 0.45, p10 0.05
        (0.45, 0.15, 155),  # clinicaltrials-tools, McNemar's test: odds ratio 2 of 0.45 discordant
    ],
)
def test_the_detectable_difference_agrees_with_published_sample_sizes(
    discordance: float, difference: float, n: int
) -> None:
    enough, too_few = (minimum_detectable_difference(size, discordance) for size in (n, n - 1))
    assert enough is not None
    assert too_few is not None
    assert enough <= difference < too_few


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


# ---------------------------------------------------------------- several seeds

PENICILLIN = """
    27 23 26 23 23 21  27 23 26 23 23 21  25 21 25 24 24 20  26 23 25 23 23 20  25 22 26 22 23 20
    24 22 25 23 22 19  24 20 23 21 22 19  26 22 26 24 24 21  24 21 24 22 22 20  24 21 24 23 22 19
    26 23 26 24 24 21  25 22 26 24 24 20  26 24 26 24 25 22  26 23 26 23 23 20  26 23 25 24 24 22
    25 22 25 23 23 20  25 21 24 23 23 20  25 22 24 23 23 19  24 21 23 21 21 19  26 23 26 24 24 21
    25 21 24 22 22 18  25 22 25 22 22 20  24 21 24 22 24 19  24 21 24 22 21 18
"""
"""24 plates, each with the samples A to F (Davies and Goldsmith 1972, section 6.6; lme4's `Penicillin`)."""


def error(pooled: Pooled) -> float:
    return math.hypot(pooled.error_of_seeds, pooled.error_of_questions)


def test_crossed_effects_agree_with_the_penicillin_example() -> None:
    # lme4 prints for diameter ~ 1 + (1 | plate) + (1 | sample): intercept 22.9722, standard error 0.8086,
    # t 28.41; standard deviations 0.8467 of plates, 1.9316 of samples, 0.5499 of the rest
    numbers = [int(word) for word in PENICILLIN.split()]
    found = crossed_difference([numbers[sample::6] for sample in range(6)])
    assert found.mean == pytest.approx(22.9722, abs=5e-5)
    assert error(found) == pytest.approx(0.8086, abs=5e-5)
    assert found.mean / error(found) == pytest.approx(28.41, abs=5e-3)
    assert found.error_of_seeds == pytest.approx(1.9316 / math.sqrt(6), abs=5e-5)
    of_plates, of_rest = 0.8467 / math.sqrt(24), 0.5499 / math.sqrt(144)
    assert found.error_of_questions == pytest.approx(math.hypot(of_plates, of_rest), abs=5e-5)
    # almost all of the variance is that of 6 samples, so there are little more than 5 degrees of freedom
    assert 5 < found.degrees_of_freedom < 6


def test_crossed_effects_by_hand() -> None:
    # seeds of means 1/2 and 0, questions of means 1/2, 1/2, 0, 0, nothing left over: mean squares 1/2, 1/6, 0
    # (rows 1 1 0 0 and 0 0 0 0 would leave a rest; rows that differ by a constant do not)
    found = crossed_difference([[1, 1, 0, 0], [0, 0, -1, -1]])
    assert found.mean == 0
    assert found.error_of_seeds == pytest.approx(math.sqrt(0.5 / 2))  # variance of (1/2, -1/2) is 1/2
    assert found.error_of_questions == pytest.approx(math.sqrt((1 / 3) / 4))  # of (1/2, 1/2, -1/2, -1/2): 1/3
    assert found.p_value == 1


def test_one_seed_is_about_questions_alone_and_says_so() -> None:
    differences = [1] * 30 + [-1] * 10 + [0] * 60
    found = crossed_difference([differences])
    assert (found.seeds, found.error_of_seeds) == (1, 0)
    assert found.degrees_of_freedom == pytest.approx(99)
    a, b = pairs(60, 30, 10, 0)
    plain = paired_bootstrap(a, b)
    assert (found.mean, found.low, found.high) == pytest.approx(plain, abs=0.006)
    again = hierarchical_bootstrap([differences])
    assert again.seeds == 1
    assert (again.mean, again.low, again.high) == pytest.approx(plain, abs=0.011)


def test_more_seeds_are_not_more_questions() -> None:
    """Ten seeds that answer alike say as much about questions as one."""
    differences = [1] * 30 + [-1] * 10 + [0] * 60
    one, ten = crossed_difference([differences]), crossed_difference([differences] * 10)
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high))
    assert ten.p_value == pytest.approx(one.p_value)
    resampled = hierarchical_bootstrap([differences] * 10)
    assert (resampled.low, resampled.high) == pytest.approx((one.low, one.high), abs=0.011)


def test_seeds_that_disagree_are_no_finding() -> None:
    agree, disagree = [[1] * 50 + [0] * 50] * 2, [[1] * 100, [0] * 100]
    assert crossed_difference(agree).mean == crossed_difference(disagree).mean == 0.5
    assert crossed_difference(agree).p_value < 1e-10
    assert crossed_difference(disagree).p_value > 0.4


def test_p_is_never_below_what_flipped_signs_allow() -> None:
    assert crossed_difference([[1] * 5 + [0] * 95] * 3).p_value == 2 / 32
    assert crossed_difference([[1] * 20] * 2).p_value == 2 / 2**20
    assert crossed_difference([[0] * 20] * 2).p_value == 1
    assert crossed_difference([[1]]).p_value == 1


def test_turned_signs_turn_the_interval() -> None:
    table = numpy.random.default_rng(0).choice([-1, 0, 1], p=[0.2, 0.5, 0.3], size=(3, 200))
    one, two = crossed_difference(table.tolist()), crossed_difference((-table).tolist())
    assert (one.mean, one.low, one.high) == pytest.approx((-two.mean, -two.high, -two.low))
    assert one.p_value == pytest.approx(two.p_value)


def test_the_bootstrap_agrees_with_its_closed_form() -> None:
    # Seeds and questions are drawn apart, so E[w_s w_t] = 1 - 1/k + (s = t), likewise for questions, and
    # E[mean*^2] = (1-1/k)(1-1/n) mean^2 + (1-1/k)/n <question means^2> + (1-1/n)/k <seed means^2> + <d^2>/kn
    table = numpy.random.default_rng(1).choice([-1, 0, 1], p=[0.2, 0.4, 0.4], size=(8, 300))
    table[:4] *= numpy.random.default_rng(2).choice([0, 1], p=[0.3, 0.7], size=(4, 300))
    k, n = table.shape
    squared = [
        float((part**2).mean()) for part in (table.mean(), table.mean(axis=0), table.mean(axis=1), table)
    ]
    whole, by_question, by_seed, single = squared
    second = (
        (1 - 1 / k) * ((1 - 1 / n) * whole + by_question / n) + (1 - 1 / n) * by_seed / k + single / k / n
    )
    found = hierarchical_bootstrap(table.tolist(), resamples=40_000)
    assert found.mean == pytest.approx(table.mean())
    assert (found.high - found.low) / (2 * 1.959964) == pytest.approx(math.sqrt(second - whole), rel=0.04)


def test_the_bootstrap_is_repeatable_and_bounds_its_p() -> None:
    table = [[1] * 40 + [0] * 60] * 3
    assert hierarchical_bootstrap(table) == hierarchical_bootstrap(table)
    assert hierarchical_bootstrap(table, resamples=999).p_value == 2 / 1000
    assert hierarchical_bootstrap([[0] * 9] * 3).p_value == 1


def test_the_bootstrap_of_many_seeds_and_questions_is_one_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    table = numpy.random.default_rng(3).choice([-1, 0, 1], size=(6, 400)).tolist()
    whole = hierarchical_bootstrap(table, resamples=500)
    monkeypatch.setattr("understudy.statistics.seeds.ROOM", 1000)
    assert hierarchical_bootstrap(table, resamples=500) == whole


@pytest.mark.parametrize("pooled", [crossed_difference, crossed_accuracy, hierarchical_bootstrap])
@pytest.mark.parametrize("table", [[], [[]], [[1, 0], [1]]])
def test_a_table_must_be_whole(pooled: Callable[[list[list[int]]], object], table: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        pooled(table)


def test_the_bootstrap_takes_no_fractions() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        hierarchical_bootstrap([[0.5, 1.0]])  # type: ignore[list-item]


def test_accuracy_over_seeds_stays_inside_the_unit_and_is_wilsons_for_one() -> None:
    one = crossed_accuracy([[1] * 81 + [0] * 182])
    assert (one.low, one.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe's, as above
    right = crossed_accuracy([[1] * 20] * 3)
    assert (right.low, right.high) == pytest.approx(wilson(20, 20))
    nearly = crossed_accuracy([[1] * 20, [1] * 19 + [0], [1] * 20])
    assert 0 < nearly.low < nearly.mean < nearly.high <= 1


def draw(
    random: numpy.random.Generator, seeds: int, questions: int, spread: float, better: float
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Answers of two arms: questions are harder or easier, for both and for each; seeds have luck."""
    common = random.normal(0, 2, questions)
    arms = []
    for skill in (better, 0.0):
        logit = common + random.normal(0, 1, questions) + skill + random.normal(0, spread, (seeds, 1))
        arms.append((random.random((seeds, questions)) < 1 / (1 + numpy.exp(-logit))).astype(int))
    return arms[0], arms[1]


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_intervals_over_seeds_hold_the_truth(seeds: int, spread: float) -> None:
    """No difference is there to be found, so an interval without 0 is a false finding: at most 1 in 20, and a
    little for the draw of 400. A spread of 0.3 is a seed deviation of some 4 points."""
    random = numpy.random.default_rng(seeds)
    held = {"difference": 0, "accuracy": 0}
    for _ in range(400):
        a, b = draw(random, seeds, 200, spread, 0.0)
        difference, accuracy = crossed_difference((a - b).tolist()), crossed_accuracy(a.tolist())
        held["difference"] += difference.low <= 0 <= difference.high
        held["accuracy"] += accuracy.low <= 0.5 <= accuracy.high
        assert (difference.p_value < 0.05) <= (not difference.low <= 0 <= difference.high)
    assert held["difference"] / 400 >= 0.93
    assert held["accuracy"] / 400 >= 0.93


def test_what_the_bootstrap_misses_with_three_seeds_the_t_interval_holds() -> None:
    random = numpy.random.default_rng(9)
    resampled = crossed = 0
    for _ in range(600):
        a, b = draw(random, 3, 1000, 0.3, 0.0)
        table = (a - b).tolist()
        rough, found = hierarchical_bootstrap(table, resamples=300), crossed_difference(table)
        resampled += rough.low <= 0 <= rough.high
        crossed += found.low <= 0 <= found.high
    assert resampled / 600 < 0.88  # 95 % were promised
    assert crossed / 600 > 0.91


def test_the_detectable_difference_over_seeds_is_found_four_times_in_five() -> None:
    random = numpy.random.default_rng(4)
    a, b = draw(random, 5, 400, 0.1, 0.0)
    found = crossed_difference((a - b).tolist())
    assert found.detectable is not None
    reach = (found.high - found.low) / 2
    assert found.detectable == pytest.approx(
        reach * (1 + 0.85 / 2.4), rel=0.1
    )  # t of 80 % beside that of 97.5 %
    assert crossed_difference([[0, 0]] * 3).detectable is None
    assert crossed_difference([[1, 0], [0, 1]]).detectable is None  # none below 1
