"""The section on thresholds: what was chosen, and what it saves."""

from __future__ import annotations

from understudy.report.faithfulness import Which
from understudy.report.thresholds import Fitted, thresholds

CURVE = [
    {"threshold": 0.0, "accuracy": 0.5, "tokens": 4.0, "at_once": 1.0},
    {"threshold": 0.6, "accuracy": 0.75, "tokens": 10.0, "at_once": 0.75},
    {"threshold": 0.9, "accuracy": 0.9, "tokens": 25.0, "at_once": 0.25},
    {"threshold": 2.0, "accuracy": 0.9, "tokens": 40.0, "at_once": 0.0},
]


def fitted(threshold: float) -> Fitted:
    return Fitted(Which("adaptive", "tiny", 0, "test"), 20, threshold, CURVE)


def test_the_sentence_says_what_the_chosen_threshold_saves() -> None:
    section = thresholds([fitted(0.6)])
    assert section.sentences == (
        "adaptive (tiny, seed 0) answers 75.0 % of dev's 20 questions at once, which saves 75.0 % of the "
        "tokens of always reasoning; accuracy on dev is 75.0 % against 90.0 %.",
    )
    chosen = [row for row in section.rows if row[-1] == "chosen"]
    assert [row[3:7] for row in chosen] == [("0.600", "75.0 %", "75.0 %", "10.0")]


def test_a_long_curve_is_thinned_but_keeps_its_ends_and_the_chosen_point() -> None:
    curve = [
        {"threshold": i / 100, "accuracy": 0.5, "tokens": 1.0 + i, "at_once": 1 - i / 100} for i in range(100)
    ]
    curve.append({"threshold": 2.0, "accuracy": 0.5, "tokens": 102.0, "at_once": 0.0})
    section = thresholds([Fitted(Which("adaptive", "tiny", 0, "test"), 9, 0.37, curve)])
    shown = [row[3] for row in section.rows]
    assert len(shown) < 15
    assert (shown[0], shown[-1]) == ("0.000", "never")
    assert "0.370" in shown
    assert len(section.numbers["fitted"][0]["curve"]) == 101


def test_nothing_fitted_is_said() -> None:
    assert thresholds([]).sentences == ("No threshold was fitted.",)
