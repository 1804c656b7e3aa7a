"""equation: rationales become programs, programs come to the gold answer, and nothing else is run."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_data import shared_data
from tiny import BOOLEAN, NUMBER, rationale
from understudy import shelves
from understudy.answers import judge
from understudy.checks._written import said
from understudy.checks.program import program_of, run
from understudy.methods.equation import Equation
from understudy.roles import Source, Task
from understudy.types import AnswerForm, Prediction, Question, Rationale, Written

# rationale, answer, question -> program
PROGRAMS = [
    ("12 / 2 = 6. 6 - 4 = 2.", "2", "12, 2, loses 4", "12 / 2 = #1; #1 - 4 = #2; The answer is #2."),
    # units, money, separators, other signs
    ("3 apples x 2 apples/day = 6 apples.", "6", "", "3 * 2 = #1; The answer is #1."),
    ("$1,200 ÷ 4 = $300. $300 + $.5 = $300.5", "300.5", "", "1200 / 4 = #1; #1 + .5 = #2; The answer is #2."),
    ("2^3 = 8. 8² = 64", "64", "", "2 ** 3 = #1; #1 ** 2 = #2; The answer is #2."),
    ("2(3 + 4) = 14", "14", "", "2 * (3 + 4) = #1; The answer is #1."),
    ("3 1/2 + 1/2 = 4", "4", "", "(3 + 1 / 2) + 1 / 2 = #1; The answer is #1."),
    ("2½ * 2 = 5", "5", "", "(5 / 2) * 2 = #1; The answer is #1."),
    # percentages
    ("20% of 50 = 10. 50 - 10 = 40", "40", "", "20% * 50 = #1; 50 - #1 = #2; The answer is #2."),
    ("40% * 25% = 10%. 100% - 10% = 90%", "90", "", "40% * 25% = #1; 100% - #1 = #2; The answer is #2%."),
    # fractions as results, and a rounded one
    ("15 / 60 = 1/4. 40 * (1/4) = 10", "10", "", "15 / 60 = #1; 40 * (#1) = #2; The answer is #2."),
    ("10 / 3 = 3.33. 3.33 * 3 = 10", "10", "", "10 / 3 = #1; #1 * 3 = #2; The answer is #2."),
    # marks, chains and running sums
    ("8/2 = <<8/2=4>>4. 8+4 = <<8+4=12>>12", "12", "", "8 / 2 = #1; 8 + #1 = #2; The answer is #2."),
    ("2 * 6 = 3 * 4 = 12. 12 + 1 = 13", "13", "", "2 * 6 = #1; #1 + 1 = #2; The answer is #2."),
    ("3 + 4 = 7 * 2 = 14", "14", "", "3 + 4 = #1; #1 * 2 = #2; The answer is #2."),
    # a wrong right side is not taken over
    ("5 + 5 = 11. 11 * 2 = 22", "20", "", "5 + 5 = #1; #1 * 2 = #2; The answer is #2."),
    # what stands behind the answer is left out
    ("4 * 5 = 20. To check: 20 / 5 = 4.", "20", "", "4 * 5 = #1; The answer is #1."),
    # a number of the question is the result just made, once, and no older one
    ("2 + 3 = 5. 5 * 2 = 10. 10 - 5 = 5.", "5", "has 2, 3 more, 2 times, loses 5", "2 + 3 = #1; #1 * 2 = #2;"
     " #2 - 5 = #3; The answer is #3."),
    ("2 + 3 = 5. 5 + 5 = 10.", "10", "2, 3, then 5 more", "2 + 3 = #1; #1 + 5 = #2; The answer is #2."),
    # of two equal results, the one that nothing has used
    ("4 - 2 = 2. 8 - 6 = 2. 2 + 2 = 4.", "4", "", "4 - 2 = #1; 8 - 6 = #2; #2 + #1 = #3; The answer is #3."),
]  # fmt: skip
NO_PROGRAM = [
    ("10 times 25 equals 250.", "250"),
    ("x + 3 = 7, so x = 4.", "4"),
    ("25 / 4 = 6 buses. 6 * 30 = 180.", "180"),
    ("2 + 3 = 5.", "6"),
    ("The sky is blue.", "5"),
    ("1 / 0 = 5", "5"),
    (r"\frac{1}{2} * 4 = 2", "2"),
    ("", "5"),
]


@pytest.mark.parametrize(("text", "answer", "asked", "program"), PROGRAMS)
def test_a_rationale_becomes_a_program_that_comes_to_its_answer(
    text: str, answer: str, asked: str, program: str
) -> None:
    assert program_of(text, answer, asked) == program
    outcome = run(program)
    assert outcome is not None
    assert outcome.value == Fraction(answer)


@pytest.mark.parametrize(("text", "answer"), NO_PROGRAM)
def test_what_does_not_come_to_its_answer_has_no_program(text: str, answer: str) -> None:
    assert program_of(text, answer) is None


# ---------------------------------------------------------------- running

FAULTS = [
    "1 / 0 = #1; The answer is #1.",
    "#1 + 1 = #1; The answer is #1.",
    "1 + 1 = #1; #2 * 2 = #3; The answer is #3.",
    "1 + 1 = #1; The answer is #2.",
    "1 + 1 = #1; The answer is 2 #1.",
    "1 + 1 = #1; 5",
    "1 + 1 = #1",
    "1 + 1 = #1; The answer is #",
    "1 + 1 = 2; 2 + 2 = #2; The answer is #2.",
    "two = #1; The answer is #1.",
    "1 + 1 apples and so = #1; The answer is #1.",
    "9 ** 9 ** 9 ** 9 = #1; The answer is #1.",
    "__import__('os') = #1; The answer is #1.",
    "(1 + 1 = #1; The answer is #1.",
    "The answer is #1.",
]


@pytest.mark.parametrize("text", FAULTS)
def test_a_program_that_does_not_run_has_no_result_and_no_answer(text: str) -> None:
    outcome = run(text)
    assert outcome is not None
    assert outcome.value is None
    settled = settle(text)
    assert settled.settled is not None
    for gold in ("1", "2", "3", "5"):
        assert judge(settled.text, gold, "number").name == "no_answer"


@pytest.mark.parametrize("text", ["", "2 + 3 = 5. The answer is 5.", "She is #1.", "The answer is 5."])
def test_a_text_that_is_no_program_is_none(text: str) -> None:
    assert run(text) is None


def test_a_reference_is_a_whole_value_and_may_be_set_again() -> None:
    values = {
        "1 + 2 = #1; #1 * #1 = #2; The answer is #2.": 9,  # and not 1 + 2 * 1 + 2
        "2 - 5 = #1; 4 * #1 = #2; The answer is #2.": -12,
        "1 + 1 = #1; #1 + 1 = #1; The answer is #1.": 3,
        "1 + 1 = #7; 10 / #7 = #10; The answer is #10": 5,
        " 8 / 3 = #1;  #1 * 3 = #2 ;The answer is #2. ": 8,
    }
    for text, value in values.items():
        outcome = run(text)
        assert outcome is not None
        assert outcome.value == value, text


@given(
    st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 99)), min_size=1, max_size=6),
    st.integers(2, 99),
)
def test_a_chain_of_sums_goes_through_its_program_unharmed(steps: list[tuple[str, int]], start: int) -> None:
    value, lines = Fraction(start), []
    for sign, operand in steps:
        new = {"+": value + operand, "-": value - operand, "*": value * operand, "/": value / operand}[sign]
        if new.denominator > 1 or new < 0:
            return
        lines.append(f"{value} {sign} {operand} = {new}.")
        value = new
    program = program_of(" ".join(lines), said(value))
    assert program is not None
    outcome = run(program)
    assert outcome is not None
    assert outcome.value == value
    assert "=" not in program.replace("= #", ""), "no result is written"


@given(st.text(alphabet="0123456789+-*/=()#%;. xof The answer is", max_size=80))
def test_any_text_is_run(text: str) -> None:
    run(text)
    program_of(text, "5", text)


@pytest.mark.parametrize("piece", ["1+1=#1;", "#1", "(", "1=", "= #1", "1+", "9**9=#1;"])
def test_a_hostile_megabyte_takes_seconds_and_not_minutes(piece: str) -> None:
    text = piece * (10**6 // len(piece))
    start = time.process_time()
    run(text)
    program_of(text, "5", text[:1000])
    assert time.process_time() - start < 6


# ---------------------------------------------------------------- the method


def settle(text: str, question: Question = NUMBER) -> Prediction:
    written = (Written("program", text, "stop", 5),)
    return Equation().settle(question, written, "number", {})


def targets(question: Question, rationales: list[Rationale], method: Equation | None = None) -> list[str]:
    form: AnswerForm = "number" if question is NUMBER else "boolean"
    groups = (method or Equation()).examples("program", question, rationales, form)
    assert all(len(group) == 1 for group in groups)
    return [group[0].target for group in groups]


def test_the_target_is_a_program_and_its_result_is_the_prediction() -> None:
    (target,) = targets(NUMBER, [rationale(NUMBER)])
    assert target == "2 + 3 = #1; The answer is #1."
    settled = settle(target)
    assert (settled.settled, settled.written[0].text) == ("The answer is 5.", target)
    assert settled.tokens == 5


def test_a_result_without_an_end_is_settled_as_a_fraction() -> None:
    third = settle("10 / 3 = #1; The answer is #1.")
    assert third.settled == "The answer is 10/3."
    assert judge(third.text, "3.33", "number").name == "correct"
    assert judge(third.text, "3", "number").name == "wrong"
    assert settle("5 / 2 = #1; The answer is #1.").settled == "The answer is 2.5."


def test_a_text_that_is_no_program_is_judged_as_it_is_written() -> None:
    plain = settle("2 + 3 = 5. The answer is 5.")
    assert plain.settled is None
    assert plain.text == "2 + 3 = 5. The answer is 5."
    boolean = Equation().settle(BOOLEAN, (Written("program", "1 = #1; no", "stop", 2),), "boolean", {})
    assert boolean.settled is None


def test_equal_programs_are_learned_once_and_prose_only_where_there_is_none() -> None:
    words = Rationale(NUMBER.id, 1, "Two and three make five.", "5")
    assert targets(NUMBER, [rationale(NUMBER), words, rationale(NUMBER, 2)]) == [
        "2 + 3 = #1; The answer is #1."
    ]
    assert targets(NUMBER, [words]) == ["Two and three make five. The answer is 5."]
    assert targets(NUMBER, [words], Equation(fallback="answer")) == ["The answer is 5."]
    assert targets(BOOLEAN, [rationale(BOOLEAN)]) == ["Pedals need legs. The answer is no."]
    assert targets(NUMBER, []) == []


def test_the_prompt_says_what_is_asked_and_gives_no_answer_away() -> None:
    assert Equation().prompt("program", NUMBER, {}).endswith("How many has he? Program:")


# ---------------------------------------------------------------- whole tasks


def test_every_rationale_of_the_demo_has_a_program_that_comes_to_the_gold() -> None:
    task: Task = shelves.load("tasks", "arithmetic")
    for split in ("dev", "test", "ood"):
        for question in task.load(split, Source()):
            gold = Rationale(question.id, 0, question.rationale, question.answer)
            ((example,),) = Equation().examples("program", question, [gold], "number")
            settled = settle(example.target, question)
            assert settled.settled == f"The answer is {question.answer}."


def test_nineteen_of_twenty_human_solutions_of_gsm8k_have_a_program() -> None:
    folder = shared_data("gsm8k")
    task: Task = shelves.load("tasks", "gsm8k")
    questions = task.load("test", Source(path=str(folder)))
    found = 0
    for question in questions:
        program = program_of(question.rationale, question.answer, question.text)
        if program is not None:
            found += 1
            assert judge(settle(program).text, question.answer, "number").name == "correct"
    assert found > 0.94 * len(questions)
