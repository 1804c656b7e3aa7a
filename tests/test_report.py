"""Toy studies whose numbers one can compute in the head: "110" is right, right, wrong."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import DataError, StoreError
from understudy.report import Arm, Study, assemble, html, markdown, write
from understudy.report.plots import across, difference_mark, panels, reach, step_ticks, strips
from understudy.report.scatter import scatters
from understudy.report.scatter import up as height
from understudy.report.study import Role
from understudy.report.tables import costs, results
from understudy.report.wording import count, flops, p_value, percent, points
from understudy.types import FinishReason, Judged, Prediction, Question, Rationale, Verdict, Written

GOLDEN_KEYS = {
    "schema", "title", "task", "task_title", "form", "headline", "findings", "rows", "seeds", "comparisons",
    "pooled", "costs", "minimum_detectable_difference", "curation", "teacher", "audit", "spending",
    "students", "samples", "rationales", "notes", "recipe", "manifest",
}  # fmt: skip
ROW_KEYS = {
    "method", "student", "seed", "split", "role", "note", "n", "correct", "accuracy", "interval",
    "no_answer", "truncated", "mean_tokens", "metrics", "training", "by_steps",
    "by_length",
}  # fmt: skip
COMPARISON_KEYS = {
    "a", "b", "student", "student_b", "seed", "split", "roles", "n", "difference", "interval", "p_value",
    "p_adjusted", "only_a", "only_b", "both", "neither", "minimum_detectable_difference",
}  # fmt: skip


def judged(number: int, mark: str, split: str = "test", text: str = "The answer is 1.") -> Judged:
    """One row; "1" is correct, "0" wrong, "-" no answer. Even questions have 2 steps, odd ones 3."""
    question = Question(f"{split} question {number}?", "1", steps=2 + number % 2)
    verdict = {
        "1": Verdict("correct", "1"),
        "0": Verdict("wrong", "2"),
        "-": Verdict("no_answer", None, reason="nothing to read"),
    }[mark]
    finish: FinishReason = "length" if mark == "-" else "stop"
    return Judged(question, Prediction(question.id, (Written("answer", text, finish, 5),)), verdict)


def arm(
    method: str,
    marks: str,
    role: Role = "method",
    student: str = "small",
    seed: int = 0,
    split: str = "test",
    **training: Any,
) -> Arm:
    rows = tuple(judged(i, mark, split) for i, mark in enumerate(marks))
    return Arm(method, student, seed, split, rows, role, training=training)


def study(*arms: Arm, **more: Any) -> Study:
    return Study("A toy", "arithmetic", "Arithmetic", "number", arms, **more)


CLEAR = (arm("answer_only", "1" * 2 + "0" * 18, "control"), arm("single_stage", "1" * 20))


def pair(report: dict[str, Any], a: str, b: str) -> dict[str, Any]:
    (found,) = [one for one in report["comparisons"] if (one["a"], one["b"]) == (a, b)]
    assert isinstance(found, dict)
    return found


# ---------------------------------------------------------------- report.json


def test_every_promised_key_is_there() -> None:
    report = assemble(study(*CLEAR))
    assert set(report) == GOLDEN_KEYS
    assert all(set(row) == ROW_KEYS for row in report["rows"])
    assert all(set(comparison) == COMPARISON_KEYS for comparison in report["comparisons"])


def test_rows_count_what_happened() -> None:
    row = assemble(study(arm("single_stage", "1100-", tokens=7)))["rows"][0]
    assert (row["n"], row["correct"], row["accuracy"]) == (5, 2, 0.4)
    assert (row["no_answer"], row["truncated"], row["mean_tokens"]) == (1, 1, 5.0)
    assert row["metrics"]["accuracy"]["value"] == 0.4
    assert row["training"] == {"tokens": 7}


def test_accuracy_by_steps() -> None:
    by_steps = assemble(study(arm("single_stage", "1010")))["rows"][0]["by_steps"]
    assert {steps: (part["n"], part["correct"]) for steps, part in by_steps.items()} == {
        "2": (2, 2),
        "3": (2, 0),
    }


def test_unknown_steps_are_left_out() -> None:
    row = judged(0, "1")
    row = dataclasses.replace(row, question=Question("How many?", "1"))
    report = assemble(study(Arm("single_stage", "small", 0, "test", (row,))))
    assert report["rows"][0]["by_steps"] == {}
    assert "Accuracy by number of steps" not in html(report) + markdown(report)


def test_a_comparison_is_method_minus_control() -> None:
    found = pair(assemble(study(*CLEAR)), "single_stage", "answer_only")
    assert (found["difference"], found["n"]) == (0.9, 20)
    assert (found["only_a"], found["only_b"], found["both"], found["neither"]) == (18, 0, 2, 0)
    assert found["p_value"] == pytest.approx(2 * 0.5**18)
    assert found["p_adjusted"] == found["p_value"]  # a family of one


def test_p_values_are_adjusted_over_all_pairs_of_a_student_and_split() -> None:
    arms = [arm("answer_only", "0" * 8, "control"), arm("single_stage", "1" * 8), arm("two_stage", "0" * 8)]
    report = assemble(study(*arms))
    raw = 2 * 0.5**8
    assert pair(report, "single_stage", "answer_only")["p_value"] == pytest.approx(raw)
    # p = (raw, raw, 1): the second smallest is adjusted by 3/2 and pulls the first along
    assert pair(report, "single_stage", "answer_only")["p_adjusted"] == pytest.approx(raw * 3 / 2)


def test_rows_are_paired_by_question_not_by_order() -> None:
    a = arm("single_stage", "1100")
    b = dataclasses.replace(arm("answer_only", "1100", "control"), rows=tuple(reversed(a.rows)))
    found = pair(assemble(study(a, b)), "single_stage", "answer_only")
    assert (found["only_a"], found["only_b"], found["p_value"]) == (0, 0, 1.0)


def test_which_arms_are_compared() -> None:
    arms = [
        arm(method, "10", student=student, seed=seed, split=split)
        for method in ("single_stage", "two_stage")
        for student in ("small", "large")
        for seed in (0, 1)
        for split in ("test", "longer")
    ]
    found = assemble(study(*arms))["comparisons"]
    assert {one["split"] for one in found} == {"test", "longer"}
    here = {(c["a"], c["b"], c["student"], c["student_b"]) for c in found if c["seed"] == 0}
    assert here == {
        ("single_stage", "two_stage", "small", "small"),
        ("single_stage", "two_stage", "large", "large"),
        ("single_stage", "single_stage", "small", "large"),
        ("two_stage", "two_stage", "small", "large"),
    }
    assert len(found) == 4 * 2 * 2  # the same four for each seed and split


def test_partial_arms_are_paired_on_the_common_questions() -> None:
    bound = arm("two_stage (teacher's rationale)", "111", "upper_bound")
    teacher = arm("teacher", "11", "teacher", student="a large model", seed=7)
    report = assemble(study(arm("two_stage", "10100"), bound, teacher))
    assert pair(report, "two_stage", bound.method)["n"] == 3
    assert pair(report, "two_stage", "teacher")["n"] == 2
    assert pair(report, "two_stage", "teacher")["seed"] == 0
    assert "except two_stage (teacher&#39;s rationale) (n = 3), teacher (n = 2)" in html(report)


def test_a_partial_arm_without_a_common_question_is_not_compared() -> None:
    elsewhere = tuple(judged(i, "1") for i in range(10, 12))
    report = assemble(
        study(arm("two_stage", "10"), Arm("bound", "small", 0, "test", elsewhere, "upper_bound"))
    )
    assert report["comparisons"] == []


def test_several_seeds_are_summed_up() -> None:
    arms = [arm("single_stage", marks, seed=seed) for seed, marks in enumerate(("1000", "1100", "1110"))]
    (found,) = assemble(study(*arms))["seeds"]
    assert (found["mean"], found["standard_deviation"]) == (0.5, 0.25)
    assert found["interval"][0] < 0.5 < found["interval"][1]
    assert set(found["standard_error"]) == {"seeds", "questions"}
    assert (found["seeds"], found["lowest"], found["highest"]) == ([0, 1, 2], 0.25, 0.75)


def test_the_teacher_arm_fills_in_the_accuracy() -> None:
    teacher = assemble(study(arm("teacher", "1110", "teacher"), teacher={"name": "openai"}))["teacher"]
    assert (teacher["accuracy"], teacher["n"], teacher["on"]) == (0.75, 4, "test")
    assert assemble(study(*CLEAR))["teacher"]["accuracy"] is None


def test_a_stated_teacher_gets_its_interval() -> None:
    stated = {"accuracy": 0.5, "n": 4, "correct": 2, "on": "annotation"}
    assert assemble(study(*CLEAR, teacher=stated))["teacher"]["interval"] == pytest.approx(
        [0.15, 0.85], abs=0.001
    )


def test_curation_states_its_keep_rate_and_doubts_itself() -> None:
    right = {"annotated": 10, "kept": 8, "dropped": {"wrong_answer": 2}}
    assert assemble(study(*CLEAR, curation=right))["curation"]["keep_rate"] == 0.8
    assert assemble(study(*CLEAR, curation=right))["notes"] == []
    (doubt,) = assemble(study(*CLEAR, curation={**right, "kept": 7}))["notes"]
    assert "do not add up: 10 annotated, 7 kept, 2 dropped" in doubt


def test_json_is_plain_even_with_odd_values(tmp_path: Path) -> None:
    odd = study(
        arm("single_stage", "10", final_loss=float("nan"), path=tmp_path),
        manifest={"infinite": float("inf"), 3: (1, 2)},
    )
    report = assemble(odd)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["rows"][0]["training"] == {"final_loss": None, "path": str(tmp_path)}
    assert report["manifest"] == {"infinite": None, "3": [1, 2]}


def test_samples_are_drawn_alike_each_time_and_say_why() -> None:
    arms = (arm("answer_only", "1" * 16 + "0" * 4, "control"), arm("single_stage", "1" * 20))
    one, two = (assemble(study(*arms))["samples"] for _ in range(2))
    assert one == two
    assert [sample["why"] for sample in one] == ["verdicts differ"] * 4 + ["drawn at random"] * 4
    for sample in one[:4]:
        assert {answer["verdict"] for answer in sample["answers"]} == {"correct", "wrong"}


def test_rationales_find_their_question() -> None:
    known, unknown = Question("Of train?", "3"), Question("Forgotten?", "4")
    shown = {q.id: (Rationale(q.id, 0, "Because.", q.answer),) for q in (known, unknown)}
    found = assemble(study(*CLEAR, rationales=shown, questions=(known,)))["rationales"]
    assert [one["question"] and one["question"]["question"] for one in found] == ["Of train?", None]


# ---------------------------------------------------------------- the headline


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (
            CLEAR,
            "On test, single_stage beats answer_only by 90.0 points [75.0, 100.0] "
            "(n = 20, exact McNemar p < 1e-5, adjusted).",
        ),
        (
            (arm("answer_only", "1" * 20, "control"), arm("single_stage", "1" * 2 + "0" * 18)),
            "On test, single_stage loses to answer_only by 90.0 points [75.0, 100.0] "
            "(n = 20, exact McNemar p < 1e-5, adjusted).",
        ),
        (
            (arm("answer_only", "1000", "control"), arm("single_stage", "1100")),
            "On test, single_stage does not differ significantly from answer_only: +25.0 points "
            "[0.0, +75.0] (n = 4, exact McNemar p = 1.000, adjusted).",
        ),
        (
            (arm("single_stage", "1100"),),
            "single_stage answers 50.0 % [15.0, 85.0] of the questions of test (n = 4). "
            "There is no control to compare it with.",
        ),
        (
            (arm("teacher", "11", "teacher"),),
            "teacher answers 100.0 % [34.2, 100.0] of the questions of test (n = 2).",
        ),
    ],
)  # fmt: skip
def test_the_headline_says_what_was_found(arms: tuple[Arm, ...], said: str) -> None:
    assert assemble(study(*arms))["headline"] == said


def test_the_best_of_several_is_named_as_such_and_equal_budget_comes_first() -> None:
    report = assemble(
        study(
            arm("answer_longer", "0" * 20, "control", budget_multiple=2),
            arm("answer_only", "0" * 20, "control", budget_multiple=1),
            arm("two_stage", "1" * 10 + "0" * 10),
            arm("single_stage", "1" * 20),
        )
    )
    assert report["headline"].startswith("On test, single_stage beats answer_only by 100.0 points")
    assert report["headline"].endswith("; it is the best of 2 methods there.")
    assert report["findings"][0].startswith("On test, single_stage beats answer_longer")


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (
            ("1" * 20, "1" * 20),
            "beats answer_only by 100.0 points [100.0, 100.0] "
            "(mean of 2 seeds, +100.0 to +100.0; n = 20 each; p < 1e-5, adjusted).",
        ),
        (
            ("1" * 20, "0" * 20),
            "does not differ significantly from answer_only: +50.0 points [−100.0, +100.0] "
            "(mean of 2 seeds, 0.0 to +100.0; n = 20 each; p = 0.500, adjusted).",
        ),
    ],
)
def test_one_lucky_seed_is_no_finding(seeds: tuple[str, ...], said: str) -> None:
    arms = [arm("answer_only", "0" * 20, "control", seed=seed) for seed in range(len(seeds))]
    arms += [arm("single_stage", marks, seed=seed) for seed, marks in enumerate(seeds)]
    assert f"On test, single_stage {said}" in assemble(study(*arms))["headline"]


def test_arms_that_share_no_seed_are_not_compared() -> None:
    report = assemble(study(arm("answer_only", "0", "control", seed=0), arm("single_stage", "1", seed=1)))
    assert (
        report["headline"] == "On test, single_stage and answer_only share no seed, so they are not compared."
    )


# ---------------------------------------------------------------- studies that cannot be reported


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ((), "has no arm to report"),
        ((arm("single_stage", ""),), "'single_stage' by 'small', seed 0, on 'test' has no answers"),
        ((arm("single_stage", "1"), arm("single_stage", "0")), "is in the study twice"),
        ((Arm("x", "small", 0, "test", (judged(1, "1"), judged(1, "0"))),), "more than once"),
        (
            (arm("single_stage", "111"), arm("answer_only", "10", "control")),
            r"answered different questions of 'test' \(2 and 3, 2 in common\)|\(3 and 2, 2 in common\)",
        ),
    ],
)
def test_an_unfit_study_is_refused_in_one_sentence(arms: tuple[Arm, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        assemble(study(*arms))


# ---------------------------------------------------------------- the page and the Markdown file

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> | `tick` {{ 7 * 7 }} \x00 \udc80"


class Page(HTMLParser):
    """Collects tags and attributes, and checks that every element that must be closed is."""

    VOID = frozenset({"meta", "rect", "circle", "line", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def hostile_study() -> Study:
    rows = (judged(0, "1", HOSTILE, HOSTILE), judged(1, "-", HOSTILE, HOSTILE))
    answers = dataclasses.replace(rows[0], verdict=Verdict("wrong", HOSTILE, reason=HOSTILE))
    return Study(
        HOSTILE, HOSTILE, HOSTILE, "text",
        (
            Arm(HOSTILE, HOSTILE, 0, HOSTILE, rows, "control", HOSTILE, {"learning_rate": HOSTILE}),
            Arm("b" + HOSTILE, HOSTILE, 0, HOSTILE, (answers, rows[1]), "method", HOSTILE),
        ),
        curation={"annotated": 2, "kept": 1, "dropped": {HOSTILE: 1}},
        teacher={"name": HOSTILE, "model": HOSTILE, "accuracy": 0.5, "on": HOSTILE},
        rationales={rows[0].question.id: (Rationale(rows[0].question.id, 0, HOSTILE, HOSTILE, HOSTILE),)},
        students={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
        recipe={HOSTILE: HOSTILE},
        manifest={HOSTILE: [HOSTILE]},
    )  # fmt: skip


def test_hostile_text_stays_text_on_the_page(tmp_path: Path) -> None:
    page = Page(write(hostile_study(), tmp_path).read_text(encoding="utf-8"))
    assert page.open == []
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_hostile_text_is_shown_whole() -> None:
    page = html(assemble(hostile_study()))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page


def test_the_page_fetches_nothing() -> None:
    page = Page(html(assemble(study(*CLEAR))))
    links = [value for name, value in page.attributes if name in {"href", "src", "xlink:href", "action"}]
    assert links
    assert all(str(link).startswith("#") for link in links)
    assert "url(" not in html(assemble(study(*CLEAR)))


def test_every_link_on_the_page_has_its_target() -> None:
    page = Page(html(assemble(study(*CLEAR, arm("single_stage", "1", split="longer")))))
    targets = [value for name, value in page.attributes if name == "id"]
    assert len(targets) == len(set(targets))
    assert {str(value)[1:] for name, value in page.attributes if name == "href"} <= set(targets)


def test_the_page_is_the_same_from_the_file_as_from_the_study(tmp_path: Path) -> None:
    write(study(*CLEAR), tmp_path)
    saved = json.loads((tmp_path / "report.json").read_text())
    assert html(saved) == (tmp_path / "report.html").read_text()
    assert markdown(saved) == (tmp_path / "report.md").read_text()


def test_verdicts_are_words_not_colours_alone() -> None:
    page = html(assemble(study(arm("single_stage", "10-"))))
    for word in ("✓ correct", "✗ wrong", "∅ no answer", "cut off by the length limit"):
        assert word in page


def test_a_split_states_its_n_and_what_it_can_show() -> None:
    page = html(assemble(study(*CLEAR)))
    assert "n = 20" in page
    assert "true differences below 41.7 points" in page
    assert "So few questions cannot show any difference." in html(assemble(study(arm("single_stage", "10"))))


def test_hostile_text_breaks_no_markdown_table() -> None:
    text = markdown(assemble(hostile_study()))
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) >= 4
    for table in tables:
        pipes = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(pipes) == 1
    assert "<" not in text


def test_the_drawing_puts_every_mark_where_its_number_is() -> None:
    (strip,) = strips(assemble(study(arm("single_stage", "1100")))["rows"])
    (mark,) = strip.marks
    assert mark.at == across(0.5) == 50.0
    assert (mark.low, mark.high) == (across(0.15004), across(0.84996))
    assert 0 < across(0.0) < across(1.0) < 100  # dots at both ends are whole
    assert f'<svg x="{mark.at}%" y="{mark.y}"' in html(assemble(study(arm("single_stage", "1100"))))


def test_the_axis_of_differences_holds_every_interval() -> None:
    pairs = [{"difference": -0.62, "interval": [-0.71, -0.5]}, {"difference": 0.1, "interval": [0.0, 0.2]}]
    assert reach(pairs) == 0.75
    assert reach([]) == 0.05
    assert difference_mark(pairs[1], reach(pairs)).low == 50.0  # zero is in the middle


def test_step_panels_join_the_splits_of_an_arm() -> None:
    arms = (arm("single_stage", "1100"), arm("single_stage", "10", split="longer"))
    report = assemble(study(*arms))
    (panel,) = panels(report)
    assert [series.split for series in panel.series] == [0, 1]
    assert [name for _, name in step_ticks(report)] == ["2", "3"]
    (_, low), (_, high) = panel.series[1].points
    assert low.at < high.at  # 2 steps: right, so higher on the page than 3 steps: wrong
    assert "longer, 2 steps: 100.0 % (n = 1)" in panel.summary


def test_markdown_states_the_numbers() -> None:
    text = markdown(assemble(study(*CLEAR)))
    assert "| single_stage | 100.0 % | [83.9, 100.0] | 20 | 20 | 0 | 0 | 5.0 |" in text
    assert "| single_stage − answer_only | +90.0 | [+75.0, +100.0] | 18 : 0 | 20 |" in text


def test_a_metric_from_the_shelf_gets_its_own_column() -> None:
    report = assemble(study(*CLEAR))
    for row in report["rows"]:
        row["metrics"]["self_consistency"] = {"value": 0.25, "unit": "fraction", "n": 20, "interval": None}
    table = results(report, "test")
    assert table.lines[0].cells[table.heads.index("self consistency") - 1] == "25.0 %"


BUDGETS: dict[str, Any] = {"steps": 50, "tokens": 6000, "target_tokens": 900, "flops": 3.412e15}


def test_budgets_are_told_three_ways_beside_the_tokens_of_an_answer() -> None:
    arms = [
        arm("answer_only", "1000", "control", **BUDGETS),
        arm("two_stage", "1110", **BUDGETS, extra_tokens=2500, extra_flops=1.5e15),
    ]
    table = costs(assemble(study(*arms)), "test")
    assert table.heads[4:] == (
        *("frontier", "steps", "trained tokens", "target tokens", "FLOPs"),
        *("helpers' tokens", "helpers' FLOPs"),
    )
    best, control = table.lines
    assert (best.label, control.label) == ("1 · two_stage", "2 · answer_only")
    assert best.cells[2:] == ("5.0", "yes", "50", "6\u202f000", "900", "3.41e15", "2\u202f500", "1.50e15")
    assert control.cells[3:] == ("no", "50", "6\u202f000", "900", "3.41e15", "–", "–")


def test_budgets_of_seeds_are_averaged_and_an_old_run_without_flops_is_fine() -> None:
    arms = [arm("two_stage", "10", seed=seed, steps=steps) for seed, steps in ((0, 50), (1, 60))]
    (entry,) = assemble(study(*arms))["costs"]
    assert entry["training"] == {"steps": 55}
    assert (entry["seeds"], entry["accuracy"], entry["mean_tokens"]) == (2, 0.5, 5)


def long(method: str, marks: str, tokens: int, role: Role = "method") -> Arm:
    one = arm(method, marks, role)
    rows = [
        dataclasses.replace(
            row,
            prediction=dataclasses.replace(
                row.prediction, written=(dataclasses.replace(row.prediction.written[0], tokens=tokens),)
            ),
        )
        for row in one.rows
    ]
    return dataclasses.replace(one, rows=tuple(rows))


def test_the_frontier_is_who_is_not_beaten_at_both() -> None:
    arms = [
        long("answer_only", "1000", 3, "control"),
        long("short", "1100", 20),
        long("wordy", "1100", 30),
        long("wise", "1110", 80),
        long("bound", "1111", 1, "upper_bound"),
        long("teacher", "1111", 90, "teacher"),
    ]
    report = assemble(study(*arms))
    assert {row["method"]: (row["rank"], row["on_frontier"]) for row in report["costs"]} == {
        "answer_only": (4, True),
        "short": (2, True),
        "wordy": (3, False),
        "wise": (1, True),
        "bound": (None, None),
        "teacher": (None, None),
    }
    (drawn,) = scatters(report, "test")
    assert drawn.summary == "On the frontier: answer_only, short, wise."
    assert [dot.number for dot in drawn.dots if dot.on_frontier] == [1, 2, 4]
    assert [name for _, name in drawn.ticks] == ["5", "10", "20", "50", "100"]
    assert drawn.path[0] == (drawn.dots[3].x, height(0.25))
    assert drawn.path[-1][1] == height(0.75)
    page = html(report)
    assert f'transform="translate({drawn.dots[0].x} {height(0.75)})"' in page
    assert "On the frontier: answer_only, short, wise." in page


def test_accuracy_by_length_keeps_answers_of_one_length_together() -> None:
    def rows(*tokens: int) -> tuple[Judged, ...]:
        return tuple(
            row
            for place, count in enumerate(tokens)
            for row in [long("x", "1" * (place + 1), count).rows[place]]
        )

    one = Arm("single_stage", "small", 0, "test", rows(1, 2, 3, 4, 5, 6, 7, 8))
    found = assemble(study(one))["rows"][0]["by_length"]
    assert {q: (part["shortest"], part["longest"], part["n"]) for q, part in found.items()} == {
        "1": (1, 2, 2), "2": (3, 4, 2), "3": (5, 6, 2), "4": (7, 8, 2),
    }  # fmt: skip
    tied = Arm("single_stage", "small", 0, "test", rows(1, 1, 1, 1, 1, 1, 1, 9))
    found = assemble(study(tied))["rows"][0]["by_length"]
    assert {q: part["n"] for q, part in found.items()} == {"1": 7, "4": 1}
    page = html(assemble(study(tied)))
    assert "100.0 % [20.7, 100.0], 9–9 tokens, n = 1" in page
    assert assemble(study(*CLEAR))["rows"][0]["by_length"] == {}
    assert "Accuracy by length" not in html(assemble(study(*CLEAR))) + markdown(assemble(study(*CLEAR)))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (flops(3.412e15), "3.41e15"),
        (flops(9.999e11), "1.00e12"),
        (flops(None), "–"),
        (flops(0), "0"),
        (percent(0.8317), "83.2 %"),
        (percent(None), "–"),
        (points(0.8317), "+83.2"),
        (points(-0.04), "−4.0"),
        (points(-0.0001), "0.0"),
        (p_value(0.0421), "= 0.042"),
        (p_value(0.001), "= 0.001"),
        (p_value(0.00099), "< 0.001"),
        (p_value(1e-5), "< 1e-4"),
        (p_value(3e-101), "< 1e-100"),
        (p_value(0.0), "< 1e-300"),
        (count(812544), "812\u202f544"),
        (count(0.0213), "0.0213"),
        (count(None), "–"),
    ],
)
def test_wording(shown: str, expected: str) -> None:
    assert shown == expected


# ---------------------------------------------------------------- writing


def test_write_leaves_three_whole_files(tmp_path: Path) -> None:
    page = write(study(*CLEAR), tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "report.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "report.json", "report.md"]


def test_a_study_that_fails_leaves_the_last_report(tmp_path: Path) -> None:
    before = write(study(*CLEAR), tmp_path).read_text()
    with pytest.raises(DataError):
        write(study(), tmp_path)
    assert (tmp_path / "report.html").read_text() == before


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"the report cannot be written to .*file.*choose another folder"):
        write(study(*CLEAR), tmp_path / "file")
