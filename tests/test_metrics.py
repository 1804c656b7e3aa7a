"""Every metric on rows small enough to count by eye."""

from __future__ import annotations

import pytest

from understudy import shelves
from understudy.errors import DataError
from understudy.types import FinishReason, Judged, Prediction, Question, Score, Verdict, VerdictName, Written


def row(
    number: int, verdict: VerdictName, tokens: tuple[int, ...] = (5,), finish: FinishReason = "stop"
) -> Judged:
    question = Question(f"What is {number} + 0?", str(number))
    written = tuple(Written(f"stage {i}", "text", finish, count) for i, count in enumerate(tokens))
    strict: VerdictName = "wrong" if number == 2 else verdict
    return Judged(question, Prediction(question.id, written), Verdict(verdict, None, strict=strict))


ROWS = (
    row(1, "correct", tokens=(2, 3)),
    row(2, "correct", tokens=(6,)),
    row(3, "wrong", tokens=(7,)),
    row(4, "no_answer", tokens=(10,), finish="length"),
)


def score(name: str, rows: tuple[Judged, ...] = ROWS) -> Score:
    measured = shelves.load("metrics", name)(rows)
    assert isinstance(measured, Score)
    return measured


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("accuracy", 2 / 4, "fraction"),
        ("strict", 1 / 4, "fraction"),
        ("no_answer", 1 / 4, "fraction"),
        ("truncated", 1 / 4, "fraction"),
        ("length", (5 + 6 + 7 + 10) / 4, "tokens"),  # the tokens of all stages count
    ],
)
def test_value_on_four_rows(name: str, value: float, unit: str) -> None:
    measured = score(name)
    assert (measured.name, measured.value, measured.n, measured.unit) == (name, value, 4, unit)


def test_no_answer_counts_against_accuracy() -> None:
    assert score("accuracy", (ROWS[0], ROWS[3])).value == 0.5


def test_accuracy_carries_the_wilson_interval() -> None:
    # two of four: centre 1/2, half-width z sqrt(n/4 + z^2/4) / (n + z^2) with z^2 = 3.8415
    half = 1.959964 * (1 + 3.841459 / 4) ** 0.5 / (4 + 3.841459)
    assert score("accuracy").interval == pytest.approx((0.5 - half, 0.5 + half))


def test_length_carries_the_t_interval() -> None:
    # 4 and 6: mean 5, standard error 1, t(0.975, 1 degree of freedom) = 12.706
    measured = score("length", (row(1, "correct", (4,)), row(2, "wrong", (6,))))
    assert measured.interval == pytest.approx((5 - 12.7062, 5 + 12.7062), abs=1e-3)


def test_one_length_has_no_interval() -> None:
    assert score("length", ROWS[:1]).interval is None


@pytest.mark.parametrize("name", shelves.names("metrics"))
def test_every_metric_keeps_its_contract(name: str) -> None:
    measured = score(name)
    assert measured.n <= len(ROWS)
    assert measured.explanation
    if measured.interval is not None:
        assert measured.interval[0] <= measured.value <= measured.interval[1]


@pytest.mark.parametrize("name", shelves.names("metrics"))
def test_no_rows_are_an_error_that_says_so(name: str) -> None:
    with pytest.raises(DataError, match="no answers"):
        score(name, ())
