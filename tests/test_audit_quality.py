"""The state of the rationales: each check counted where it holds, over all and over the kept ones."""

from __future__ import annotations

import pytest

from audit_toys import SKY, material, numbers, said
from understudy.audit.quality import quality
from understudy.audit.section import Section
from understudy.types import Completion

(QUESTION,) = numbers("5")

LOOP = "We count the pens again. " * 40


def of(*completions: Completion, kept: tuple[int, ...] = ()) -> Section:
    return quality(material([QUESTION], completions, kept=[(QUESTION, sample) for sample in kept]))


def counts(section: Section, key: str, group: str = "written") -> tuple[int, int]:
    found = section.numbers[group][key]
    return found["count"], found["n"]


def test_wrong_equations_are_a_share_of_those_with_equations() -> None:
    section = of(
        said(QUESTION, 0, "2 + 3 = 5. The answer is 5."),
        said(QUESTION, 1, "2 + 3 = 6, so five. The answer is 5."),
        said(QUESTION, 2, "It is known. The answer is 5."),
        kept=(0,),
    )
    assert counts(section, "equations") == (2, 3)
    assert counts(section, "wrong_equations") == (1, 2)
    assert counts(section, "wrong_equations", "kept") == (0, 1)
    assert "of those with an equation 1 of 2 (50.0 %" in section.sentences[0]
    assert section.sentences[1].startswith("0 of 1")


def test_loops_cut_ends_and_missing_answers() -> None:
    section = of(
        said(QUESTION, 0, LOOP),
        said(QUESTION, 1, "There are 2 and", "length"),
        said(QUESTION, 2, "I cannot tell."),
        said(QUESTION, 3, "It is so. The answer is 5."),
    )
    assert counts(section, "loops") == (1, 4)
    assert counts(section, "cut_off") == (1, 4)
    assert counts(section, "no_answer") == (3, 4)
    assert section.sentences[0].startswith("3 of 4 (75.0 %")


def test_readings_that_differ_are_counted_and_the_first_listed() -> None:
    section = of(said(QUESTION, 0, "So #### 5"), said(QUESTION, 1, "So. The answer is 5."))
    assert counts(section, "readings_differ") == (1, 2)
    assert section.sentences[-1] == (
        f"The readings differ first in: question {QUESTION.id}, sample 0 (strict nothing, flexible 5)."
    )


@pytest.mark.parametrize(
    ("text", "another"),
    [
        ("The answer is 4. No, one more. The answer is 5.", True),
        ("The answer is 5. Indeed. The answer is 5.", False),
        ("There are 4 and 1. The answer is 5.", False),
        ("I do not know.", False),
    ],
)
def test_another_answer_stated_before_is_seen(text: str, another: bool) -> None:
    assert counts(of(said(QUESTION, 0, text)), "answers_differ") == (int(another), 1)


def test_options_named_in_passing_are_no_statements() -> None:
    text = "Option A is wet. Option B is dry. The answer is (B)."
    section = quality(material([SKY], [said(SKY, 0, text)], "choice"))
    assert counts(section, "answers_differ") == (0, 1)


def test_near_copies_are_counted_within_a_question_from_the_second_on() -> None:
    long = "first we count all of the pens that Ann has in her bag and then we add those that she buys today"
    one, other = numbers("5", "5")
    completions = [
        said(one, 0, f"{long}. The answer is 5."),
        said(one, 1, f"{long.upper()}! The answer is 5."),
        said(one, 2, "Quite another way to say so. The answer is 5."),
        said(other, 0, f"{long}. The answer is 5."),
    ]
    section = quality(material([one, other], completions))
    assert counts(section, "near_copies") == (1, 4)


def test_lengths_are_those_of_the_reasoning() -> None:
    section = of(
        said(QUESTION, 0, "one two three. The answer is 5."),
        said(QUESTION, 1, "one. The answer is 5."),
        kept=(1,),
    )
    assert section.numbers["written"]["words"] == {"n": 2, "mean": 2.0, "min": 1, "max": 3}
    assert section.numbers["kept"]["words"] == {"n": 1, "mean": 1.0, "min": 1, "max": 1}
    assert "The 2 rationales written have 2.0 words on average, from 1 to 3." in section.sentences


def test_nothing_written_is_said() -> None:
    assert of().sentences == ("The teacher wrote nothing that can be looked at.",)
    assert of().numbers["kept"]["words"]["mean"] is None


def test_every_row_of_the_table_has_its_numbers() -> None:
    section = of(said(QUESTION, 0, "2 + 3 = 5. The answer is 5."))
    assert len(section.rows) == len(section.numbers["written"]) - 1
    assert all(len(row) == len(section.columns) for row in section.rows)
