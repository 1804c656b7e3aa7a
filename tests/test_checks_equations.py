"""Equations are found, computed again, and left alone where they are not wholly numbers."""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_data import shared_data
from understudy.checks.equations import LONGEST, equations, wrong
from understudy.rows import read

HOLDS = {
    "3 + 4 = 7",
    "3 + 4 * 2 = 11",
    "(3 + 4) * 2 = 14",
    "10 - 3 - 2 = 5",
    "2^3 = 8",
    "2**3=8",
    "5² = 25",
    "-3 + 5 = 2",
    "5 - 8 = -3",
    "3 × 4 = 12",
    "5x3 = 15",
    "12 ÷ 4 = 3",
    "2(3+4) = 14",
    "(2)(3)=6",
    "$5 x 3 = $15",
    "1,200 * 5 = 6,000",
    ".5 + .25 = .75",
    "3 apples + 4 apples = 7 apples",
    "2 ounces per minute * 15 minutes = 30 ounces",
    "3 1/2 + 1/2 = 4",
    "2½ * 2 = 5",
    "1/3 + 1/3 = 2/3",
    "3*4 = 2*6",
    "**3 + 4 = 7**",
    "- 3 + 5 = 8",
    "1. 3 + 5 = 8",
    "3 + 4\n= 7",
    # LaTeX
    r"\frac{1}{2} \times 4 = 2",
    r"2\frac{1}{2} \cdot 4 = 10",
    r"\left(3 + 4\right) \div 7 = \boxed{1}",
    r"3 \text{ apples} + 4 \text{ apples} = 7",
    r"\$5 + \$3 = \$8",
    "$5$ + $3$ = $8$",
    # percentages
    "20% of 50 = 10",
    "20% of the 50 = 10",
    "0.2*50 = 10",
    "50 * 20% = 10",
    "30% of 30 = 9",
    "0.15 = 15%",
    "20/50 = 40%",
    "20/50 * 100 = 40%",
    "100 - 20% = 80",
    "100% - 20% = 80%",
    "3 * 50 cents = $1.50",
    # roundings
    "2/3 = 0.67",
    "2/3 = 0.66",
    "2 * 0.125 = 0.3",
    "25 / 4 = 6",
    "25 / 4 = 7",
    "33.33 * 3 = 100",
    "0.33 * 60 = 20",
    "22 / 7 ≈ 3.1",
    "22 / 7 = about 3.2",
    # two readings of one notation
    "6/2(3) = 9",
    "6/2(3) = 1",
    "10 ÷ 1/2 = 20",
    # said aloud
    "3 + 4 = 7 * 2 = 14",
    "2 * 15 = 30 + 2 * 4 = 8",
    "So it takes 147.158 - 147 = 11",  # a full stop without a space
}
WRONG = {
    "3 + 4 = 8": (7, 8),
    "She has 12 - 4 = 9 left.": (8, 9),
    "$5 x 3 = $16": (15, 16),
    "3 apples + 4 apples = 8 apples": (7, 8),
    r"\frac{1}{2} \times 4 = 3": (2, 3),
    "20% of 50 = 15": (10, 15),
    "<<3*4=13>>13": (12, 13),
    "5 - 8 = 3": (-3, 3),
    "2 * 0.125 = 0.35": (Fraction(1, 4), Fraction(7, 20)),
    "45 / 4 = 13": (Fraction(45, 4), 13),
    "A total of 60 + 30 = 180": (90, 180),
    "3 + 4 ≈ 9": (7, 9),
    "6/2(3) = 4": (9, 4),
    "x = 3 + 4 = 8": (7, 8),
    "100 * 3 = 3000": (300, 3000),
}
LEFT_ALONE = (
    "x + 3 = 7",
    "3 + x = 9",
    "cost = 5",
    "5y = 10",
    "5y + 1 = 3",
    "31kx + 41kx = 760",
    "(2/3)x = 15",
    "2x - 5 = 67",
    "40 + 12 = 2 * age",
    "m^2 / 8 = 3",
    "half of 50 - 5 = 20",
    "5 less than 20 + 2 = 17",
    "1 hour = 60 minutes",
    "3 weeks = 21 days",
    "5 weeks * 7 = 1 month",
    "1/5 = 4 people",
    "40% = 20 people",
    "2 dozen + 1 = 25",
    "175 cents + 1.25 dollars = 3 dollars",
    "1 latte * 5 days = $20",
    "10:30 - 1 = 9",
    "12 : 3 * 8 = 540 : 24",
    "2,5 * 2 = 5",
    "5! = 120",
    "17 % 5 = 2",
    "5-7-5 = 17",  # the syllables of a haiku
    "480 / (4-5) = 100",
    r"\sqrt{16} + 3 = 7",
    "f(3) + 1 = 5",
    "3 + 4 >= 8",
    "3 != 4",
    "1 000 000 + 1 = 2",
    "1/0 = 1",
    "9^9^9^9 = 1",
    "9^99999999 = 1",
    "(" * 30 + "1" + ")" * 30 + " + 1 = 3",
    "1. Add: (50 - 20) / 2 = 152. Then",  # "15", and the "2." of a list whose line breaks were lost
    "14 x 2 = 2828 - 8 = 20",  # "28", and "28 - 8 = 20"
    "no sums here",
    "",
)


@pytest.mark.parametrize("text", sorted(HOLDS))
def test_what_holds_is_found_and_holds(text: str) -> None:
    assert equations(text), "nothing was found"
    assert wrong(text) == []


@pytest.mark.parametrize(("text", "values"), WRONG.items())
def test_what_is_wrong_is_flagged(text: str, values: tuple[Fraction, Fraction]) -> None:
    (found,) = wrong(text)
    assert (found.left, found.right) == values
    assert text[found.start : found.end] == found.text
    assert "=" in found.text or "≈" in found.text


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_not_wholly_numbers_is_never_flagged(text: str) -> None:
    assert wrong(text) == []


def test_each_pair_of_neighbours_of_a_chain_is_compared() -> None:
    assert [one.text for one in equations("2 * 6 = 3 * 4 = 12")] == ["2 * 6 = 3 * 4", "3 * 4 = 12"]
    assert [one.holds for one in equations("2 * 6 = 3 * 5 = 15")] == [False, True]


def test_marks_of_a_calculator_are_read_beside_the_text_around_them() -> None:
    found = equations("He has 3 * 4 = <<3*4=13>>12 eggs.")
    assert [(one.text, one.holds) for one in found] == [("3 * 4 = <<3*4=13>>12", True), ("3*4=13", False)]


def test_an_equation_says_where_it_stands() -> None:
    text = "First 1 + 1 = 2. Then 2 + 2 = 5."
    assert [text[one.start : one.end] for one in equations(text)] == ["1 + 1 = 2", "2 + 2 = 5"]


@given(st.integers(-999, 999), st.integers(1, 999), st.sampled_from("+-*"), st.integers(1, 50))
def test_a_sum_holds_and_a_sum_that_is_off_does_not(a: int, b: int, sign: str, off: int) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert [one.holds for one in equations(f"so {a} {sign} {b} = {value}.")] == [True]
    assert [one.holds for one in equations(f"so {a} {sign} {b} = {value + off}.")] == [False]


@given(st.text(alphabet="0123456789+-*/=()[]{}%$.,:<> xof\\^≈½²\nabc", max_size=80))
def test_any_text_is_read(text: str) -> None:
    for one in equations(text):
        assert 0 <= one.start < one.end <= len(text)
        assert text[one.start : one.end] == one.text


HOSTILE = {
    "equals": "=",
    "wrong sums": "1%+1%=9. ",
    "brackets": "(",
    "nested": "(1+",
    "products": "(1)(1)/1=9. ",
    "chain": "1=",
    "power": "9^9=3 ",
    "digits": "1",
    "commas": "1,",
    "points": "1.5+1.5+1.5+1.5=1. ",
    "marks": "<<1=2>>",
    "units": "5 apples and pears + ",
    "spaces": "\n ",
    "fractions": "\\frac{1",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_megabyte_takes_less_than_two_seconds(piece: str) -> None:
    text = piece * (10**6 // len(piece)) + "=1"
    start = time.process_time()
    equations(text)
    equations("=1 " + text[: LONGEST // 2])
    assert time.process_time() - start < 2


def test_what_stands_beyond_the_limit_is_not_looked_at() -> None:
    assert wrong("1 + 1 = 3. " + " " * LONGEST + "1 + 1 = 3.") == wrong("1 + 1 = 3.")


# ---------------------------------------------------------------- real rationales


def test_human_solutions_of_gsm8k_hold_few_wrong_equations() -> None:
    """Nearly all are right: a parser that misreads would flag many more than one in a hundred."""
    rows = list(read(shared_data("gsm8k") / "test.jsonl.gz"))
    texts = [str(row.fields["answer"]) for row in rows]
    assert sum(bool(equations(text)) for text in texts) > 0.95 * len(texts)
    assert sum(bool(wrong(text)) for text in texts) < 0.01 * len(texts)


def test_the_flags_that_were_read_by_hand_are_flagged_still(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = Path(__file__).parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    monkeypatch.delitem(sys.modules, "equations", raising=False)
    from equations import JUDGEMENTS

    folder = shared_data("eit_cot_distill")
    files = {name: read(folder / f"{name}_ranked.json.gz") for name, _ in JUDGEMENTS}
    for name, row in JUDGEMENTS:
        assert wrong(str(files[name][row].fields["output"])), (name, row)
