"""`understudy compare`: two sets of answers to the same questions, paired question by question.

Either side may be a run of ours, samples of lm-evaluation-harness or a log of inspect_ai. Only the questions
that both answered are compared, joined by `Question.id`, and what is left out is said. The catch: one
training of each is compared here, so nothing is said about other seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from understudy.comparing.side import Side
from understudy.errors import DataError
from understudy.statistics import (
    Difference,
    McNemar,
    mcnemar_exact,
    minimum_detectable_difference,
    paired_bootstrap,
    wilson,
)

__all__ = ["Comparison", "Part", "compare"]


@dataclass(frozen=True, slots=True)
class Part:
    """One side as it stands in a comparison. Shares are fractions of 1, intervals hold 95 %."""

    name: str
    verdict: str
    answered: int
    """All its answers, those that the other side lacks included."""
    correct: int
    """Of the questions in common."""
    accuracy: float
    interval: tuple[float, float]
    accuracy_of_all: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is said is a minus b, over the `n` questions in common."""

    a: Part
    b: Part
    n: int
    difference: Difference
    test: McNemar
    detectable: float | None
    """Smallest true difference that is found in four of five such comparisons; None where n is too small."""
    notes: tuple[str, ...] = ()


def compare(a: Side, b: Side) -> Comparison:
    """Exact McNemar, a paired bootstrap and the four counts. Raises DataError if no question is shared."""
    right_a = {one.id: one.right for one in a.answers}
    right_b = {one.id: one.right for one in b.answers}
    shared = [id_ for id_ in right_a if id_ in right_b]
    if not shared:
        raise DataError(
            f"{a.name} and {b.name} have no question in common; a question is the same if its text and "
            f"options are: one begins '{a.answers[0].question.text[:50]}', the other "
            f"'{b.answers[0].question.text[:50]}'"
        )
    of_a, of_b = [right_a[id_] for id_ in shared], [right_b[id_] for id_ in shared]
    n, test = len(shared), mcnemar_exact(of_a, of_b)
    discordance = (test.only_a + test.only_b) / n
    notes = [*a.notes, *(note for note in b.notes if note not in a.notes)]
    notes += [
        f"{len(own) - n} of {len(own)} questions of {side.name} are not in the other and are left out."
        for side, own in ((a, right_a), (b, right_b))
        if len(own) > n
    ]
    return Comparison(
        _part(a, of_a, right_a),
        _part(b, of_b, right_b),
        n,
        paired_bootstrap(of_a, of_b),
        test,
        minimum_detectable_difference(n, discordance),
        tuple(notes),
    )


def _part(side: Side, shared: list[bool], own: dict[str, bool]) -> Part:
    correct, n = sum(shared), len(shared)
    return Part(
        side.name,
        side.verdict,
        len(own),
        correct,
        correct / n,
        wilson(correct, n),
        sum(own.values()) / len(own),
    )
