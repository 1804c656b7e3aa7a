"""Whether answers follow the rationale before them, and where a method of two stages loses: two sections.

Each probe is compared on the questions that it could be applied to, with the same student's own answers to
them. p-values are adjusted over one section, for it asks many questions at once. Seeds are told apart, never
pooled: a question that several seeds answer is still one question. Call `faithfulness` with every probe of a
run, and `attribution` with every reading of the methods whose last stage reads a rationale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.audit.section import Section
from understudy.audit.shares import said
from understudy.probing import paired
from understudy.report.wording import p_value, percent, percent_range, points, points_range
from understudy.statistics import benjamini_hochberg, wilson
from understudy.types import Judged

OWN, TEACHER = "own", "teacher"
READS = {
    TEACHER: "the teacher's rationale",
    OWN: "what stage 1 wrote",
    "gold_free": "the same without the gold answer",
    "swapped": "what it wrote on another question",
    "empty": "no rationale",
}
"""What the last stage is fed, in the order of the table; other probes are left to `faithfulness`."""
KEEPS = ("paraphrase", "options")
"""Probes that should leave answers as they are."""


@dataclass(frozen=True, slots=True)
class Which:
    """One student by one method with one seed on one split, by their labels."""

    method: str
    student: str
    seed: int
    split: str


@dataclass(frozen=True, slots=True)
class Probing:
    """What one probe did to the answers of one student."""

    which: Which
    probe: str
    """Its label: "early:0.5"."""
    reads: str
    """What the student read: `Probe.CHANGES`."""
    outcome: Mapping[str, Any]
    """As `probing.outcome` gives it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The answers of one student's last stage, fed with something."""

    which: Which
    fed: str
    """"teacher", "own", or the label of a probe."""
    rows: tuple[Judged, ...]


def faithfulness(probings: Sequence[Probing]) -> Section:
    """One row for each probe of each student. Without any, a section that says so."""
    measured = [one for one in probings if one.outcome["n"]]
    adjusted = benjamini_hochberg([one.outcome["paired"]["p_value"] for one in measured])
    p_of = dict(zip(map(id, measured), adjusted, strict=True))
    apart = _apart([one.which for one in probings])
    columns = ("probe", "it reads", "questions", "left out", "answers changed", "accuracy before", "accuracy")
    return Section(
        "faithfulness",
        "Do answers follow the rationale?",
        _sentences(probings, measured),
        (*apart, *columns, "difference", "adjusted p"),
        tuple((*_names(one.which, apart), *_cells(one, p_of.get(id(one)))) for one in probings),
        {"probes": [_raw(one, p_of.get(id(one))) for one in probings]},
    )


def _cells(one: Probing, p: float | None) -> tuple[str, ...]:
    found = one.outcome
    skipped = sum(found["skipped"].values())
    if not found["n"]:
        return one.probe, one.reads, "0", str(skipped), "–", "–", "–", "–", "–"
    return (
        one.probe,
        one.reads,
        str(found["n"]),
        str(skipped),
        f"{percent(found['changed'])} {percent_range(found['changed_interval'])}",
        percent(found["accuracy_before"]),
        f"{percent(found['accuracy'])} {percent_range(found['accuracy_interval'])}",
        f"{points(found['paired']['difference'])} {points_range(found['paired']['interval'])}",
        p_value(p).removeprefix("= ") if p is not None else "–",
    )


def _raw(one: Probing, p: float | None) -> dict[str, Any]:
    return {**_which(one.which), "probe": one.probe, **one.outcome, "p_adjusted": p}


def _sentences(probings: Sequence[Probing], measured: Sequence[Probing]) -> tuple[str, ...]:
    if not measured:
        return ("No probe could be applied to any question.",)
    found = [_range(which, measured) for which in dict.fromkeys(one.which for one in measured)]
    return (
        *(sentence for sentence in found if sentence),
        "An answer that stays when its rationale is changed did not hang on it, and one that goes may only "
        "show that the student was confused: compare with filler and swapped."
        + (" A paraphrase or another order of options should change nothing." if _keeps(measured) else ""),
        *dict.fromkeys(_left_out(one) for one in probings if one.outcome["skipped"]),
    )


def _range(which: Which, measured: Sequence[Probing]) -> str:
    """Between which probes the share of changed answers of one student lies."""
    own = [one for one in measured if one.which == which and not _keeps([one])]
    if not own:
        return ""
    low, high = (pick(own, key=lambda one: one.outcome["changed"]) for pick in (min, max))
    who = f"{which.method} ({which.student}, seed {which.seed}, {which.split})"
    most = f"{who} answers {_changed(high)} questions differently under {high.probe}"
    return f"{most}." if low is high else f"{most}, and {_changed(low)} under {low.probe}."


def _changed(one: Probing) -> str:
    return said(one.outcome["changed_count"], one.outcome["n"])


def _keeps(probings: Sequence[Probing]) -> bool:
    return any(one.probe.partition(":")[0] in KEEPS for one in probings)


def _left_out(one: Probing) -> str:
    reasons = ", ".join(f"{count} ({reason})" for reason, count in one.outcome["skipped"].items())
    return f"{one.probe} left out questions of {one.which.method}: {reasons}."


# ---------------------------------------------------------------- attribution


def attribution(readings: Sequence[Reading]) -> Section:
    """Of each student whose last stage was also fed the teacher's rationale: accuracy by what it was fed, and
    the difference from its own rationale on the questions that both answered."""
    known = {(one.which, one.fed): one.rows for one in readings if one.rows}
    students = [
        which
        for which in dict.fromkeys(one.which for one in readings)
        if (which, OWN) in known and (which, TEACHER) in known
    ]
    records = [
        _record(which, fed, known[which, fed], known[which, OWN])
        for which in students
        for fed in READS
        if (which, fed) in known
    ]
    tested = [record for record in records if record["paired"]]
    adjusted = benjamini_hochberg([record["paired"]["p_value"] for record in tested])
    for record, p in zip(tested, adjusted, strict=True):
        record["p_adjusted"] = p
    apart = _apart(students)
    columns = ("stage 2 reads", "questions", "accuracy", "against its own", "adjusted p")
    return Section(
        "attribution",
        "Which stage loses what?",
        tuple(_lost(which, records) for which in students)
        or ("No student's last stage was fed both its own and the teacher's rationale.",),
        (*apart, *columns),
        tuple((*_names(record["of"], apart), *_attributed(record)) for record in records),
        {"readings": [{**_which(r["of"]), **{k: v for k, v in r.items() if k != "of"}} for r in records]},
    )


def _record(which: Which, fed: str, rows: Sequence[Judged], own: Sequence[Judged]) -> dict[str, Any]:
    right, before = _right(rows), _right(own)
    both = [id_ for id_ in right if id_ in before]
    count = sum(right.values())
    return {
        "of": which,
        "fed": fed,
        "n": len(right),
        "accuracy": count / len(right),
        "interval": list(wilson(count, len(right))),
        "paired": paired([right[i] for i in both], [before[i] for i in both]) if fed != OWN else None,
        "p_adjusted": None,
    }


def _attributed(record: Mapping[str, Any]) -> tuple[str, ...]:
    test, p = record["paired"], record["p_adjusted"]
    return (
        READS[record["fed"]],
        str(record["n"]),
        f"{percent(record['accuracy'])} {percent_range(record['interval'])}",
        f"{points(test['difference'])} {points_range(test['interval'])}" if test else "–",
        p_value(p).removeprefix("= ") if p is not None else "–",
    )


def _lost(which: Which, records: Sequence[Mapping[str, Any]]) -> str:
    """What stage 1 costs, and what stage 2 loses whatever it is fed."""
    own, bound = (next(r for r in records if r["of"] == which and r["fed"] == fed) for fed in (OWN, TEACHER))
    gain = bound["paired"]["difference"] if bound["paired"] else None
    first = (
        ""
        if gain is None
        else (
            f"fed the teacher's rationale instead of its own, it gains {points(gain)} points "
            f"(adjusted p {p_value(bound['p_adjusted'])}): what stage 1 loses; "
        )
    )
    who = f"{which.method} ({which.student}, seed {which.seed}, {which.split})"
    wrong = f"{percent(1 - bound['accuracy'])} of {bound['n']} are wrong even then"
    return (
        f"{who} answers {percent(own['accuracy'])} of {own['n']} right; {first}{wrong}: what stage 2 "
        "loses, or the teacher."
    )


# ---------------------------------------------------------------- what both share


def _right(rows: Sequence[Judged]) -> dict[str, bool]:
    return {row.question.id: row.verdict.name == "correct" for row in rows}


def _apart(students: Sequence[Which]) -> tuple[str, ...]:
    """The columns that tell students apart: the method, and what there is more than one of."""
    more = (key for key in ("student", "seed", "split") if len({getattr(w, key) for w in students}) > 1)
    return ("method", *more)


def _names(which: Which, columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(getattr(which, column)) for column in columns)


def _which(which: Which) -> dict[str, Any]:
    return {"method": which.method, "student": which.student, "seed": which.seed, "split": which.split}
