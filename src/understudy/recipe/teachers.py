"""Which teachers a recipe cannot name together, or not with its methods and machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from understudy.recipe.text import Keys, Problem
from understudy.roles import Method, Teacher

BATCH = "openai_batch"
STUDENT = "student"


def impossible_teachers(
    teacher: Teacher | None, several: Sequence[tuple[str, Teacher]], priced: bool
) -> Iterator[Problem]:
    """What is wrong with who is named: the one `teacher`, or (label, teacher) of `several`. `priced` says
    whether the recipe gives a price for `teacher`."""
    if not several:
        return
    if teacher is not None:
        yield Problem(("teachers",), "the recipe gives both 'teacher' and 'teachers'; keep one of them")
    if priced:
        sentence = "'price' is that of 'teacher'; give each entry of 'teachers' a 'price' of its own"
        yield Problem(("price",), sentence)
    for index, (_, one) in enumerate(several):
        if one.name == STUDENT or one.apprenticeship():
            yield Problem(
                ("teachers", index, "name"),
                f"a '{one.name}' teacher is asked in a prompt of its own and must be the only one: name it "
                "in 'teacher', or take it out of 'teachers'",
            )
    numbered = enumerate(several)
    for (_, (first, one)), (index, (label, other)) in combinations(numbered, 2):
        if one.decisive() == other.decisive():
            yield Problem(
                ("teachers", index),
                f"the teachers '{first}' and '{label}' are one and the same: remove one of them",
            )


def impossible_answerers(methods: Sequence[Method], teachers: Sequence[Teacher]) -> Iterator[Problem]:
    """Methods whose stages the recipe's teacher writes, where nobody knows which of several that is."""
    for index, method in enumerate(methods):
        asks = any(stage.by == "teacher" for stage in method.stages())
        if asks and method.answerer() is None and len(teachers) > 1:
            yield Problem(
                ("methods", index, "name"),
                f"the method '{method.name}' asks the recipe's teacher to answer, and there are "
                f"{len(teachers)}: name one who answers in its keys, or one 'teacher' for the recipe",
            )


def impossible_machines(named: Sequence[tuple[Keys, Teacher]]) -> Iterator[Problem]:
    """Teachers, with their keys, that cannot be asked from many machines."""
    for keys, teacher in named:
        if teacher.name == BATCH:
            yield Problem(
                (*keys, "name"),
                f"the teacher '{BATCH}' leaves its requests with the provider, so there is nothing to spread "
                "over machines: remove 'ray', or ask the same model with 'openai'",
            )
