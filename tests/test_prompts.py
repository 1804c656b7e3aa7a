"""Each kind of prompt, word for word."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from understudy import answers
from understudy.errors import RecipeError
from understudy.prompts import PromptSpec, messages, render
from understudy.roles import Task
from understudy.types import AnswerForm, Exemplar, Message, Question

SUM = Question("Ann has 2 pears and buys 3. How many now?", "5")
SKY = Question("Which is up?", "B", ("the sea", "the sky"), context="Look around.")


def task(form: AnswerForm, *exemplars: Exemplar) -> Task:
    return Task("toy", "Toy", form, ("train",), lambda split, source: [], exemplars, "none", "")


NUMBERS = task("number", Exemplar("What is 1 + 1?", "1 + 1 = 2.", "2"), Exemplar("And 3?", "It is 3.", "3"))
CHOICES = task("choice", Exemplar("Which is wet?", "Water is wet.", "A", ("water", "sand")))


def text(question: Question, of: Task, spec: PromptSpec) -> str:
    (message,) = messages(question, of, spec)
    assert message.role == "user"
    return message.content


def test_few_shot() -> None:
    assert text(SUM, NUMBERS, PromptSpec()) == (
        "Answer the last question as in the examples: reason step by step, and end with the sentence "
        '"The answer is <number>."\n'
        "\n"
        "Question: What is 1 + 1?\n"
        "Reasoning: 1 + 1 = 2. The answer is 2.\n"
        "\n"
        "Question: And 3?\n"
        "Reasoning: It is 3. The answer is 3.\n"
        "\n"
        "Question: Ann has 2 pears and buys 3. How many now?\n"
        "Reasoning:"
    )


def test_few_shot_with_the_answer_shown_in_examples_and_query() -> None:
    assert text(SKY, CHOICES, PromptSpec(show_answer=True)) == (
        "The correct answer is given; explain, step by step, the reasoning that leads to it, without "
        'saying that it was given, and end with the sentence "The answer is (<letter>)."\n'
        "\n"
        "Question: Which is wet?\n"
        "Options: (A) water (B) sand\n"
        "Correct answer: (A)\n"
        "Reasoning: Water is wet. The answer is (A).\n"
        "\n"
        "Question: Which is up?\n"
        "Context: Look around.\n"
        "Options: (A) the sea (B) the sky\n"
        "Correct answer: (B)\n"
        "Reasoning:"
    )


def test_zero_shot() -> None:
    assert text(SUM, NUMBERS, PromptSpec(style="zero_shot")) == (
        'Answer the question: reason step by step, and end with the sentence "The answer is <number>."\n'
        "\n"
        "Question: Ann has 2 pears and buys 3. How many now?\n"
        "Reasoning: Let's think step by step."
    )


def test_zero_shot_with_the_answer_shown() -> None:
    question = Question("Is ice cold?", "yes")
    assert text(question, task("boolean"), PromptSpec(style="zero_shot", show_answer=True)) == (
        "The correct answer is given; explain, step by step, the reasoning that leads to it, without "
        'saying that it was given, and end with the sentence "The answer is <yes or no>."\n'
        "\n"
        "Question: Is ice cold?\n"
        "Correct answer: yes\n"
        "Reasoning: Let's think step by step."
    )


def test_bare_is_what_students_read() -> None:
    assert text(SKY, CHOICES, PromptSpec(style="bare")) == render(SKY)
    assert render(SKY) == "Question: Which is up? Context: Look around. Options: (A) the sea (B) the sky"


@pytest.mark.parametrize("style", ["few_shot", "zero_shot", "bare"])
def test_without_show_answer_the_gold_is_nowhere(style: str) -> None:
    secret = replace(SUM, answer="31337")
    assert "31337" not in text(secret, NUMBERS, PromptSpec.model_validate({"style": style}))


def test_fewer_exemplars_are_taken_from_the_front() -> None:
    prompt = text(SUM, NUMBERS, PromptSpec(exemplars=1))
    assert "What is 1 + 1?" in prompt
    assert "And 3?" not in prompt


def test_a_system_message_stands_first() -> None:
    first, second = messages(SUM, NUMBERS, PromptSpec(system="Be brief."))
    assert first == Message("system", "Be brief.")
    assert second.role == "user"


@pytest.mark.parametrize(
    ("form", "answer", "choices"),
    [
        ("number", "72", ()),
        ("number", "1/2", ()),
        ("choice", "B", ("the sea", "the sky")),
        ("boolean", "no", ()),
        ("text", "nk", ()),
    ],
)
def test_what_an_exemplar_ends_with_is_what_the_judge_reads(
    form: AnswerForm, answer: str, choices: tuple[str, ...]
) -> None:
    shown = task(form, Exemplar("Q?", "Because.", answer, choices))
    example = text(Question("Other?", answer, choices), shown, PromptSpec()).split("\n\n")[1]
    assert answers.judge(example, answer, form, choices).name == "correct"
    assert answers.reasoning(example.partition("Reasoning: ")[2], form, choices) == "Because."


def test_a_task_without_exemplars_says_what_to_do() -> None:
    with pytest.raises(RecipeError, match=r"'toy' has no examples to show; set prompt.style to zero_shot"):
        messages(SUM, task("number"), PromptSpec())


@pytest.mark.parametrize("fields", [{"style": "bare", "show_answer": True}, {"exemplars": 0}])
def test_combinations_that_mean_nothing_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"bare|zero_shot"):
        PromptSpec.model_validate(fields)
