"""Calculator: accuracy after a student's sums were done again (Magister et al., arXiv 2212.08410).

A column of its own, never accuracy itself: where it is much higher, the student plans better than it
calculates. It applies to questions whose answer is a number. Where no question's is, there is no value and n
is 0; options are never recalculated, nor are answers that a method has settled by calculating.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from understudy import answers
from understudy.checks.calculator import calculate
from understudy.errors import DataError
from understudy.metrics._proportion import proportion
from understudy.types import Judged, Score

__all__ = ["calculator"]


def calculator(rows: Sequence[Judged]) -> Score:
    """Correct answers after recalculation / questions with a number as their answer, with a 95 % Wilson
    interval. Raises DataError when there is no row to measure."""
    if not rows:
        raise DataError("calculator cannot be measured on no answers: evaluate at least one question")
    numbers = [row for row in rows if _asks_number(row)]
    if not numbers:
        return Score("calculator", nan, 0, None, "fraction", "no question asks for a number")
    after = {id(row): _right(row) for row in numbers}
    mended = sum(after[id(row)] and row.verdict.name != "correct" for row in numbers)
    broken = sum(not after[id(row)] and row.verdict.name == "correct" for row in numbers)
    return proportion(
        "calculator",
        numbers,
        lambda row: after[id(row)],
        f"questions answered correctly after every sum was done again: {mended} mended, {broken} broken"
        + ("" if len(numbers) == len(rows) else f"; {len(rows) - len(numbers)} ask for no number"),
    )


def _asks_number(row: Judged) -> bool:
    question = row.question
    return not question.choices and answers.canonical(question.answer, "number") is not None


def _right(row: Judged) -> bool:
    text = row.prediction.text
    new = text if row.prediction.settled is not None else calculate(text)
    if new == text:
        return row.verdict.name == "correct"
    cut_off = row.prediction.written[-1].finish_reason == "length"
    return answers.judge(new, row.question.answer, "number", cut_off=cut_off).name == "correct"
