"""The contract of a method: its stages, what each is trained on, how each is asked, what counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from understudy.roles.learners import Learner
from understudy.roles.spec import Spec
from understudy.roles.tasks import Task
from understudy.roles.teachers import Teacher
from understudy.types import AnswerForm, Example, Prediction, Question, Rationale, RationaleKind, Written


@dataclass(frozen=True, slots=True)
class Stage:
    """One text that a method has written. `share` is its part of the method's training budget; the shares of
    the stages that are trained sum to 1.

    `writes` says what its text is: "answer", "rationale", or "both" (rationale, then answer).
    """

    name: str
    writes: str
    share: float = 1.0
    start_from: str = ""
    """An earlier stage whose trained weights this one starts from; empty for the student's own start."""
    uses: str = ""
    """An earlier stage whose student writes this text too: nothing is trained for it, and its share is 0."""
    by: Literal["student", "untrained", "teacher"] = "student"
    """Who writes it: the student trained for it, the student as it was before training, or the method's
    `answerer`, who is the recipe's teacher where it names none. Only "student" has a share."""
    reads: Literal["teacher", "student", "both"] = "teacher"
    """Whose rationales it is trained on: the teacher's, or those that the earlier stages write for questions
    that they were not trained on (cross-fitted), or both."""
    folds: int = 2
    """Parts that the questions are cut into for cross-fitting."""
    order: Literal["random", "easy_first"] = "random"
    rate: float = 1.0
    """Multiple of the learning rate that it is trained with."""
    stop: tuple[str, ...] = ()
    """Where decoding may stop at test time."""
    asked: bool = True
    """Whether it writes at test time; a stage that only prepares weights for a later one does not."""

    @property
    def trained(self) -> bool:
        return self.by == "student" and not self.uses


class Method(Spec):
    """Which students there are, what each is trained on, and how each is asked. Text in, text out."""

    name: str
    SOURCE: ClassVar[str] = ""
    """Where it comes from: a paper, with its arXiv number; empty for a control of our own."""
    WANTS: ClassVar[frozenset[RationaleKind]] = frozenset()
    """Kinds of rationales besides "right" that `examples` is also given."""
    TUNED: ClassVar[bool] = False
    """Whether `tune` fits something on dev before the test splits are answered."""

    def wants(self) -> frozenset[RationaleKind]:
        """As `WANTS`, unless it depends on a field."""
        return self.WANTS

    def for_task(self, task: Task) -> Method:
        """The method as it is asked on this task: with the task's exemplars and form of answers, where it
        wants them. Raises RecipeError if the task lacks them."""
        del task
        return self

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]: ...

    @abstractmethod
    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """Training groups of one question. The examples of a group always share a batch."""

    @abstractmethod
    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str | None:
        """The source text at test time; `written` maps earlier stages to what they wrote. None where the
        stage has nothing to write for this question."""

    def learner(self, stage: str) -> Learner | None:
        """Who trains the stage; None for plain supervised training on its examples."""
        del stage
        return None

    def answerer(self) -> Teacher | None:
        """Who writes the stages whose `by` is "teacher"; None for the recipe's teacher."""
        return None

    def settle(
        self,
        question: Question,
        written: Sequence[Written],
        form: AnswerForm,
        tuned: Mapping[str, Any],
    ) -> Prediction:
        """What was written, as the prediction that is judged. `tuned` is what `tune` returned, if it ran."""
        del form, tuned
        return Prediction(question.id, tuple(written))

    def tune(self, rows: Sequence[tuple[Question, Sequence[Written]]], form: AnswerForm) -> dict[str, Any]:
        """What is fitted on dev, as plain values. Never sees a test split."""
        del rows, form
        return {}
