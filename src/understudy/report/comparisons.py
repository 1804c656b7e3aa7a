"""Every pair of arms that can be compared question by question, seed by seed and over all seeds at once.

Compared are arms of one split and seed: all methods of one student, and one method across students.
The teacher has no seed and stands against every arm. A pair is tested once, over all the seeds that it
shares: that record is the finding. Where there are several seeds, the tests of single seeds describe them.

The catch: the more pairs, the more chance findings. The pairs of one student and split are one family, as are
those across students on one split, and p-values are adjusted within it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from understudy.errors import DataError
from understudy.report.study import Arm
from understudy.statistics import (
    benjamini_hochberg,
    crossed_difference,
    hierarchical_bootstrap,
    mcnemar_exact,
    minimum_detectable_difference,
    paired_bootstrap,
)

PARTIAL = ("upper_bound", "teacher")
"""Roles that may have answered only some of a split's questions."""

RESAMPLES = 2_000
"""Of seeds and questions, for each pair: enough for an interval that stands beside another."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms of one seed on the questions that both answered; what is said is a minus b."""

    a: Arm
    b: Arm
    right: dict[str, tuple[bool, bool]]
    """By question: whether a has it right, and whether b has."""

    @property
    def seed(self) -> int:
        return self.b.seed if self.a.role == "teacher" else self.a.seed

    @property
    def family(self) -> str:
        """Which tests its p-value is adjusted with."""
        students = dict.fromkeys(arm.student for arm in (self.a, self.b) if arm.role != "teacher")
        return f"{'across students' if len(students) > 1 else ' '.join(students)} on {self.a.split}"

    def names(self) -> Record:
        return {
            "a": self.a.method,
            "b": self.b.method,
            "student": self.a.student,
            "student_b": self.b.student,
        }


def compare(arms: Sequence[Arm]) -> tuple[list[Record], list[Record]]:
    """One record for each pair and seed, and one for each pair over all its seeds.

    Raises DataError on unequal question sets. A pair whose seeds share no question has no pooled record.
    """
    groups: dict[tuple[str, ...], list[Pair]] = {}
    pairs = list(_pairs(arms))
    for pair in pairs:
        groups.setdefault((*pair.names().values(), pair.a.split), []).append(pair)
    singles = {id(pair): _single(pair) for pair in pairs}
    pooled = [
        record for group in groups.values() if (record := _pooled(group, singles[id(group[0])])) is not None
    ]
    pooled = _adjusted(pooled, lambda record: record["family"])
    final = {_key(record): record["p_adjusted"] for record in pooled if len(record["seeds"]) == 1}
    families = {id(singles[id(pair)]): (pair.family, pair.seed) for pair in pairs}
    records = _adjusted(list(singles.values()), lambda record: families[id(record)])
    return [{**one, "p_adjusted": final.get(_key(one), one["p_adjusted"])} for one in records], pooled


def _adjusted(records: Sequence[Record], family: Callable[[Record], object]) -> list[Record]:
    """With `p_adjusted`, after Benjamini and Hochberg within each family."""
    families: dict[object, list[int]] = {}
    for place, record in enumerate(records):
        families.setdefault(family(record), []).append(place)
    found = {
        place: p
        for places in families.values()
        for place, p in zip(
            places, benjamini_hochberg([records[place]["p_value"] for place in places]), strict=True
        )
    }
    return [{**record, "p_adjusted": found[place]} for place, record in enumerate(records)]


def _key(record: Record) -> tuple[str, ...]:
    return tuple(record[name] for name in ("a", "b", "student", "student_b", "split"))


# ---------------------------------------------------------------- which pairs


def _pairs(arms: Sequence[Arm]) -> Iterator[Pair]:
    right = {id(arm): {row.question.id: row.verdict.name == "correct" for row in arm.rows} for arm in arms}
    first: dict[tuple[str, str], int] = {}
    for arm in arms:
        first.setdefault((arm.method, arm.student), len(first))
    ordered = sorted(arms, key=lambda arm: (_place(arm), first[arm.method, arm.student]))
    for a, b in combinations(ordered, 2):
        if _comparable(a, b) and (common := _common(a, b, right[id(a)], right[id(b)])):
            yield Pair(a, b, common)


def _place(arm: Arm) -> int:
    """What is asked about stands first: a method minus its control, a method minus the teacher."""
    return ("method", "upper_bound", "teacher", "control").index(arm.role)


def _comparable(a: Arm, b: Arm) -> bool:
    if a.split != b.split:
        return False
    if "teacher" in (a.role, b.role):
        return True
    return a.seed == b.seed and (a.student == b.student or a.method == b.method)


def _common(
    a: Arm, b: Arm, right_a: dict[str, bool], right_b: dict[str, bool]
) -> dict[str, tuple[bool, bool]]:
    """The common questions, in a's order. Only partial arms may have answered others."""
    if right_a.keys() != right_b.keys() and a.role not in PARTIAL and b.role not in PARTIAL:
        shared = len(right_a.keys() & right_b.keys())
        raise DataError(
            f"'{a.method}' and '{b.method}' answered different questions of '{a.split}' ({len(right_a)} and "
            f"{len(right_b)}, {shared} in common): evaluate both on the same questions"
        )
    return {id_: (right, right_b[id_]) for id_, right in right_a.items() if id_ in right_b}


# ---------------------------------------------------------------- the records


def _single(pair: Pair) -> Record:
    """One seed: exact McNemar, and a bootstrap over questions."""
    right_a, right_b = zip(*pair.right.values(), strict=True)
    test = mcnemar_exact(right_a, right_b)
    difference, low, high = paired_bootstrap(right_a, right_b)
    n = len(pair.right)
    return {
        **pair.names(),
        "seed": pair.seed,
        "split": pair.a.split,
        "roles": [pair.a.role, pair.b.role],
        "n": n,
        "difference": difference,
        "interval": [low, high],
        "p_value": test.p_value,
        "only_a": test.only_a,
        "only_b": test.only_b,
        "both": test.both,
        "neither": test.neither,
        "minimum_detectable_difference": minimum_detectable_difference(n, (test.only_a + test.only_b) / n),
    }


def _pooled(group: Sequence[Pair], first: Record) -> Record | None:
    """All seeds of one pair; `first` is the record of the first seed, which is the whole for a single one."""
    shared = [id_ for id_ in group[0].right if all(id_ in pair.right for pair in group)]
    if not shared:
        return None
    table = [[int(a) - int(b) for a, b in (pair.right[id_] for id_ in shared)] for pair in group]
    crossed = crossed_difference(table)
    several = len(group) > 1
    resampled = hierarchical_bootstrap(table, RESAMPLES) if several else None
    return {
        **group[0].names(),
        "split": group[0].a.split,
        "roles": first["roles"],
        "family": group[0].family,
        "seeds": [pair.seed for pair in group],
        "n": len(shared),
        "difference": crossed.mean if several else first["difference"],
        "by_seed": [fmean(row) for row in table],
        "interval": [crossed.low, crossed.high] if several else first["interval"],
        "bootstrap_interval": [resampled.low, resampled.high] if resampled else first["interval"],
        "test": "t over seeds and questions" if several else "exact McNemar",
        "p_value": crossed.p_value if several else first["p_value"],
        "standard_error": {
            "seeds": crossed.error_of_seeds if several else None,
            "questions": crossed.error_of_questions,
        },
        "only_a": sum(value > 0 for row in table for value in row),
        "only_b": sum(value < 0 for row in table for value in row),
        "minimum_detectable_difference": (
            crossed.detectable if several else first["minimum_detectable_difference"]
        ),
    }
