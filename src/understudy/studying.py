"""The steps in which students are made and trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import TrainingError
from understudy.records import load_predictions, load_rationales
from understudy.roles import Method, Stage, Student, TrainSpec
from understudy.training import train
from understudy.training.accuracy import accuracy_on
from understudy.training.tracking import FOLDER as TRACKERS
from understudy.types import Example, Question, Rationale
from understudy.work import Work, method_of, student_of

# ---------------------------------------------------------------- training


def train_student(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    lesson = _Lessons(settings, work)
    groups = lesson.groups(lesson.rationales())
    dev: list[tuple[Example, ...]] = []
    if "dev rationales" in work.needs:
        dev = lesson.groups(load_rationales(work.needs["dev rationales"]), split="dev")
        if not dev:
            raise TrainingError(
                "no rationale was kept on dev, so neither a learning rate nor an early end can be chosen "
                "there: give one train.learning_rate instead of a list and no train.stopping by dev_loss, or "
                "rationales for dev"
            )
    spec = TrainSpec(**settings["train"], **work.how.get("train", {}))
    stopping, accuracy = spec.stopping, None
    if stopping and stopping.metric == "dev_accuracy":
        accuracy = accuracy_on(
            lesson.prepared.splits["dev"],
            lesson.method,
            lesson.stage.name,
            lesson.prepared.form,
            settings["max_new_tokens"],
            stopping.questions,
        )
    elif stopping and not dev:
        dev = lesson.groups(given_rationales(lesson.prepared.splits["dev"]), split="dev")
    rate = settings["learning_rate"]
    if rate is None:
        rate = json.loads((work.needs["choice"] / "choice.json").read_text(encoding="utf-8"))["learning_rate"]
    return {
        "questions": len({group[0].question_id for group in groups}),
        **train(
            _student(settings, work, lesson.method),
            groups,
            spec,
            learning_rate=rate * lesson.stage.rate,
            seed=settings["seed"],
            folder=work.folder,
            progress=work.progress,
            start=work.needs["start"] / "model" if "start" in work.needs else None,
            dev=dev,
            related=lesson.related(),
            order=lesson.stage.order,
            learner=lesson.method.learner(lesson.stage.name),
            teacher=_teacher_model(settings, work),
            accuracy=accuracy,
            name="/".join(filter(None, [work.ledger.parent.name, work.how.get("name", "")])),
            trackers=work.ledger.parent / TRACKERS,
            cache=work.ledger.parent / "tokens",
        ),
    }


def given_rationales(questions: Sequence[Question]) -> list[Rationale]:
    """Those that came with the data."""
    return [Rationale(q.id, 0, q.rationale, q.answer, "gold") for q in questions if q.rationale]


def create_student(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The student before any training, saved as a trained one would be."""
    lesson = _Lessons(settings, work)
    groups = [*lesson.groups(lesson.rationales()), *lesson.related()]
    questions = lesson.prepared.splits[settings["split"]]
    asked = [lesson.method.prompt(settings["stage"], question, {}) or "" for question in questions]
    texts = [text for group in groups for e in group for text in (e.source, f" {e.target}")]
    live = _student(settings, work, lesson.method).create([*asked, *texts], settings["seed"])
    live.save(work.folder / "model")
    return {
        "questions": 0,
        "learning_rate": 0.0,
        "final_loss": None,
        "parameters": sum(p.numel() for p in live.model.parameters()),
        **dict.fromkeys(("steps", "tokens", "target_tokens", "seconds", "too_long", "flops"), 0),
    }


class _Lessons:
    """What a stage of a method is trained on."""

    def __init__(self, settings: Mapping[str, Any], work: Work) -> None:
        self.settings = settings
        self.work = work
        self.prepared = work.prepared()
        self.method = method_of(settings["method"])
        self.stage = stage_of(self.method, settings["stage"])

    def rationales(self) -> list[Rationale]:
        """Those that the method asks for, of the questions that the training may see."""
        needs, questions = self.work.needs, self.prepared.splits[self.settings["split"]]
        given = "rationales" in needs
        found = load_rationales(needs["rationales"]) if given else given_rationales(questions)
        if not found:
            split = self.settings["split"]
            raise TrainingError(
                f"there is no rationale to train on: none was kept, or the split '{split}' has none"
            )
        own = list(self._written(found))
        if own:
            found = own if self.stage.reads == "student" else [*found, *own]
        for kind in self.method.wants():
            found += load_rationales(needs[kind]) if kind in needs else []
        if "fold" in self.settings:
            apart = set(fold_of(questions, self.settings["fold"], self.settings["folds"]))
            found = [rationale for rationale in found if rationale.question_id not in apart]
        return found

    def _written(self, kept: Sequence[Rationale]) -> Iterator[Rationale]:
        """What students of the earlier stage wrote on questions that they had not seen, right or wrong: it is
        what this stage will read. Only questions that kept a rationale take part, as everywhere."""
        asked = {rationale.question_id for rationale in kept}
        golds = {q.id: q.answer for q in self.prepared.splits[self.settings["split"]]}
        for role, folder in sorted(self.work.needs.items()):
            if not role.startswith("written "):
                continue
            for prediction in load_predictions(folder):
                id_, text = prediction.question_id, prediction.written[0].text
                if id_ in asked:
                    yield Rationale(id_, 0, text, golds[id_], "student", "wrong" if not text else "right")

    def groups(self, rationales: Sequence[Rationale], split: str = "") -> list[tuple[Example, ...]]:
        """Every question that has a rationale, whether or not the method reads it, so that all methods see
        the same questions."""
        return self._groups(self.stage.name, rationales, split or self.settings["split"])

    def related(self) -> list[tuple[Example, ...]]:
        """The groups of the method's other stages, which share this one's vocabulary."""
        others = [stage for stage in self.method.stages() if stage.name != self.stage.name and stage.trained]
        rationales = self.rationales() if others else []
        return [
            group
            for stage in others
            for group in self._groups(stage.name, rationales, self.settings["split"])
        ]

    def _groups(self, stage: str, rationales: Sequence[Rationale], split: str) -> list[tuple[Example, ...]]:
        by_question: dict[str, list[Rationale]] = {}
        for rationale in rationales:
            by_question.setdefault(rationale.question_id, []).append(rationale)
        return [
            group
            for question in self.prepared.splits[split]
            if question.id in by_question
            for group in self.method.examples(stage, question, by_question[question.id], self.prepared.form)
        ]


def stage_of(method: Method, name: str) -> Stage:
    return next(stage for stage in method.stages() if stage.name == name)


def fold_of(questions: Sequence[Question], fold: int, folds: int) -> list[str]:
    """The ids of one part of the questions: every `folds`-th, so that the parts are alike."""
    return [question.id for question in questions[fold::folds]]


def _student(settings: Mapping[str, Any], work: Work, method: Method) -> Student:
    """The spec of the student. Logits can be compared only over one vocabulary, so a student from scratch
    that learns from a teacher's takes the teacher's tokenizer, in every stage of the method."""
    student = student_of(settings["student"])
    learners = [method.learner(stage.name) for stage in method.stages() if stage.trained]
    model = _teacher_model(settings, work)
    own = student.model_dump().get("checkpoint") is not None
    if own or model is None or not any(learner and learner.NEEDS_TEACHER for learner in learners):
        return student
    return student.model_copy(update={"tokenizer": str(model)})


def _teacher_model(settings: Mapping[str, Any], work: Work) -> Path | None:
    """The folder or hub id of a teacher that gives logits."""
    if "teach" in work.needs:
        return work.needs["teach"] / "model"
    named = settings.get("teacher", {}).get("teacher", {})
    place = named.get("path") or named.get("model")
    return Path(place) if place else None
