"""How questions are put: to students in one line, to teachers as few-shot or zero-shot messages.

A teacher's prompt is always one user message (after an optional system message), few-shot examples
included, and it ends where the reasoning begins: a chat model answers it and a base model continues
it, so one prompt serves both. The sentence it asks for is written by `answers.write`, next to the rules
that read it back. The catch: with `show_answer` a final-answer filter passes almost everything, so
the keep rate then says nothing about the teacher.
"""

from __future__ import annotations

from typing import Literal, Protocol, Self

from pydantic import Field, model_validator

from understudy import answers
from understudy.errors import RecipeError
from understudy.roles import Spec
from understudy.types import LABELS, AnswerForm, Exemplar, Message, Question


class Shown(Protocol):
    """What a prompt shows of a task: a Task, or whatever else names its exemplars and its form of answers."""

    @property
    def name(self) -> str: ...

    @property
    def form(self) -> AnswerForm: ...

    @property
    def exemplars(self) -> tuple[Exemplar, ...]: ...


class PromptSpec(Spec):
    """How the teacher is asked. `show_answer` puts the gold answer after the question and before the
    rationale, in the exemplars and in the query (Magister et al.)."""

    style: Literal["few_shot", "zero_shot", "bare"] = "few_shot"
    """"bare" is the student's own one-line form, for teachers that are trained students."""
    exemplars: int = Field(8, ge=0)
    """How many of the task's exemplars are shown at most, from the front."""
    show_answer: bool = False
    system: str | tuple[str, ...] = ""
    """Instructions that the teacher gets and the student never sees (prompt erasure as in Orca 2, arXiv
    2311.11045). Of several, sample i is asked for under entry i, from the first again."""

    def systems(self) -> tuple[str, ...]:
        return (self.system,) if isinstance(self.system, str) else self.system

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.style == "bare" and self.show_answer:
            raise ValueError("style 'bare' cannot show the answer; use few_shot or zero_shot")
        if self.style == "few_shot" and self.exemplars == 0:
            raise ValueError("style 'few_shot' needs at least one exemplar; without any it is zero_shot")
        if not self.systems():
            raise ValueError("the list of system instructions is empty; leave it out, or name some")
        return self


_BLANK: dict[AnswerForm, str] = {
    "number": "<number>",
    "choice": "<letter>",
    "boolean": "<yes or no>",
    "text": "<answer>",
    "letters": "<letters>",
    "list": "<first>; <second>; ...",
}


def messages(question: Question, task: Shown, spec: PromptSpec) -> tuple[Message, ...]:
    """What the teacher is asked about one question.

    Raises RecipeError if examples are to be shown and the task has none.
    """
    first = spec.systems()[0]
    system = (Message("system", first),) if first else ()
    if spec.style == "bare":
        return (*system, Message("user", render(question)))
    blocks = [_instruction(task.form, spec)]
    if spec.style == "few_shot":
        blocks += _examples(task, spec)
    start = "Reasoning: Let's think step by step." if spec.style == "zero_shot" else "Reasoning:"
    blocks.append(_asked(question, task.form, spec.show_answer) + "\n" + start)
    return (*system, Message("user", "\n\n".join(blocks)))


def render(question: Question) -> str:
    """The question in one line, as students read it: T5's tokenizer has no newline to lose.

    The layout is that of Sci-CoT's closest public code (multimodal-CoT), with spaces for newlines.
    """
    parts = [f"Question: {question.text}"]
    if question.context:
        parts.append(f"Context: {question.context}")
    if question.choices:
        parts.append(f"Options: {_options(question.choices)}")
    return " ".join(" ".join(part.split()) for part in parts)


def _instruction(form: AnswerForm, spec: PromptSpec) -> str:
    closing = f'end with the sentence "{answers.write(_BLANK[form], form)}"'
    if spec.show_answer:
        given = "The correct answer is given; explain, step by step, the reasoning that leads to it"
        return f"{given}, without saying that it was given, and {closing}"
    if spec.style == "few_shot":
        return f"Answer the last question as in the examples: reason step by step, and {closing}"
    return f"Answer the question: reason step by step, and {closing}"


def _examples(task: Shown, spec: PromptSpec) -> list[str]:
    shown = task.exemplars[: spec.exemplars]
    if not shown:
        raise RecipeError(f"the task '{task.name}' has no examples to show; set prompt.style to zero_shot")
    blocks = []
    for exemplar in shown:
        question = Question(exemplar.question, exemplar.answer, exemplar.choices)
        final = answers.write(exemplar.answer, task.form)
        blocks.append(
            f"{_asked(question, task.form, spec.show_answer)}\nReasoning: {exemplar.rationale} {final}"
        )
    return blocks


def _asked(question: Question, form: AnswerForm, show_answer: bool) -> str:
    lines = [f"Question: {question.text}"]
    if question.context:
        lines.append(f"Context: {question.context}")
    if question.choices:
        lines.append(f"Options: {_options(question.choices)}")
    if show_answer:
        answer = f"({question.answer})" if form == "choice" else question.answer
        lines.append(f"Correct answer: {answer}")
    return "\n".join(lines)


def _options(choices: tuple[str, ...]) -> str:
    return " ".join(f"({LABELS[i]}) {text}" for i, text in enumerate(choices))
