"""What each kind of step does: read the folders it needs, work, write its own folder.

Here are those that prepare questions and rationales and that choose; `asking` has those that ask a teacher,
`studying` those that train and ask students.

A step gets plain settings and folders, never live objects, so it runs the same in this process, in a
worker process, or elsewhere. Raise the number of a kind in `VERSIONS` when its outcome changes for the
same settings: its old results are then not reused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from understudy import shelves
from understudy.asking import annotate_split, ask_split
from understudy.audit.whole import audit_run
from understudy.counterfactuals import mistaken, reaches
from understudy.curate import Curated, CurateSpec, authors, curate, random_subset
from understudy.data import DataSpec, Prepared, prepare
from understudy.examining import ask_students, tune_method
from understudy.records import save
from understudy.roles import Source
from understudy.scoring_steps import score_options
from understudy.store import write_text
from understudy.studying import create_student, train_student
from understudy.types import RationaleKind
from understudy.work import Work, result_of

VERSIONS = {
    "data": 2,
    "annotate": 1,
    "curate": 2,
    "audit": 1,
    "train": 2,
    "predict": 1,
    "choose": 1,
    "ask": 1,
    "create": 1,
    "tune": 1,
    "score": 1,
}


def perform(kind: str, settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """Do one step and return its result: plain values for the done-mark."""
    return _KINDS[kind](settings, work)


# ---------------------------------------------------------------- the kinds


def _data(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    task = shelves.load("tasks", settings["task"])
    prepared = prepare(
        task,
        Source(**settings["source"]),
        DataSpec(**settings["data"]),
        settings["evaluation_splits"],
        settings["extra_splits"],
    )
    prepared.save(work.folder)
    return {
        "form": prepared.form,
        "notes": list(prepared.notes),
        "questions": {split: len(questions) for split, questions in prepared.splits.items()},
    }


def _curate(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    prepared = work.prepared()
    annotated = work.annotated()
    curated = curate(
        prepared.splits[settings["split"]],
        list(chain.from_iterable(annotated.values())),
        prepared.form,
        CurateSpec(**settings["curate"]),
        settings["teacher"] if len(annotated) == 1 else authors(annotated),
    )
    if settings.get("kind"):
        curated = _of_kind(curated, prepared, settings)
    if "like" in work.needs:
        curated = _drawn(curated, result_of(work.needs["like"])["kept"], settings["seed"])
    save(work.folder / "rationales.jsonl", curated.rationales)
    return {
        field.name: getattr(curated, field.name)
        for field in dataclasses.fields(curated)
        if field.name != "rationales"
    }


def _of_kind(curated: Curated, prepared: Prepared, settings: Mapping[str, Any]) -> Curated:
    """Those alone that do not reach the gold answer: as the teacher wrote them, or, of those that it was
    asked for with a wrong answer, the ones that reach that."""
    kind: RationaleKind = settings["kind"]
    questions = prepared.splits[settings["split"]]
    asked_for = mistaken(questions, prepared.form) if kind == "counterfactual" else list(questions)
    wanted = {question.id: question for question in asked_for}
    rationales = tuple(
        dataclasses.replace(rationale, kind=kind)
        for rationale in curated.rationales
        for question in (wanted.get(rationale.question_id),)
        if question and reaches(rationale.answer, question, prepared.form) is (kind == "counterfactual")
    )
    return dataclasses.replace(
        curated,
        rationales=rationales,
        kept=len(rationales),
        dropped={**curated.dropped, f"not {kind}": len(curated.rationales) - len(rationales)},
        questions_kept=len({rationale.question_id for rationale in rationales}),
        teachers={},
    )


def _drawn(curated: Curated, size: int, seed: int) -> Curated:
    """As many rationales as the filters kept, drawn by lot: what filtering is measured against."""
    rationales = random_subset(curated.rationales, size, seed)
    return dataclasses.replace(
        curated,
        rationales=rationales,
        kept=len(rationales),
        dropped={**curated.dropped, "not drawn": len(curated.rationales) - len(rationales)},
        questions_kept=len({rationale.question_id for rationale in rationales}),
        teachers={},
    )


def _choose(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The learning rate whose short trainings have the lowest loss on dev, summed over a method's stages.

    Accuracy would be the finer aim, but after a short training it is mostly chance.
    """
    del settings
    losses: dict[float, float] = {}
    for role, folder in work.needs.items():
        rate = float(role.split()[0])
        losses[rate] = losses.get(rate, 0.0) + result_of(folder)["dev_loss"]
    best = {"learning_rate": min(losses, key=lambda rate: (losses[rate], rate))}
    tried = [{"learning_rate": rate, "dev_loss": loss} for rate, loss in sorted(losses.items())]
    choice = {**best, "tried": tried}
    write_text(work.folder / "choice.json", json.dumps(choice, indent=1))
    return choice


_KINDS: Mapping[str, Callable[[Mapping[str, Any], Work], dict[str, Any]]] = {
    "data": _data,
    "annotate": annotate_split,
    "ask": ask_split,
    "curate": _curate,
    "audit": audit_run,
    "create": create_student,
    "train": train_student,
    "predict": ask_students,
    "tune": tune_method,
    "score": score_options,
    "choose": _choose,
}
