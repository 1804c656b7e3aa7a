"""Which questions does curation lose? A filter of right answers keeps what the teacher finds easy.

Questions without any rationale left are compared with those that have one, trait by trait: length, reasoning
steps, number of options, and what the gold answer is. The catch: a trait that does not differ was perhaps
not measured; and where few are lost, no test can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from typing import Any

from understudy import answers
from understudy.audit.material import Material
from understudy.audit.section import Section
from understudy.audit.shares import said
from understudy.report.wording import SIGNIFICANCE, p_value, percent, points
from understudy.statistics import benjamini_hochberg
from understudy.types import AnswerForm, Question

FEWEST = 10
"""Questions on either side below which nothing is tested."""
SMALL = 5
"""Expected questions of a cell below which chi-squared is not to be trusted (Cochran's rule)."""
COLUMNS = ("trait", "lost", "kept", "difference", "p", "p adjusted")


@dataclass(frozen=True, slots=True)
class _Compared:
    """One trait on both sides, in words, and the test's p where there is one."""

    trait: str
    lost: str
    kept: str
    effect: str
    p_value: float | None
    numbers: dict[str, Any]


def bias(material: Material) -> Section:
    """Questions that the teacher answered and curation left without a rationale, beside the others."""
    answered = {one.question.id for one in material.answered}
    left = {rationale.question_id for rationale in material.rationales}
    asked = [question for question in material.questions if question.id in answered]
    kept = [question for question in asked if question.id in left]
    lost = [question for question in asked if question.id not in left]
    compared = _compare(lost, kept, material.form) if lost and kept else []
    adjusted = _adjusted([one.p_value for one in compared])
    return Section(
        "bias",
        "Which questions were lost?",
        _sentences(lost, kept, compared, adjusted),
        COLUMNS if compared else (),
        tuple(
            (one.trait, one.lost, one.kept, one.effect, _p(one.p_value), _p(p))
            for one, p in zip(compared, adjusted, strict=True)
        ),
        {
            "lost": len(lost),
            "kept": len(kept),
            "traits": {
                one.trait: {**one.numbers, "p": one.p_value, "p_adjusted": p}
                for one, p in zip(compared, adjusted, strict=True)
            },
        },
    )


def _compare(lost: Sequence[Question], kept: Sequence[Question], form: AnswerForm) -> list[_Compared]:
    """Traits that all questions share tell nothing and are left out."""
    found = [_measured(name, measure, lost, kept) for name, measure in _MEASURES.items()]
    found += [_sorted(name, sort, lost, kept) for name, sort in _SORTS.get(form, {}).items()]
    return [one for one in found if one is not None]


# ---------------------------------------------------------------- traits

_MEASURES: dict[str, Callable[[Question], int | None]] = {
    "words in the question": lambda question: len(f"{question.context} {question.text}".split()),
    "reasoning steps": lambda question: question.steps,
    "options": lambda question: len(question.choices) or None,
}


def _number(question: Question) -> Fraction | None:
    try:
        return Fraction(answers.canonical(question.answer, "number") or "")
    except (ValueError, ZeroDivisionError):
        return None  # several numbers, a time, a formula


_SIZES = {"below 10": 10, "10 to below 100": 100, "100 to below 1000": 1000}
_LARGEST, _NO_SIZE = "1000 or more", "not one number"
_ORDER = (*_SIZES, _LARGEST, _NO_SIZE)


def _size(question: Question) -> str:
    number = _number(question)
    if number is None:
        return _NO_SIZE
    return next((name for name, bound in _SIZES.items() if abs(number) < bound), _LARGEST)


def _wholeness(question: Question) -> str:
    number = _number(question)
    return "whole" if number is not None and number.denominator == 1 else "not whole"


def _class(form: AnswerForm) -> Callable[[Question], str]:
    return lambda question: answers.canonical(question.answer, form, question.choices) or ""


_SORTS: dict[AnswerForm, dict[str, Callable[[Question], str]]] = {
    "number": {"size of the gold number": _size, "gold number": _wholeness},
    "choice": {"gold label": _class("choice")},
    "boolean": {"gold answer": _class("boolean")},
}


# ---------------------------------------------------------------- tests


def _testable(lost: int, kept: int) -> bool:
    return min(lost, kept) >= FEWEST


def _measured(
    trait: str, measure: Callable[[Question], int | None], lost: Sequence[Question], kept: Sequence[Question]
) -> _Compared | None:
    """Means, and how often a lost question has more of the trait than a kept one (Mann-Whitney U)."""
    a = [value for question in lost if (value := measure(question)) is not None]
    b = [value for question in kept if (value := measure(question)) is not None]
    if not a or not b or len({*a, *b}) == 1:
        return None
    from scipy.stats import mannwhitneyu

    test = mannwhitneyu(a, b, alternative="two-sided")
    more = float(test.statistic) / (len(a) * len(b))
    return _Compared(
        trait,
        f"mean {fmean(a):.1f} (n = {len(a)})",
        f"mean {fmean(b):.1f} (n = {len(b)})",
        f"in {percent(more)} of pairs the lost one has more",
        float(test.pvalue) if _testable(len(a), len(b)) else None,
        {"mean_lost": fmean(a), "mean_kept": fmean(b), "n_lost": len(a), "n_kept": len(b), "more": more},
    )


def _sorted(
    trait: str, sort: Callable[[Question], str], lost: Sequence[Question], kept: Sequence[Question]
) -> _Compared | None:
    """Counts of each class, and the class whose share differs most."""
    a, b = Counter(map(sort, lost)), Counter(map(sort, kept))
    classes = sorted({*a, *b}, key=lambda name: (_ORDER.index(name) if name in _ORDER else 0, name))
    if len(classes) == 1:
        return None
    differences = {name: a[name] / len(lost) - b[name] / len(kept) for name in classes}
    most = max(classes, key=lambda name: abs(differences[name]))
    return _Compared(
        trait,
        ", ".join(f"{name}: {a[name]}" for name in classes),
        ", ".join(f"{name}: {b[name]}" for name in classes),
        f"{most}: {percent(a[most] / len(lost))} of the lost, {percent(b[most] / len(kept))} of the kept "
        f"({points(differences[most])} points)",
        _association([(a[name], b[name]) for name in classes]) if _testable(len(lost), len(kept)) else None,
        {"lost": {name: a[name] for name in classes}, "kept": {name: b[name] for name in classes}},
    )


def _association(table: list[tuple[int, int]]) -> float:
    """p of lost and kept over the classes: chi-squared; the rarest classes go together until every cell
    may expect five questions, and what is still too small as two classes gets Fisher's exact test."""
    from numpy import array
    from scipy.stats import chi2_contingency, fisher_exact

    rows = sorted(table, key=sum)
    while len(rows) > 2 and _least_expected(rows) < SMALL:
        first, second, *rest = rows
        rows = sorted([(first[0] + second[0], first[1] + second[1]), *rest], key=sum)
    if _least_expected(rows) < SMALL:
        return float(fisher_exact(array(rows)).pvalue)
    return float(chi2_contingency(rows, correction=False).pvalue)


def _least_expected(rows: Sequence[tuple[int, int]]) -> float:
    columns = [sum(row[i] for row in rows) for i in (0, 1)]
    return min(sum(row) for row in rows) * min(columns) / sum(columns)


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    adjusted = iter(benjamini_hochberg([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


# ---------------------------------------------------------------- in words


def _p(p: float | None) -> str:
    return "–" if p is None else p_value(p).removeprefix("= ")


def _sentences(
    lost: Sequence[Question],
    kept: Sequence[Question],
    compared: Sequence[_Compared],
    adjusted: Sequence[float | None],
) -> tuple[str, ...]:
    if not lost or not kept:
        none = "no" if not lost else "every"
        return (f"Of {len(lost) + len(kept)} answered questions {none} question was lost.",)
    share = f"{said(len(lost), len(lost) + len(kept))} answered questions have no rationale left"
    if not _testable(len(lost), len(kept)):
        few = "lost" if len(lost) < FEWEST else "kept"
        return (f"{share}; too few were {few} to tell whether they are of another kind.",)
    apart = [
        f"{one.trait} ({one.effect}; adjusted p {p_value(p)})"
        for one, p in zip(compared, adjusted, strict=True)
        if p is not None and p < SIGNIFICANCE
    ]
    verdict = f"they differ from the others in {'; '.join(apart)}" if apart else "no trait tells them apart"
    return (f"{share}; {verdict}.", f"{len(compared)} traits were compared (Benjamini-Hochberg).")
