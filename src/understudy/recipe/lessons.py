"""Which methods a recipe cannot run with its teacher, its students and the way rationales are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.policies import PolicySpec
from understudy.prompts import PromptSpec
from understudy.recipe.text import Problem
from understudy.roles import Method, StoppingSpec, Student, Teacher
from understudy.training.accuracy import answers_alone

LOGITS = ("student", "transformers")
"""Teachers whose model can be loaded beside a student's."""


def impossible(
    index: int,
    method: Method,
    students: Sequence[Student],
    teachers: Sequence[Teacher],
    prompt: PromptSpec,
    policy: PolicySpec,
) -> Iterator[Problem]:
    """What stands in the way of the method at this place of the recipe."""
    keys = ("methods", index, "name")
    for stage in method.stages():
        learner = method.learner(stage.name)
        if learner is None:
            continue
        for student in students:
            if student.name not in learner.ARCHITECTURES:
                able = " or ".join(learner.ARCHITECTURES)
                yield Problem(
                    keys,
                    f"the method '{method.name}' trains {able} students and not '{student.name}': name "
                    "those it is for in its 'students'",
                )
        if learner.NEEDS_TEACHER and (len(teachers) != 1 or teachers[0].name not in LOGITS):
            yield Problem(
                keys,
                f"the method '{method.name}' needs a teacher that gives logits: a 'student' or a "
                "'transformers' one, and no other beside it",
            )
    wants = method.wants()
    if "hinted" in wants and policy.hint != "failed":
        yield Problem(
            keys,
            f"the method '{method.name}' learns from rationales that were asked for again with the answer "
            "shown: set 'sampling.hint: failed'",
        )
    if "counterfactual" in wants and prompt.style == "bare":
        yield Problem(
            keys,
            f"the method '{method.name}' shows the teacher wrong answers to argue for, which style 'bare' "
            "cannot: use few_shot or zero_shot",
        )


def unmeasured(index: int, method: Method, stopping: StoppingSpec | None) -> Iterator[Problem]:
    """What keeps the trainings of the method from being measured on dev while they run."""
    for stage in method.stages():
        if stopping is None or not stage.trained:
            continue
        if stopping.metric == "dev_loss" and method.learner(stage.name) is not None:
            other, why = "dev_accuracy", "has a loss of its own, which dev's rationales do not measure"
        elif stopping.metric == "dev_accuracy" and not answers_alone(method, stage.name):
            other, why = "dev_loss", f"has the stage '{stage.name}', which answers nothing by itself"
        else:
            continue
        sentence = f"the method '{method.name}' {why}: set 'train.stopping.metric: {other}'"
        yield Problem(("methods", index, "name"), sentence)
