"""lm_guided: the student writes the rationale, and a frozen large model answers from it (arXiv 2404.03414).

Only the small model is trained, and the large one need write no more than an answer. The paper also refines
the rationales by reinforcement learning; here they are distilled, no more. The catch: the large model may
know the answer without the rationale, so look at it beside few_shot or zero_shot by the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import SerializeAsAny, field_validator

from understudy import shelves
from understudy.answers import CUE, read, reasoning
from understudy.errors import RecipeError
from understudy.prompts import render
from understudy.roles import Method, Stage, Teacher
from understudy.types import AnswerForm, Example, Prediction, Question, Rationale, Written

__all__ = ["LmGuided"]


class LmGuided(Method):
    """A student that reasons for a model that answers."""

    name: Literal["lm_guided"] = "lm_guided"
    SOURCE: ClassVar[str] = "Lee et al., LM-Guided Chain-of-Thought, arXiv 2404.03414"
    reader: SerializeAsAny[Teacher] | None = None
    """Who reads the rationale and answers, named as a teacher is; the recipe's teacher where it is left
    out."""

    @field_validator("reader", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A teacher's name, or its keys, as the spec on the shelf of teachers."""
        values = {"name": value} if isinstance(value, str) else value
        if not isinstance(values, Mapping):
            return value
        name = values.get("name")
        if not isinstance(name, str):
            raise ValueError(
                f"its 'name' should be one of the teachers: {', '.join(shelves.names('teachers'))}"
            )
        try:
            spec = shelves.load("teachers", name)
        except RecipeError as error:
            raise ValueError(str(error)) from error
        if not (isinstance(spec, type) and issubclass(spec, Teacher)):
            raise ValueError(f"'{name}' is not one of the teachers")
        unknown = sorted(set(values) - set(spec.model_fields))
        if unknown:
            there = ", ".join(spec.model_fields)
            raise ValueError(f"unknown key '{unknown[0]}'; the keys of the teacher '{name}' are {there}")
        teacher = spec.model_validate(dict(values))
        if teacher.apprenticeship():
            raise ValueError("it cannot be a model that this run trains; name another")
        return teacher

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("rationale", writes="rationale"),
            Stage("answer", writes="answer", share=0, by="teacher"),
        )

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """One example a rationale, of the first stage."""
        del form
        if stage != "rationale":
            return []
        source = self.prompt(stage, question, {})
        return [(Example(question.id, source, r.text, "rationale"),) for r in rationales]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        """To the answerer: a text that a chat model completes, and that an apprentice of bare questions goes
        on with as with its own."""
        if stage == "rationale":
            return f"{render(question)} Solution:"
        return " ".join(f"{render(question)} {written['rationale']} {CUE}".split())

    def answerer(self) -> Teacher | None:
        return self.reader

    def settle(
        self,
        question: Question,
        written: Sequence[Written],
        form: AnswerForm,
        tuned: Mapping[str, Any],
    ) -> Prediction:
        """An answer that goes on from the cue is read with it; one that makes a statement of its own, as it
        stands."""
        del tuned
        text, whole = written[-1].text, f"{CUE} {written[-1].text.strip()}"
        states = reasoning(text, form, question.choices) != text
        readable = read(whole, form, question.choices).answer is not None
        return Prediction(question.id, tuple(written), whole if readable and not states else None)
