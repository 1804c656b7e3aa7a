"""What state are the rationales in? Every check of `checks/` and of the judge, as a rate.

Over all that the teacher wrote, and over what curation kept: a fault that the filters do not look at shows in
the second. The catch: a check flags what its rule describes, not what is bad; a rationale without an
equation cannot have a wrong one, so that share is of those that have any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from understudy import answers
from understudy.audit.material import Answered, Material
from understudy.audit.section import Section
from understudy.audit.shares import cells, raw, said
from understudy.checks.equations import equations
from understudy.checks.likeness import near_duplicates
from understudy.types import AnswerForm

ALIKE = 0.8
"""Jaccard likeness of word shingles from which two rationales of a question count as one."""
LISTED = 5
COLUMNS = ("check", "written", "of", "share", "kept", "of", "share")


@dataclass(frozen=True, slots=True)
class _Checked:
    """One rationale and all that the checks say of it."""

    one: Answered
    has_equation: bool
    wrong_equation: bool
    loop: bool
    cut_off: bool
    no_answer: bool
    readings_differ: bool
    answers_differ: bool
    near_copy: bool


def quality(material: Material) -> Section:
    copies = _near_copies(material.answered)
    checked = [_checked(one, material.form, copies) for one in material.answered]
    kept = [one for one in checked if one.one.kept]
    counted = {name: (_count(checked, name), _count(kept, name)) for name in _CHECKS}
    lengths = [_lengths(group) for group in (checked, kept)]
    return Section(
        "quality",
        "What state are the rationales in?",
        _sentences(checked, kept, lengths),
        COLUMNS,
        tuple((name, *cells(*written), *cells(*of_kept)) for name, (written, of_kept) in counted.items()),
        {
            "written": {_CHECKS[name][0]: raw(*written) for name, (written, _) in counted.items()}
            | {"words": lengths[0]},
            "kept": {_CHECKS[name][0]: raw(*of_kept) for name, (_, of_kept) in counted.items()}
            | {"words": lengths[1]},
        },
    )


_CHECKS: dict[str, tuple[str, Callable[[_Checked], bool], Callable[[_Checked], bool]]] = {
    "holds an equation": ("equations", lambda _: True, lambda one: one.has_equation),
    "holds a wrong equation": (
        "wrong_equations",
        lambda one: one.has_equation,
        lambda one: one.wrong_equation,
    ),
    "repeats itself in a loop": ("loops", lambda _: True, lambda one: one.loop),
    "was cut off by its length limit": ("cut_off", lambda _: True, lambda one: one.cut_off),
    "gives no answer that can be read": ("no_answer", lambda _: True, lambda one: one.no_answer),
    "strict and flexible reading differ": (
        "readings_differ",
        lambda _: True,
        lambda one: one.readings_differ,
    ),
    "states another answer before": ("answers_differ", lambda _: True, lambda one: one.answers_differ),
    "is nearly a copy of another of its question": (
        "near_copies",
        lambda _: True,
        lambda one: one.near_copy,
    ),
}
"""Name -> key, of which rationales it is a share, and whether it holds."""


def _count(group: Sequence[_Checked], name: str) -> tuple[int, int]:
    _, counts, holds = _CHECKS[name]
    among = [one for one in group if counts(one)]
    return sum(holds(one) for one in among), len(among)


def _checked(one: Answered, form: AnswerForm, copies: set[tuple[str, int]]) -> _Checked:
    verdict = one.verdict
    found = equations(one.text)
    return _Checked(
        one,
        has_equation=bool(found),
        wrong_equation=any(not equation.holds for equation in found),
        loop=answers.loop(one.completion.text) is not None,
        cut_off=one.completion.finish_reason == "length",
        no_answer=verdict.name == "no_answer",
        readings_differ=verdict.strict != verdict.name,
        answers_differ=_states_another(one, form),
        near_copy=(one.question.id, one.completion.sample) in copies,
    )


def _states_another(one: Answered, form: AnswerForm) -> bool:
    """Whether what stands before the final statement states an answer that is not the final one. Read as a
    text that was cut off, only statements count in it; the new line says that its last one is whole."""
    if one.verdict.extracted is None or one.text == one.completion.text:
        return False
    before = answers.read(f"{one.text}\n", form, one.question.choices, cut_off=True).answer
    return before is not None and before != one.verdict.extracted


def _near_copies(answered: Sequence[Answered]) -> set[tuple[str, int]]:
    """Which (question, sample) is nearly a copy of an earlier sample."""
    groups: dict[str, list[Answered]] = defaultdict(list)
    for one in answered:
        groups[one.question.id].append(one)
    return {
        (question, one.completion.sample)
        for question, group in groups.items()
        for one, earlier in zip(group, near_duplicates([one.text for one in group], ALIKE), strict=True)
        if earlier is not None
    }


def _lengths(group: Sequence[_Checked]) -> dict[str, Any]:
    words = [len(one.one.text.split()) for one in group]
    if not words:
        return {"n": 0, "mean": None, "min": None, "max": None}
    return {"n": len(words), "mean": fmean(words), "min": min(words), "max": max(words)}


# ---------------------------------------------------------------- in words


def _sentences(
    checked: Sequence[_Checked], kept: Sequence[_Checked], lengths: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    if not checked:
        return ("The teacher wrote nothing that can be looked at.",)
    sentences = [_finding(checked, "written")]
    if kept:
        sentences.append(_finding(kept, "kept"))
    for name, words in zip(("written", "kept"), lengths, strict=True):
        if words["n"]:
            sentences.append(
                f"The {words['n']} rationales {name} have {words['mean']:.1f} words on average, from "
                f"{words['min']} to {words['max']}."
            )
    differing = [one.one for one in checked if one.readings_differ][:LISTED]
    if differing:
        sentences.append(f"The readings differ first in: {'; '.join(map(_named, differing))}.")
    return tuple(sentences)


def _finding(group: Sequence[_Checked], name: str) -> str:
    faulty = sum(
        one.wrong_equation or one.loop or one.cut_off or one.no_answer or one.answers_differ for one in group
    )
    wrong = _count(group, "holds a wrong equation")
    return (
        f"{said(faulty, len(group))} rationales {name} have a fault (a wrong equation, a loop, a cut end, "
        f"no answer, or two); of those with an equation {said(*wrong)} hold a wrong one."
    )


def _named(one: Answered) -> str:
    strict, flexible = one.verdict.strict_extracted or "nothing", one.verdict.extracted or "nothing"
    return (
        f"question {one.question.id}, sample {one.completion.sample} (strict {strict}, flexible {flexible})"
    )
