"""zero_shot: nobody is trained; a student as it is, or the teacher, is told to reason (arXiv 2205.11916).

The prompt is the teacher's own of `prompt.style: zero_shot`, so both are asked the same. One text is written,
from which the judge reads the answer; the paper asks a second time for it. The catch: a student from scratch
writes noise before it is trained; this is for checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from understudy.prompts import PromptSpec, messages
from understudy.roles import Method, Stage, Task
from understudy.types import AnswerForm, Example, Exemplar, Question, Rationale

__all__ = ["ZeroShot"]


class ZeroShot(Method):
    """A baseline that shows what training adds."""

    name: Literal["zero_shot"] = "zero_shot"
    SOURCE: ClassVar[str] = "Kojima et al., Large Language Models are Zero-Shot Reasoners, arXiv 2205.11916"
    who: Literal["student", "teacher"] = "student"
    """Who answers: the student before any training, or the recipe's teacher."""
    form: AnswerForm = "text"
    """What answers look like, for the sentence that is asked for; a run takes it from its task."""

    @property
    def exemplars(self) -> tuple[Exemplar, ...]:
        return ()

    def for_task(self, task: Task) -> ZeroShot:
        return self.model_copy(update={"form": task.form})

    def stages(self) -> tuple[Stage, ...]:
        by: Literal["untrained", "teacher"] = "untrained" if self.who == "student" else "teacher"
        stop = ("\nQuestion:",) if self.who == "student" else ()
        return (Stage("rationale", writes="both", share=0, by=by, stop=stop),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """None: nothing is trained."""
        del stage, question, rationales, form
        return []

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        del stage, written
        return messages(question, self, PromptSpec(style="zero_shot"))[-1].content
