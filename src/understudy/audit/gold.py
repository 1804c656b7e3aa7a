"""Which gold answers are doubtful? Where the teacher's samples agree with each other and not with the gold.

At least three samples of a question must be read and more than half of them must give one answer that is not
the gold; the suspects are ranked by the lower bound of that majority's share. The catch: samples of one model
share its errors, so a suspect is a question for a person to read, not a wrong gold; and samples that were
made with the gold in view, or filtered by it, agree with a wrong gold as well.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.audit.material import Answered, Material
from understudy.audit.section import Section
from understudy.audit.shares import raw, said
from understudy.errors import StoreError
from understudy.report.wording import percent
from understudy.statistics import wilson
from understudy.store import write_text
from understudy.types import LABELS, Question

FEWEST = 3
"""Samples of a question that must be read before they count as agreeing."""
LISTED = 10
HEADER = ("question_id", "question", "options", "gold", "answer", "votes", "read", "rationale", "verdict")


@dataclass(frozen=True, slots=True)
class Suspect:
    """A question whose samples agree on something else than its gold."""

    question: Question
    answer: str
    votes: int
    read: int
    """Samples whose answer could be read."""
    low: float
    """Lower bound of the 95 % Wilson interval of votes / read: what the suspects are ranked by."""
    rationale: str
    """One of those that voted for `answer`, the first."""


def suspects(material: Material) -> list[Suspect]:
    """The most doubtful first; those that are equally doubtful in the order of the questions."""
    found = [
        suspect for samples in _by_question(material).values() if (suspect := _suspect(samples)) is not None
    ]
    return sorted(found, key=lambda suspect: -suspect.low)


def gold(material: Material) -> Section:
    """How many golds are doubtful, and what leaving their questions out would change."""
    doubted = suspects(material)
    readable = _by_question(material).values()
    judged = sum(len(samples) >= FEWEST for samples in readable)
    return Section(
        "gold",
        "Which gold answers are doubtful?",
        _sentences(material, doubted, judged),
        ("question", "gold", "samples say", "votes", "at least") if doubted else (),
        tuple(
            (
                one.question.text,
                _option(one.question, one.question.answer),
                _option(one.question, one.answer),
                f"{one.votes} of {one.read}",
                percent(one.low),
            )
            for one in doubted[:LISTED]
        ),
        {"suspects": raw(len(doubted), judged), "fewest": FEWEST, **_effect(material, doubted)},
    )


def export(suspects: Sequence[Suspect], path: Path) -> None:
    """A table for a person to read and to fill in the last column. Raises StoreError if it cannot be written.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(HEADER)
    for one in suspects:
        asked = one.question
        options = " ".join(f"({LABELS[i]}) {text}" for i, text in enumerate(asked.choices))
        text = f"{asked.context} {asked.text}".strip()
        row = (asked.id, text, options, asked.answer, one.answer, one.votes, one.read, one.rationale, "")
        writer.writerow([_harmless(str(cell)) for cell in row])
    try:
        write_text(path, table.getvalue())
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); name another file") from error


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _by_question(material: Material) -> Mapping[str, list[Answered]]:
    """The samples of each question that could be read."""
    found: dict[str, list[Answered]] = defaultdict(list)
    for one in material.answered:
        if one.verdict.extracted is not None:
            found[one.question.id].append(one)
    return found


def _suspect(samples: Sequence[Answered]) -> Suspect | None:
    """Wrong answers alike are one vote; two answers that the judge takes for the gold are never wrong."""
    if len(samples) < FEWEST:
        return None
    votes: dict[str, list[Answered]] = defaultdict(list)
    for one in samples:
        if one.verdict.name == "wrong":
            votes[one.verdict.extracted or ""].append(one)
    answer, voters = max(votes.items(), key=lambda item: len(item[1]), default=("", []))
    if 2 * len(voters) <= len(samples):
        return None
    low, _ = wilson(len(voters), len(samples))
    return Suspect(voters[0].question, answer, len(voters), len(samples), low, voters[0].text)


def _effect(material: Material, doubted: Sequence[Suspect]) -> dict[str, dict[str, float | int | None]]:
    """The teacher's accuracy, the questions and the rationales, with the suspects and without."""
    ids = {one.question.id for one in doubted}
    return {"with": _counts(material, frozenset()), "without": _counts(material, frozenset(ids))}


def _counts(material: Material, left_out: frozenset[str]) -> dict[str, float | int | None]:
    answered = [one for one in material.answered if one.question.id not in left_out]
    right = sum(one.verdict.name == "correct" for one in answered)
    return {
        "questions": len({question.id for question in material.questions} - left_out),
        "rationales": sum(one.question_id not in left_out for one in material.rationales),
        "right": right,
        "answered": len(answered),
        "accuracy": right / len(answered) if answered else None,
    }


def _option(question: Question, answer: str) -> str:
    """ "B: the sky" for a label, else the answer itself."""
    index = LABELS.find(answer) if len(answer) == 1 else -1
    return f"{answer}: {question.choices[index]}" if 0 <= index < len(question.choices) else answer


def _sentences(material: Material, doubted: Sequence[Suspect], judged: int) -> tuple[str, ...]:
    if not judged:
        return (
            f"No question has {FEWEST} samples that could be read, so nothing can be said of the golds; "
            "ask for more samples.",
        )
    finding = (
        f"{said(len(doubted), judged)} questions with at least {FEWEST} samples read have a gold that most "
        "samples contradict with one voice."
    )
    if not doubted:
        return (finding,)
    effect = _effect(material, doubted)
    before, after = effect["with"], effect["without"]
    return (
        finding,
        f"Without them the teacher is right in {said(int(after['right'] or 0), int(after['answered'] or 0))} "
        f"of its answers instead of {said(int(before['right'] or 0), int(before['answered'] or 0))}; "
        f"{after['questions']} of {before['questions']} questions and {after['rationales']} of "
        f"{before['rationales']} rationales remain.",
        "They are questions for a person to read, not errors found.",
    )
