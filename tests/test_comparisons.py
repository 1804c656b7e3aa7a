"""Pairs over several seeds, their families, and the table of every method against every other."""

from __future__ import annotations

import re
from typing import Any

import pytest

from test_report import Page, arm, pair, study
from understudy.report import assemble, html, markdown
from understudy.report.matrix import matrices
from understudy.report.pairings import against_controls, comparisons, pair_label, single_seeds
from understudy.report.study import Arm
from understudy.statistics import crossed_difference, mcnemar_exact

POOLED_KEYS = {
    "a", "b", "student", "student_b", "split", "roles", "family", "seeds", "n", "difference", "by_seed",
    "interval", "bootstrap_interval", "test", "p_value", "p_adjusted", "standard_error", "only_a", "only_b",
    "minimum_detectable_difference",
}  # fmt: skip


def pooled(report: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    (found,) = [one for one in report["pooled"] if (one["a"], one["b"]) == (a, b)]
    assert isinstance(found, dict)
    return found


def seeds(method: str, *marks: str, control: bool = False, student: str = "small") -> list[Arm]:
    role: Any = "control" if control else "method"
    return [arm(method, own, role, seed=seed, student=student) for seed, own in enumerate(marks)]


def test_a_pair_of_one_seed_is_the_same_in_both_lists() -> None:
    report = assemble(
        study(arm("answer_only", "1" * 2 + "0" * 8, "control"), arm("single_stage", "1" * 9 + "0"))
    )
    one, single = pooled(report, "single_stage", "answer_only"), pair(report, "single_stage", "answer_only")
    assert set(one) == POOLED_KEYS
    assert one["seeds"] == [0]
    assert one["test"] == "exact McNemar"
    shared = set(single) & set(one)
    assert {key: one[key] for key in shared} == {key: single[key] for key in shared}
    assert shared >= {"p_value", "p_adjusted", "interval", "difference", "n", "only_a", "only_b"}
    assert one["bootstrap_interval"] == one["interval"]
    assert one["standard_error"]["seeds"] is None


def test_seeds_are_pooled_once_and_tested_over_seeds_and_questions() -> None:
    report = assemble(
        study(*seeds("answer_only", "1000", "0100", control=True), *seeds("single_stage", "1110", "1100"))
    )
    one = pooled(report, "single_stage", "answer_only")
    found = crossed_difference([[0, 1, 1, 0], [1, 0, 0, 0]])
    assert (one["seeds"], one["n"], one["by_seed"]) == ([0, 1], 4, [0.5, 0.25])
    assert (one["difference"], one["only_a"], one["only_b"]) == (0.375, 3, 0)
    assert one["p_value"] == pytest.approx(found.p_value)
    assert one["interval"] == pytest.approx([found.low, found.high])
    assert one["test"] == "t over seeds and questions"
    singles = [c for c in report["comparisons"] if c["a"] == "single_stage"]
    assert [c["seed"] for c in singles] == [0, 1]
    assert [c["p_value"] for c in singles] == [
        mcnemar_exact([True, True], [False, False]).p_value,
        mcnemar_exact([True], [False]).p_value,
    ]


def test_seeds_in_another_order_are_the_same_pair() -> None:
    first, second = seeds("one", "1100", "1110"), seeds("two", "1000", "1000")
    report = assemble(study(first[0], second[0], second[1], first[1]))
    assert [(p["a"], p["b"], p["seeds"]) for p in report["pooled"]] == [("one", "two", [0, 1])]
    assert {(c["a"], c["b"]) for c in report["comparisons"]} == {("one", "two")}


def test_only_shared_seeds_are_pooled() -> None:
    report = assemble(study(*seeds("one", "1100", "1110", "1111"), *seeds("two", "1000", "1000")))
    assert report["pooled"][0]["seeds"] == [0, 1]


def test_the_teacher_stands_against_every_seed() -> None:
    teacher = arm("teacher", "111", "teacher", student="large", seed=5)
    report = assemble(study(*seeds("one", "1000", "1100"), teacher))
    one = pooled(report, "one", "teacher")
    assert (one["seeds"], one["n"], one["family"]) == ([0, 1], 3, "small on test")
    assert one["by_seed"] == pytest.approx([-2 / 3, -1 / 3])


def test_questions_that_not_every_seed_answered_are_left_out_of_the_pool() -> None:
    bounds = [arm("bound", "1" * n, "upper_bound", seed=seed) for seed, n in enumerate((4, 2))]
    report = assemble(study(*seeds("one", "1000", "0000"), *bounds))
    assert pooled(report, "one", "bound")["n"] == 2
    assert [c["n"] for c in report["comparisons"]] == [4, 2]


def test_a_family_is_one_student_on_one_split() -> None:
    eight = "1" * 8
    arms = [
        *seeds("answer_only", "0" * 8, control=True),
        *seeds("single_stage", eight),
        *seeds("answer_only", "0" * 8, control=True, student="large"),
        *seeds("single_stage", eight, student="large"),
        *seeds("two_stage", eight, student="large"),
    ]
    report = assemble(study(*arms))
    families = {one["family"] for one in report["pooled"]}
    assert families == {"small on test", "large on test", "across students on test"}
    raw = 2 * 0.5**8
    small, large = (
        next(
            one["p_adjusted"]
            for one in report["pooled"]
            if (one["family"], one["a"], one["b"]) == (f"{student} on test", "single_stage", "answer_only")
        )
        for student in ("small", "large")
    )
    assert small == pytest.approx(raw)  # alone in its family
    assert large == pytest.approx(raw * 3 / 2)  # p = (raw, raw, 1)
    assert {c["p_adjusted"] for c in report["comparisons"] if c["student"] == c["student_b"] == "small"} == {
        small
    }


def test_single_seeds_are_adjusted_with_their_own_seed_and_described() -> None:
    arms = [
        *seeds("answer_only", "0" * 8, "0" * 8, control=True),
        *seeds("single_stage", "1" * 8, "0" * 8),
        *seeds("two_stage", "0" * 8, "0" * 8),
    ]
    report = assemble(study(*arms))
    found = {
        c["seed"]: c["p_adjusted"]
        for c in report["comparisons"]
        if (c["a"], c["b"]) == ("single_stage", "answer_only")
    }
    assert found == {0: pytest.approx(2 * 0.5**8 * 3 / 2), 1: 1}
    assert pooled(report, "single_stage", "answer_only")["p_adjusted"] > 0.05
    shown = single_seeds(report, "test")
    assert [(one["a"], one["seed"]) for one in shown] == [
        ("single_stage", 0), ("single_stage", 1), ("two_stage", 0), ("two_stage", 1),
    ]  # fmt: skip
    assert "each seed by itself (4)" in html(report)


def test_tables_of_pairs_state_the_seeds() -> None:
    arms = [*seeds("answer_only", "1000", "0100", control=True), *seeds("single_stage", "1110", "1100")]
    report = assemble(study(*arms, arm("late", "1111", seed=1)))
    table = comparisons(report, against_controls(report, "test"))
    assert [line.label for line in table.lines] == [
        "single_stage − answer_only",
        "late − answer_only · seed 1",
    ]
    assert table.lines[0].cells[table.heads.index("by seed") - 1] == "+25.0 to +50.0"
    assert table.lines[0].cells[table.heads.index("only one right") - 1] == "3 : 0"
    assert pair_label(report, report["comparisons"][0]).endswith("seed 0")


# ---------------------------------------------------------------- everyone against everyone

THREE = [
    arm("answer_only", "1" * 2 + "0" * 18, "control"),
    arm("single_stage", "1" * 20),
    arm("two_stage", "1" * 11 + "0" * 9),
]


def test_the_matrix_is_sorted_and_marked() -> None:
    (found,) = matrices(assemble(study(*THREE)), "test")
    assert [standing.method for standing in found.standings] == ["single_stage", "two_stage", "answer_only"]
    first, second, third = (standing.cells for standing in found.standings)
    assert [cell.text for cell in first] == ["", "+45.0", "+90.0"]
    assert first[2].detail == "[+75.0, +100.0]"
    assert [cell.favours for cell in first] == ["neither", "row", "row"]
    assert [cell.favours for cell in third] == ["column", "column", "neither"]
    assert [cell.text for cell in third] == ["< 1e-4", "0.004", ""]  # 3 x 2^-17, and 2^-8
    assert second[0].text == "0.004"  # 2^-8 too
    assert second[0].title.startswith(
        "two_stage − single_stage: −45.0 points [−65.0, −25.0], adjusted p = 0.004"
    )
    assert found.summary.startswith("3 of 3 pairs differ at an adjusted p below 0.05. Smallest detectable")


def test_two_arms_need_no_matrix_and_an_arm_without_a_pair_has_empty_cells() -> None:
    assert matrices(assemble(study(*THREE[:2])), "test") == []
    (found,) = matrices(assemble(study(*THREE, arm("elsewhere", "1" * 20, seed=3))), "test")
    assert {cell.text for cell in found.standings[1].cells} == {""}


def test_each_student_has_its_own_matrix() -> None:
    arms = [
        arm(m, marks, student=s)
        for s in ("small", "large")
        for m, marks in (("a", "10"), ("b", "11"), ("c", "00"))
    ]
    found = matrices(assemble(study(*arms)), "test")
    assert [matrix.student for matrix in found] == ["small", "large"]
    assert all(len(matrix.standings) == 3 for matrix in found)


def test_a_matrix_on_the_page_is_a_box_that_scrolls() -> None:
    text = html(assemble(study(*THREE)))
    assert Page(text).open == []
    assert '<div class="scroll matrix" tabindex="0"' in text
    assert re.search(
        r'<td class="better" title="single_stage − answer_only: \+90.0 points[^"]*"><strong>\+90.0', text
    )
    assert "All other pairs in a list (1)" in text


def test_markdown_has_the_compact_matrix() -> None:
    text = markdown(assemble(study(*THREE)))
    assert "|  | accuracy | 1 | 2 | 3 |" in text
    assert "| 1 single_stage | 100.0 % |  | **+45.0** | **+90.0** |" in text
    assert "| 3 answer_only | 10.0 % | **&lt; 1e-4** | **0.004** |  |" in text
    assert "two_stage − single_stage" not in text  # the matrix says it


def test_twenty_four_methods_fit() -> None:
    arms = [
        arm(f"method {place}", "1" * place + "0" * (24 - place), seed=seed)
        for place in range(24)
        for seed in (0, 1)
    ]
    report = assemble(study(*arms))
    assert len(report["pooled"]) == 24 * 23 / 2
    (found,) = matrices(report, "test")
    assert len(found.standings) == 24
    assert found.standings[0].method == "method 23"
