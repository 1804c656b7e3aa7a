"""Doubtful golds: where the samples agree with each other and not with the gold."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from audit_toys import material, numbers, said
from shared_data import shared_data
from understudy.audit.gold import HEADER, export, gold, suspects
from understudy.errors import StoreError
from understudy.rows import read
from understudy.statistics import wilson
from understudy.types import Completion, Question


def answered(question: Question, *answers: str) -> list[Completion]:
    texts = [f"Because {i}. The answer is {answer}." for i, answer in enumerate(answers)]
    return [said(question, i, text) for i, text in enumerate(texts)]


def test_what_most_samples_say_against_the_gold_is_suspect() -> None:
    (question,) = numbers("5")
    (suspect,) = suspects(material([question], answered(question, "6", "6.0", "6", "5")))
    assert (suspect.answer, suspect.votes, suspect.read) == ("6", 3, 4)
    assert suspect.low == pytest.approx(wilson(3, 4)[0])
    assert suspect.rationale == "Because 0."


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (("5", "5", "5"), "they agree with the gold"),
        (("6", "6"), "two are too few"),
        (("6", "6", "5", "5"), "half is not most"),
        (("6", "7", "8"), "they are wrong in different ways"),
        (("6", "6", "not known", "not known"), "two of those read are too few"),
    ],
)
def test_what_is_not_suspect(answers: tuple[str, ...], why: str) -> None:
    (question,) = numbers("5")
    assert suspects(material([question], answered(question, *answers))) == [], why


def test_the_most_certain_suspect_comes_first_and_equals_stay_in_order() -> None:
    questions = numbers("1", "1", "1")
    completions = [
        *answered(questions[0], "2", "2", "1"),
        *answered(questions[1], "3", "3", "3", "3"),
        *answered(questions[2], "4", "4", "1"),
    ]
    found = suspects(material(questions, completions))
    assert [suspect.question for suspect in found] == [questions[1], questions[0], questions[2]]


def test_the_section_says_what_leaving_them_out_would_change() -> None:
    questions = numbers("1", "1")
    completions = [*answered(questions[0], "2", "2", "1"), *answered(questions[1], "1", "1", "3")]
    kept = [(questions[0], 2), (questions[1], 0), (questions[1], 1)]
    section = gold(material(questions, completions, kept=kept))
    assert (section.numbers["suspects"]["count"], section.numbers["suspects"]["n"]) == (1, 2)
    assert section.numbers["with"] == {
        "questions": 2,
        "rationales": 3,
        "right": 3,
        "answered": 6,
        "accuracy": 0.5,
    }
    assert section.numbers["without"]["accuracy"] == pytest.approx(2 / 3)
    assert section.numbers["without"]["rationales"] == 2
    assert section.rows == (("Question number 0?", "1", "2", "2 of 3", "20.8 %"),)
    assert section.sentences[0].startswith("1 of 2 (50.0 %")
    assert "1 of 2 questions and 2 of 3 rationales remain" in section.sentences[1]


def test_one_sample_of_each_says_nothing() -> None:
    questions = numbers("1", "2")
    section = gold(material(questions, [c for q in questions for c in answered(q, "9")]))
    assert section.sentences[0].startswith("No question has 3 samples")
    assert section.rows == ()


def test_options_are_shown_with_their_text() -> None:
    question = Question("Which is up?", "A", ("the sea", "the sky"))
    section = gold(material([question], answered(question, "(B)", "(B)", "(B)"), "choice"))
    assert section.rows[0][1:3] == ("A: the sea", "B: the sky")


def test_the_table_for_a_person_is_whole_and_holds_no_formula(tmp_path: Path) -> None:
    question = Question('=HYPERLINK("x")', "-5", context="")
    completions = [said(question, i, "@SUM(A1), so\n+1. The answer is 7.") for i in range(3)]
    path = tmp_path / "deep" / "suspects.csv"
    export(suspects(material([question], completions)), path)
    with path.open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == HEADER
    asked = dict(zip(HEADER, row, strict=True))
    assert asked["question"] == '\'=HYPERLINK("x")'
    assert (asked["gold"], asked["answer"], asked["votes"], asked["read"]) == ("'-5", "7", "3", "3")
    assert asked["rationale"] == "'@SUM(A1), so\n+1."
    assert asked["verdict"] == ""
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_a_table_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"):
        export([], tmp_path / "file" / "suspects.csv")


def test_two_golds_of_svamp_that_contradict_their_own_equation_are_found() -> None:
    """Rows 76 and 352 have golds that are not what their own texts come to (252 and 5)."""
    folder = shared_data("eit_cot_distill")
    questions, completions = {}, []
    for number, row in enumerate(read(folder / "SVAMP_only_ans.json.gz"), start=1):
        text = str(row.fields["instruction"]).strip()
        questions[text] = Question(text, str(row.fields["output"]), source=str(number))
    for sample, path in enumerate(sorted(folder.glob("SVAMP_[Cgl]*"))):
        rows = {str(row.fields["instruction"]).strip(): str(row.fields["output"]) for row in read(path)}
        completions += [said(questions[text], sample, output) for text, output in rows.items()]
    found = {
        suspect.question.source: suspect
        for suspect in suspects(material(list(questions.values()), completions))
    }
    assert {source: suspect.answer for source, suspect in found.items()} == {"76": "252", "352": "5"}
