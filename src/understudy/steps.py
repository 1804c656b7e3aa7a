"""What each kind of step does: read the folders it needs, work, write its own folder.

A step gets plain settings and folders, never live objects, so it runs the same in this process, in a
worker process, or elsewhere. Raise the number of a kind in `VERSIONS` when its outcome changes for the
same settings: its old results are then not reused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy import shelves
from understudy.annotate import annotate
from understudy.curate import CurateSpec, curate
from understudy.data import DataSpec, Prepared, load_prepared, prepare
from understudy.errors import TeacherError, TrainingError
from understudy.evaluate import judge_all, predict
from understudy.ledger import Ledger, transient
from understudy.prompts import PromptSpec
from understudy.records import load_completions, load_predictions, load_rationales, save
from understudy.roles import Completer, Identity, Method, Source, Student, Teacher
from understudy.store import MARK, write_text
from understudy.train import Progress, TrainSpec, train
from understudy.types import (
    AnswerForm,
    Completion,
    Example,
    Prediction,
    Question,
    Rationale,
    Sampling,
    Written,
)

VERSIONS = {"data": 1, "annotate": 1, "curate": 1, "train": 1, "predict": 1, "choose": 1, "ask": 1}


@dataclass(frozen=True, slots=True)
class Work:
    """Where a step works: its own folder, those of the steps it needs by role, and the run's ledger."""

    folder: Path
    needs: Mapping[str, Path]
    ledger: Path
    progress: Progress

    def prepared(self) -> Prepared:
        return load_prepared(self.needs["data"])


def perform(kind: str, settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """Do one step and return its result: plain values for the done-mark."""
    return _KINDS[kind](settings, work)


# ---------------------------------------------------------------- specs from settings


def _build(shelf: str, settings: Mapping[str, Any]) -> Any:
    return shelves.load(shelf, str(settings["name"]))(**settings)


def teacher_of(settings: Mapping[str, Any]) -> Teacher:
    teacher: Teacher = _build("teachers", settings)
    return teacher


def method_of(settings: Mapping[str, Any]) -> Method:
    method: Method = _build("methods", settings)
    return method


def student_of(settings: Mapping[str, Any]) -> Student:
    student: Student = _build("students", settings)
    return student


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


def _complete(
    settings: Mapping[str, Any], work: Work, questions: Sequence[Question], form: AnswerForm
) -> tuple[list[Completion], dict[str, int]]:
    """Ask the teacher through the ledger; what it has answered before is not asked for again.

    Requests that ran out of retries are not in the ledger: the step stays open, and the next run asks
    for just those, unless the recipe says to go on without them.
    """
    teacher = teacher_of(settings["teacher"])
    model = work.needs["teach"] / "model" if "teach" in work.needs else None
    completer = teacher.build(model)
    completer = _Named(completer, settings["revision"]) if settings["revision"] else completer
    sampling = Sampling(**{**settings["sampling"], "stop": tuple(settings["sampling"]["stop"])})

    def landed(count: int, total: int) -> None:
        work.progress(count / total, f"{count} of {total} completions")

    try:
        with Ledger(work.ledger, run=work.folder.name) as ledger:
            completions = annotate(
                questions,
                replace(shelves.load("tasks", settings["task"]), form=form),
                completer,
                PromptSpec(**settings["prompt"]),
                sampling,
                settings["n"],
                ledger,
                landed,
            )
            counts = {"asked": ledger.asked, "reused": ledger.reused}
    finally:
        completer.close()
    failed = [completion for completion in completions if transient(completion)]
    if failed and settings["unanswered"] == "error":
        raise TeacherError(
            f"{len(failed):,} of {len(completions):,} completions were not answered ({failed[0].error}): the "
            "others are kept, run the same command again to ask for these, or set sampling.unanswered=drop"
        )
    tokens = {
        "prompt_tokens": sum(c.prompt_tokens for c in completions),
        "completion_tokens": sum(c.completion_tokens for c in completions),
    }
    return completions, {**counts, **tokens}


class _Named:
    """A completer whose identity carries the hash of the weights that a run trained for it."""

    def __init__(self, completer: Completer, revision: str) -> None:
        self._completer = completer
        who = completer.identity
        self.identity = Identity(who.endpoint, who.model, revision)
        self.complete = completer.complete
        self.close = completer.close


def _annotate(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    prepared = work.prepared()
    completions, counts = _complete(settings, work, prepared.splits[settings["split"]], prepared.form)
    save(work.folder / "completions.jsonl", completions)
    return {**counts}


def _ask(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The teacher on an evaluation split; what it could not answer is left out, not counted as wrong."""
    prepared = work.prepared()
    completions, counts = _complete(settings, work, prepared.splits[settings["split"]], prepared.form)
    answered = [c for c in completions if c.finish_reason not in ("error", "content_filter")]
    save(
        work.folder / "predictions.jsonl",
        [
            Prediction(c.question_id, (Written("teacher", c.text, c.finish_reason, c.completion_tokens),))
            for c in answered
        ],
    )
    return {**counts, "answered": len(answered), "unanswered": len(completions) - len(answered)}


def _curate(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    prepared = work.prepared()
    curated = curate(
        prepared.splits[settings["split"]],
        load_completions(work.needs["annotate"]),
        prepared.form,
        CurateSpec(**settings["curate"]),
        settings["teacher"],
    )
    save(work.folder / "rationales.jsonl", curated.rationales)
    return {
        field.name: getattr(curated, field.name)
        for field in dataclasses.fields(curated)
        if field.name != "rationales"
    }


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


def _result(folder: Path) -> dict[str, Any]:
    """What a finished step reported."""
    result: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))["result"]
    return result


def _choose(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The learning rate whose short trainings have the lowest loss on dev, summed over a method's stages.

    Accuracy would be the finer aim, but after a short training it is mostly chance.
    """
    del settings
    losses: dict[float, float] = {}
    for role, folder in work.needs.items():
        rate = float(role.split()[0])
        losses[rate] = losses.get(rate, 0.0) + _result(folder)["dev_loss"]
    best = {"learning_rate": min(losses, key=lambda rate: (losses[rate], rate))}
    tried = [{"learning_rate": rate, "dev_loss": loss} for rate, loss in sorted(losses.items())]
    choice = {**best, "tried": tried}
    write_text(work.folder / "choice.json", json.dumps(choice, indent=1))
    return choice


_KINDS: Mapping[str, Callable[[Mapping[str, Any], Work], dict[str, Any]]] = {
    "data": _data,
    "annotate": _annotate,
    "ask": _ask,
    "curate": _curate,
    "train": _train,
    "predict": _predict,
    "choose": _choose,
}
