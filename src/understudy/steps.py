"""What each kind of step does: read the folders it needs, work, write its own folder.

A step gets plain settings and folders, never live objects, so it runs the same in this process, in a
worker process, or elsewhere. Raise the number of a kind in `VERSIONS` when its outcome changes for the
same settings: its old results are then not reused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy import shelves
from understudy.asking import annotate_split, ask_split
from understudy.audit.whole import audit_run
from understudy.curate import Curated, CurateSpec, curate, random_subset
from understudy.data import DataSpec, Prepared, prepare
from understudy.errors import TrainingError
from understudy.evaluate import judge_all, predict
from understudy.ledger import Ledger
from understudy.records import load_completions, load_predictions, load_rationales, save
from understudy.roles import Completer, Identity, Source
from understudy.store import write_text
from understudy.train import TrainSpec, train
from understudy.types import AnswerForm, Example, Question, Rationale, Sampling
from understudy.work import Work, method_of, result_of, student_of

VERSIONS = {
    "data": 2,
    "annotate": 1,
    "curate": 2,
    "audit": 1,
    "train": 1,
    "predict": 1,
    "choose": 1,
    "ask": 1,
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
    curated = curate(
        prepared.splits[settings["split"]],
        load_completions(work.needs["annotate"]),
        prepared.form,
        CurateSpec(**settings["curate"]),
        settings["teacher"],
    )
    if "like" in work.needs:
        curated = _drawn(curated, result_of(work.needs["like"])["kept"], settings["seed"])
    save(work.folder / "rationales.jsonl", curated.rationales)
    return {
        field.name: getattr(curated, field.name)
        for field in dataclasses.fields(curated)
        if field.name != "rationales"
    }


def _drawn(curated: Curated, size: int, seed: int) -> Curated:
    """As many rationales as the filters kept, drawn by lot: what filtering is measured against."""
    rationales = random_subset(curated.rationales, size, seed)
    return dataclasses.replace(
        curated,
        rationales=rationales,
        kept=len(rationales),
        dropped={**curated.dropped, "not drawn": len(curated.rationales) - len(rationales)},
        questions_kept=len({rationale.question_id for rationale in rationales}),
    )


def _train(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    prepared = work.prepared()
    questions = prepared.splits[settings["split"]]
    if "rationales" in work.needs:
        rationales = load_rationales(work.needs["rationales"])
    else:
        rationales = [Rationale(q.id, 0, q.rationale, q.answer, "gold") for q in questions if q.rationale]
    if not rationales:
        raise TrainingError(
            f"there is no rationale to train on: none was kept, or the split '{settings['split']}' has none"
        )
    groups = _groups(settings, questions, rationales, prepared.form)
    dev: list[tuple[Example, ...]] = []
    if "dev rationales" in work.needs:
        dev = _groups(
            settings, prepared.splits["dev"], load_rationales(work.needs["dev rationales"]), prepared.form
        )
        if not dev:
            raise TrainingError(
                "no rationale was kept on dev, so a learning rate cannot be chosen there: give one "
                "train.learning_rate instead of a list, or rationales for dev"
            )
    related = [
        group
        for stage in method_of(settings["method"]).stages()
        if stage.name != settings["stage"]
        for group in _groups({**settings, "stage": stage.name}, questions, rationales, prepared.form)
    ]
    rate = settings["learning_rate"]
    if rate is None:
        rate = json.loads((work.needs["choice"] / "choice.json").read_text(encoding="utf-8"))["learning_rate"]
    return {
        "questions": len({rationale.question_id for rationale in rationales}),
        **train(
            student_of(settings["student"]),
            groups,
            TrainSpec(**settings["train"]),
            learning_rate=rate,
            seed=settings["seed"],
            folder=work.folder,
            progress=work.progress,
            start=work.needs["start"] / "model" if "start" in work.needs else None,
            dev=dev,
            related=related,
        ),
    }


def _groups(
    settings: Mapping[str, Any],
    questions: Sequence[Question],
    rationales: Sequence[Rationale],
    form: AnswerForm,
) -> list[tuple[Example, ...]]:
    """What a stage is trained on: every question that has a rationale, whether or not the method reads it,
    so that all methods see the same questions."""
    by_question: dict[str, list[Rationale]] = {}
    for rationale in rationales:
        by_question.setdefault(rationale.question_id, []).append(rationale)
    method = method_of(settings["method"])
    return [
        group
        for question in questions
        if question.id in by_question
        for group in method.examples(settings["stage"], question, by_question[question.id], form)
    ]


def _predict(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    from understudy.students._completer import StudentCompleter

    prepared = work.prepared()
    questions = list(prepared.splits[settings["split"]])
    method = method_of(settings["method"])
    given = _given(settings, work, questions, prepared)
    if given is not None:
        questions = [question for question in questions if question.id in given]
    student = student_of(settings["student"])
    completers: dict[str, Completer] = {}
    for stage in method.stages():
        if stage.name != settings["given"]:
            folder = work.needs[f"stage {stage.name}"]
            identity = Identity("local", f"student:{settings['student']['name']}", folder.name)
            live = student.load(folder / "model")
            completers[stage.name] = StudentCompleter(live, identity, settings["batch_tokens"])
    sampling = Sampling(max_tokens=settings["max_new_tokens"])
    with Ledger(work.ledger, run=work.folder.name) as ledger:
        texts = None if given is None else {settings["given"]: given}
        predictions = predict(questions, method, completers, sampling, ledger, work.progress, texts)
    save(work.folder / "predictions.jsonl", predictions)
    judged = judge_all(questions, predictions, prepared.form)
    return {"n": len(judged), "correct": sum(row.verdict.name == "correct" for row in judged)}


def _given(
    settings: Mapping[str, Any], work: Work, questions: Sequence[Question], prepared: Prepared
) -> dict[str, str] | None:
    """The teacher's reasoning on the split by question id, where a stage is to read that."""
    if settings["given"] is None:
        return None
    from understudy.answers import reasoning

    by_id = {question.id: question for question in questions}
    return {
        p.question_id: reasoning(p.text, prepared.form, by_id[p.question_id].choices)
        for p in load_predictions(work.needs["teacher"])
    }


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
    "train": _train,
    "predict": _predict,
    "choose": _choose,
}
