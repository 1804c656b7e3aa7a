"""few_shot: nobody is trained; a student as it is, or the teacher, is shown exemplars (arXiv 2201.11903).

The prompt is the teacher's own of `prompt.style: few_shot`, with the task's exemplars, so both are asked the
same. The catch: a student from scratch writes noise before it is trained, a small checkpoint often gets worse
when it is shown how to reason, and eight exemplars may be longer than it can read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from understudy.errors import RecipeError
from understudy.prompts import PromptSpec, messages
from understudy.roles import Method, Stage, Task
from understudy.types import AnswerForm, Example, Exemplar, Question, Rationale

__all__ = ["FewShot"]


class FewShot(Method):
    """A baseline that shows what training adds to being shown."""

    name: Literal["few_shot"] = "few_shot"
    SOURCE: ClassVar[str] = "Wei et al., Chain-of-Thought Prompting, arXiv 2201.11903"
    who: Literal["student", "teacher"] = "student"
    """Who answers: the student before any training, or the recipe's teacher."""
    shots: int = Field(8, gt=0)
    """How many exemplars are shown at most, from the front."""
    exemplars: tuple[Exemplar, ...] = ()
    """What is shown; a run takes its task's where it is left out."""
    form: AnswerForm = "text"
    """What answers look like, for the sentence that is asked for; a run takes it from its task."""

    def for_task(self, task: Task) -> FewShot:
        shown = (self.exemplars or task.exemplars)[: self.shots]
        if not shown:
            raise RecipeError(
                f"the task '{task.name}' has no exemplars to show: give the method 'few_shot' its own "
                "'exemplars', or use zero_shot"
            )
        return self.model_copy(update={"form": task.form, "exemplars": shown})

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
        spec = PromptSpec(style="few_shot", exemplars=self.shots)
        return messages(question, self, spec)[-1].content
