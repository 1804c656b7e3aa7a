"""The calculator: sums done again, results carried on, and everything else left as it is."""

from __future__ import annotations

import math
import re
import sys
import time
from pathlib import Path

import click
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared_data import shared_data
from understudy.answers import judge
from understudy.checks.calculator import calculate
from understudy.checks.equations import LONGEST, wrong
from understudy.errors import DataError
from understudy.metrics.calculator import calculator
from understudy.types import AnswerForm, FinishReason, Judged, Prediction, Question, Written

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

MENDED = {
    # Magister et al.'s own example
    "5 + 5 = 11. 11 * 2 = 22": "5 + 5 = 10. 10 * 2 = 20",
    "5 + 5 = 11. 11 * 2 = 22. The answer is 22.": "5 + 5 = 10. 10 * 2 = 20. The answer is 20.",
    # the answer, in whatever way the judge reads it
    "2 + 2 = 5. #### 5": "2 + 2 = 4. #### 4",
    "2 + 2 = 5.\nA: 5": "2 + 2 = 4.\nA: 4",
    "2 + 2 = 5, so she has 5": "2 + 2 = 4, so she has 4",
    "4 * 5 = 24. The answer is $24.": "4 * 5 = 20. The answer is $20.",
    "3 - 5 = 2. The answer is 2.": "3 - 5 = -2. The answer is -2.",
    "5 - 3 = -2. The answer is -2.": "5 - 3 = 2. The answer is 2.",
    "5 - 3 = -$2. The answer is -$2.": "5 - 3 = $2. The answer is $2.",
    # units, money, separators, decimals
    "3 red apples + 4 apples = 8 apples. 8 apples x 2 = 16": "3 red apples + 4 apples = 7 apples."
    " 7 apples x 2 = 14",
    "$5 x 3 = $16. $16 + $1.50 = $17.50.": "$5 x 3 = $15. $15 + $1.50 = $16.50.",
    "1,200 * 3 = 3,500. 3,500 - 1 = 3,499.": "1,200 * 3 = 3,600. 3,600 - 1 = 3,599.",
    "1.5 * 3 = 4.6": "1.5 * 3 = 4.5",
    "2 * 3.5 = 8.0": "2 * 3.5 = 7.0",
    "3 × 4 = 13": "3 × 4 = 12",
    "12 ÷ 4 = 5": "12 ÷ 4 = 3",
    "12x4 = 46": "12x4 = 48",
    r"3 \times 4 = 13": r"3 \times 4 = 12",
    # fractions and percentages
    "1/2 + 1/4 = 1/4. 1/4 * 12 = 3. The answer is 3.": "1/2 + 1/4 = 3/4. 3/4 * 12 = 9. The answer is 9.",
    "3/4 + 1/4 = 2/4": "3/4 + 1/4 = 1",
    "2½ * 2 = 7": "2½ * 2 = 5",
    "20% of 50 = 15. 15 + 1 = 16": "20% of 50 = 10. 10 + 1 = 11",
    "30 / 40 * 100% = 45%. The answer is 45%.": "30 / 40 * 100% = 75%. The answer is 75%.",
    # chains
    "2 * 6 = 3 * 4 = 13": "2 * 6 = 3 * 4 = 12",
    "5 + 5 = 11 = 11. The answer is 11.": "5 + 5 = 10 = 10. The answer is 10.",
    # marks: all three numbers change together
    "48/2 = <<48/2=25>>25 clips. 48+25 = <<48+25=73>>73\nA: 73": "48/2 = <<48/2=24>>24 clips."
    " 48+24 = <<48+24=72>>72\nA: 72",
    "She makes $<<9*2=19>>19 a day.\nA: 19": "She makes $<<9*2=18>>18 a day.\nA: 18",
    "9 * 2 = <<9*2=18>>19": "9 * 2 = <<9*2=18>>18",
    # what is carried is exact, what is written is rounded
    "10/3 = 5. 5 * 3 = 15. #### 15": "10/3 = 3.33. 3.33 * 3 = 10. #### 10",
    # rounded down or up as before
    "20 + 7 = 26. 26 / 4 = 6. 6 * 2 = 12": "20 + 7 = 27. 27 / 4 = 6. 6 * 2 = 12",
    "20 + 3 = 25. 25 / 4 = 7 buses": "20 + 3 = 23. 23 / 4 = 6 buses",
    # the last meaning of a number counts
    "5 + 5 = 11. 6 + 5 = 11. 11 * 2 = 22.": "5 + 5 = 10. 6 + 5 = 11. 11 * 2 = 22.",
    "5 + 5 = 11. 6 + 6 = 11. 11 * 2 = 22.": "5 + 5 = 10. 6 + 6 = 12. 12 * 2 = 24.",
    # the right side may be right already, once the left side is
    "5 + 5 = 11. 11 * 2 = 20.": "5 + 5 = 10. 10 * 2 = 20.",
}
LEFT_ALONE = (
    "",
    "no sums here",
    "5 + 5 = 10. 10 * 2 = 20. The answer is 20.",
    "25 / 4 = 6 and 2/3 = 0.67 and 22 / 7 ≈ 3.1",
    "0.5 - 0.4 = 0.09999999999999998",
    "5 / 0 = 3. The answer is 3.",
    "half of 50 - 5 = 20",
    "x + 3 = 8",
    "60 minutes = 1 hour",
    r"\frac{1}{2} + 1 = \frac{1}{2}",
    "3 + 4 = 7 * 2 = 14",
    "9^9^9^9 = 1",
    "The answer is 22.",
    "The answer is 11, for 5 + 5 = 10.",
)


@pytest.mark.parametrize(("text", "wanted"), MENDED.items())
def test_what_is_wrong_is_overwritten_and_carried(text: str, wanted: str) -> None:
    assert calculate(text) == wanted
    assert calculate(wanted) == wanted


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_holds_or_is_no_equation_between_numbers_stays(text: str) -> None:
    assert calculate(text) == text


def test_an_answer_that_stands_before_the_sum_or_says_another_number_stays() -> None:
    assert calculate("The answer is 11. 5 + 5 = 11.") == "The answer is 11. 5 + 5 = 10."
    assert calculate("5 + 5 = 11. The answer is 12.") == "5 + 5 = 10. The answer is 12."


def test_the_catch_a_number_that_happens_to_be_equal_is_carried_too() -> None:
    assert calculate("6 - 2 = 5. 5 * 5 = 25. So 25.") == "6 - 2 = 4. 4 * 4 = 16. So 16."


# ---------------------------------------------------------------- properties

NUMBERS = st.integers(2, 99)


@given(
    st.integers(700, 999),
    st.lists(st.tuples(st.sampled_from("+-*"), NUMBERS, st.integers(-3, 3)), min_size=1, max_size=6),
)
def test_a_chain_of_sums_ends_where_a_student_that_calculates_would(
    start: int, steps: list[tuple[str, int, int]]
) -> None:
    """A student that errs by `slip` at every step, and goes on with what it wrote."""
    said, true, lines, seen = start, start, list[str](), [start, *(operand for _, operand, _ in steps)]
    for sign, operand, slip in steps:
        left = said
        said, true = (
            {"+": value + operand, "-": value - operand, "*": value * operand}[sign] for value in (said, true)
        )
        said += slip
        assume(said not in seen)  # a number with two meanings is the catch
        seen.append(said)
        lines.append(f"{left} {sign} {operand} = {said}.")
    text = calculate(" ".join([*lines, f"The answer is {said}."]))
    assert text.endswith(f"The answer is {true}.")
    assert wrong(text) == []


@given(NUMBERS, NUMBERS, st.sampled_from("+-*"))
def test_true_sums_are_never_touched(a: int, b: int, sign: str) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    text = f"So {a} {sign} {b} = {value}. The answer is {value}."
    assert calculate(text) == text


@given(st.text(alphabet="0123456789+-*/=()[]{}%$.,:<> xof\\^≈½²\nabc", max_size=80))
def test_any_text_is_calculated(text: str) -> None:
    new = calculate(text)
    if not re.search(r"\d", text):
        assert new == text
    assert re.sub(r"[\d.,/½²-]", "", new) == re.sub(r"[\d.,/½²-]", "", text), "only numbers change"


HOSTILE = {
    "wrong sums": "1%+1%=9. ",
    "carried": "1+1=3. 3+1=5. ",
    "products": "(1)(1)/1=9. ",
    "chain": "1=",
    "digits": "1",
    "sums in marks": "<<1+1=3>>3 ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_megabyte_takes_seconds_and_not_minutes(piece: str) -> None:
    text = piece * (10**6 // len(piece)) + "=1"
    start = time.process_time()
    calculate("1 + 1 = 3. " + text)
    assert time.process_time() - start < 6


def test_what_stands_beyond_the_limit_is_only_looked_at_for_the_answer() -> None:
    text = "1 + 1 = 3. " + " " * LONGEST + "1 + 1 = 3. The answer is 3."
    assert calculate(text) == "1 + 1 = 2. " + " " * LONGEST + "1 + 1 = 3. The answer is 2."


# ---------------------------------------------------------------- the metric


def row(text: str, gold: str = "20", settled: str | None = None, finish: FinishReason = "stop") -> Judged:
    question = Question(f"{text} {gold}?", gold)
    prediction = Prediction(question.id, (Written("both", text, finish, 3),), settled)
    form: AnswerForm = "number" if gold[0].isdecimal() else "boolean"
    return Judged(question, prediction, judge(prediction.text, gold, form))


SLIP = row("5 + 5 = 11. 11 * 2 = 22. The answer is 22.")
LUCKY = row("5 * 5 = 20. The answer is 20.")
RIGHT = row("4 * 5 = 20. The answer is 20.")
MISREAD = row("4 * 4 = 16. The answer is 16.")


def test_the_metric_counts_what_is_mended_and_what_is_broken() -> None:
    assert (SLIP.verdict.name, LUCKY.verdict.name) == ("wrong", "correct")
    score = calculator([SLIP, RIGHT, MISREAD, row("6 - 2 = 3. 3 * 5 = 15. So 15.")])
    assert (score.name, score.value, score.n) == ("calculator", 3 / 4, 4)
    assert "2 mended, 0 broken" in score.explanation
    broken = calculator([LUCKY, RIGHT])
    assert broken.value == 1 / 2
    assert "0 mended, 1 broken" in broken.explanation


def test_the_metric_is_about_numbers_alone() -> None:
    said = row("2 + 2 = 5. The answer is yes.", gold="yes")
    mixed = calculator([SLIP, said])
    assert (mixed.value, mixed.n) == (1.0, 1)
    assert "1 ask for no number" in mixed.explanation
    nothing = calculator([said])
    assert math.isnan(nothing.value)
    assert (nothing.n, nothing.interval) == (0, None)
    with pytest.raises(DataError):
        calculator([])


def test_the_metric_leaves_a_settled_answer_alone() -> None:
    settled = row("2 * 10 = #1; The answer is #1.", settled="The answer is 20.")
    assert calculator([settled]).value == 1.0
    sums = row("", settled="5 + 5 = 11. The answer is 20.")
    assert calculator([sums]).value == 1.0


def test_an_answer_that_was_cut_off_is_not_read_from_its_last_number() -> None:
    cut = row("2 * 10 = 21. So 21", finish="length")
    whole = row("2 * 10 = 21. So 21")
    assert (calculator([cut]).value, calculator([whole]).value) == (0.0, 1.0)


# ---------------------------------------------------------------- real texts


def test_human_solutions_of_gsm8k_stay_right() -> None:
    from understudy.rows import read

    rows = list(read(shared_data("gsm8k") / "test.jsonl.gz"))
    texts = [str(one.fields["answer"]) for one in rows][:500]
    golds = [text.split("#### ")[-1] for text in texts]
    after = [
        judge(calculate(text), gold, "number").name == "correct"
        for text, gold in zip(texts, golds, strict=True)
    ]
    assert after.count(False) == 0


def test_the_benchmark_counts_before_and_after() -> None:
    import calculator as benchmark
    from known_verdicts import Group, Known

    rows = [
        Known(str(number), "?", text, gold, None)
        for number, (text, gold) in enumerate(
            [
                ("5 + 5 = 11. 11 * 2 = 22. The answer is 22.", "20"),
                ("5 * 5 = 20. #### 20", "20"),
                ("20", "20"),
            ]
        )
    ]
    line = benchmark.line("toys", Group("toys", "number", tuple(rows)))
    title, n, before, with_it, mended, broken, p, changed = line.strip("| ").split(" | ")
    assert (title, n, mended, broken, p, changed) == ("toys", "3", "1", "1", "1.0000", "2")
    assert (before[:4], with_it[:4]) == ("66.7", "66.7")


def test_a_page_keeps_what_stands_around_its_tables() -> None:
    import calculator as benchmark

    page = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n"
    assert benchmark.put("one", "| new |", page) == "a\n<!-- one -->\n\n| new |\n\n<!-- /one -->\nb\n"
    with pytest.raises(click.ClickException):
        benchmark.put("two", "", page)
    written = benchmark.PAGE.read_text(encoding="utf-8")
    assert "<!-- calculator -->" in written
    assert "<!-- programs -->" in written


@pytest.mark.slow
def test_the_table_of_the_page_is_what_the_benchmark_counts() -> None:
    import calculator as benchmark

    page = benchmark.PAGE.read_text(encoding="utf-8")
    folder = shared_data("llm_adapters_gpt35_cot").parent
    shared_data("gsm8k_openai_model_solutions")
    for title, group in benchmark.outputs(folder):
        assert benchmark.line(title, group) in page
