"""A recipe as a list of steps, each after everything it needs.

Equal work is one step whoever asks for it: students and methods share one annotation, a method at twice
the budget shares the learning-rate search, and a changed field re-runs only what depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from understudy import shelves
from understudy.graph._pieces import (
    UNFILTERED,
    asked_how,
    audit_settings,
    effort,
    files_of,
    from_checkpoint,
    hashes,
    make_step,
    only_rate,
)
from understudy.graph._students import Arm, Course, Ground
from understudy.policies import PolicySpec
from understudy.recipe import Recipe
from understudy.recipe.spec import MethodEntry, TeacherEntry
from understudy.roles import Apprenticeship, Task, TrainSpec
from understudy.store import Step
from understudy.types import RationaleKind
from understudy.work import ANNOTATE

__all__ = ["Arm", "Graph"]


@dataclass(slots=True)
class Graph:
    """Every step of a recipe. Reads local files to hash them; touches nothing else."""

    recipe: Recipe
    steps: list[Step] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)
    data: Step = field(init=False)
    annotated: dict[str, Step] = field(init=False)
    """A teacher's label -> the step that asks it about its questions of train."""
    curate: Step = field(init=False)
    audit: Step = field(init=False)
    teach: Step | None = field(init=False, default=None)
    asked: dict[tuple[str, str], Step] = field(default_factory=dict)
    """(A teacher's label, split) -> the step that asks it there."""
    _by_hash: dict[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = self._add(self._data())
        if self.recipe.apprenticeship:
            self.teach = self._add(self._teach(self.recipe.apprenticeship))
        self.annotated = self._annotate("train")
        self.curate = self._add(self._curate("train", self.annotated))
        self.audit = self._add(self._audit())
        if self.recipe.evaluate.teacher:
            self.asked = {
                (entry.label, split): self._add(self._ask("ask", split, entry))
                for entry in self.recipe.faculty
                for split in self.recipe.evaluate.splits
            }
        first = self.recipe.faculty[0].label
        ground = Ground(
            recipe=self.recipe,
            data=self.data,
            teach=self.teach,
            asked={split: step for (label, split), step in self.asked.items() if label == first},
            add=self._add,
            rationales=self._rationales,
            wanted=self._wanted,
            dev_rationales=self._dev_rationales,
        )
        for student in self.recipe.students:
            files = hashes(student.student.files())
            for method in self.recipe.methods:
                if method.students and student.label not in method.students:
                    continue
                posed = method.model_copy(update={"method": method.method.for_task(self.task)})
                for seed in self.recipe.seeds:
                    self.arms.extend(Course(ground, student, files, posed, seed).arms())

    @property
    def task(self) -> Task:
        task: Task = shelves.load("tasks", self.recipe.task.name)
        return task

    @property
    def workers(self) -> int:
        """How many trainings run side by side. "auto" is one per core for students made here, and one
        at a time where checkpoints or a GPU would have to be shared."""
        if self.recipe.workers != "auto":
            return self.recipe.workers
        if Path("/dev/nvidia0").exists() or any(from_checkpoint(entry) for entry in self.recipe.students):
            return 1
        return os.cpu_count() or 1

    def _add(self, step: Step) -> Step:
        known = self._by_hash.setdefault(step.hash, step)
        if known is step:
            self.steps.append(step)
        return known

    # ------------------------------------------------------------ before the students

    def _data(self) -> Step:
        recipe = self.recipe
        task, source = self.task, recipe.task.source()
        apprenticeship = recipe.apprenticeship
        hub = asdict(task.hub) if task.hub and source.path is None else None
        settings = {
            "task": recipe.task.name,
            "source": asdict(source),
            "files": files_of(task, source),
            "hub": hub,
            "data": recipe.data.model_dump(mode="json"),
            "evaluation_splits": list(recipe.evaluate.splits),
            "extra_splits": [apprenticeship.split] if apprenticeship else [],
        }
        return make_step("data", "data", settings, {}, f"prepare the questions of {recipe.task.name}", 2)

    def _teach(self, apprenticeship: Apprenticeship) -> Step:
        student = shelves.load("students", apprenticeship.student["name"])(**apprenticeship.student)
        method = shelves.load("methods", apprenticeship.method["name"])(**apprenticeship.method)
        spec = TrainSpec(**apprenticeship.train)
        stage = method.stages()[0]
        settings = {
            "student": student.model_dump(mode="json"),
            "files": hashes(student.files()),
            "method": method.model_dump(mode="json"),
            "stage": stage.name,
            "split": apprenticeship.split,
            "train": spec.decisive(),
            "learning_rate": only_rate(spec),
            "seed": self.recipe.seeds[0],
        }
        if spec.stopping and spec.stopping.metric == "dev_accuracy":
            settings["max_new_tokens"] = self.recipe.evaluate.max_new_tokens
        title = f"train the teacher on the gold rationales of '{apprenticeship.split}'"
        how = {"train": spec.place(), "name": "teach"}
        cost = 3 * effort(spec)
        return make_step("teach", "train", settings, {"data": self.data}, title, cost, alone=True, how=how)

    def _annotate(self, split: str, counterfactual: bool = False) -> dict[str, Step]:
        """Every teacher on its part of a split's questions, by label."""
        return {
            entry.label: self._add(self._ask("annotate", split, entry, counterfactual))
            for entry in self.recipe.faculty
        }

    def _ask(self, kind: str, split: str, entry: TeacherEntry, counterfactual: bool = False) -> Step:
        """A teacher on `split`: "annotate" as the recipe samples it, on its part of the questions where there
        are several teachers; "ask" greedily, without the answer, on all of them."""
        recipe, teacher = self.recipe, entry.teacher
        sampling = asdict(recipe.sampling.sampling())
        prompt = recipe.prompt.model_dump(mode="json")
        settings: dict[str, Any] = {
            "task": recipe.task.name,
            "split": split,
            "teacher": {**teacher.decisive(), "identity": asdict(teacher.identity())},
            "revision": self.teach.hash if self.teach else "",
            "files": hashes(teacher.files()),
            "prompt": prompt,
            "sampling": sampling,
            "policy": recipe.sampling.policy().model_dump(mode="json"),
            "unanswered": recipe.sampling.unanswered,
        }
        needs = {"data": self.data, **({"teach": self.teach} if self.teach else {})}
        how = asked_how(recipe, entry)
        called, suffix, of = f"'{teacher.name}'", "", ""
        if len(recipe.faculty) > 1:
            called, suffix, of = f"'{entry.label}'", f"/{entry.label}", "its part of "
            if kind == "annotate":
                index = [each.label for each in recipe.faculty].index(entry.label)
                settings["part"] = {"shares": [each.share for each in recipe.faculty], "index": index}
        if counterfactual:
            settings |= {"prompt": {**prompt, "show_answer": True}, "counterfactual": True}
            settings["policy"] = PolicySpec().model_dump(mode="json")
            title = f"ask the teacher {called} to argue for wrong answers on {of}{split}"
            name = f"annotate/counterfactual{suffix}"
            return make_step(name, "annotate", settings, needs, title, 30, alone=True, how=how)
        if kind == "annotate":
            many = f"{recipe.sampling.n} per question"
            title = f"annotate {of}{split} with the teacher {called} ({many})"
            name, cost = ("annotate", 60.0) if split == "train" else (f"annotate/{split}", 6.0)
            return make_step(f"{name}{suffix}", kind, settings, needs, title, cost, alone=True, how=how)
        settings |= {
            "policy": PolicySpec().model_dump(mode="json"),
            "prompt": {**prompt, "show_answer": False},
        }
        settings["sampling"] = {**sampling, "temperature": 0.0, "top_p": 1.0}
        title = f"ask the teacher {called} on {split}" if suffix else f"ask the teacher on {split}"
        alone = bool(recipe.budget.caps())
        return make_step(f"ask/{split}{suffix}", kind, settings, needs, title, 6, alone=alone, how=how)

    def _curate(
        self, split: str, annotated: Mapping[str, Step], rationales: str = "kept", seed: int = 0
    ) -> Step:
        """Filtered as the recipe says; or, as a control, not at all, or by lot to the same number; or those
        that do not reach the gold answer, for methods that learn from them."""
        spec = self.recipe.curate if rationales == "kept" else UNFILTERED
        settings: dict[str, Any] = {
            "split": split,
            "curate": spec.model_dump(mode="json"),
        }
        if len(self.recipe.faculty) == 1:
            settings["teacher"] = self.recipe.faculty[0].teacher.identity().model
        needs = {"data": self.data, **self._roles(annotated)}
        name = "curate" if split == "train" else f"curate/{split}"
        title = f"filter the rationales of {split} by gold"
        if rationales == "unfiltered":
            name, title = f"{name}-unfiltered", f"take the rationales of {split} unfiltered"
        if rationales == "random":
            name = f"{name}-random/seed{seed}"
            title = f"draw as many rationales of {split} by lot (seed {seed})"
            settings["seed"] = seed
            needs["like"] = self.curate
        if rationales in ("wrong", "counterfactual"):
            name, title = f"{name}-{rationales}", f"take the {rationales} rationales of {split}"
            settings["kind"] = rationales
        return make_step(name, "curate", settings, needs, title, 2)

    def _audit(self) -> Step:
        """What the run's data and rationales are worth; nothing that is trained waits for it."""
        settings = audit_settings(self.recipe.audit, self.recipe.prompt.show_answer)
        needs = {"data": self.data, **self._roles(self.annotated), "curate": self.curate}
        title = "audit the questions and rationales"
        # Whoever pays out of one budget does so one after the other.
        alone = bool(self.recipe.budget.caps() and self.recipe.audit.reader)
        return make_step("audit", "audit", settings, needs, title, 4, alone, asked_how(self.recipe))

    def _rationales(self, entry: MethodEntry, seed: int) -> Step:
        """What a method is trained on."""
        if entry.rationales == "kept":
            return self.curate
        seed = seed if entry.rationales == "random" else 0
        return self._add(self._curate("train", self.annotated, entry.rationales, seed))

    def _wanted(self, kind: RationaleKind) -> Step:
        """Rationales that do not reach the gold answer: those that the teacher wrote by itself, or those that
        it is asked for with a wrong answer shown as the right one."""
        annotated = self.annotated
        if kind == "counterfactual":
            annotated = self._annotate("train", counterfactual=True)
        return self._add(self._curate("train", annotated, kind))

    def _dev_rationales(self) -> Step:
        """Rationales on dev, asked for only where a learning rate is chosen by the loss on them."""
        return self._add(self._curate("dev", self._annotate("dev")))

    def _roles(self, annotated: Mapping[str, Step]) -> dict[str, Step]:
        """The steps of an annotation by the role that `Work.annotated` looks for."""
        if len(annotated) == 1:
            (only,) = annotated.values()
            return {ANNOTATE: only}
        return {f"{ANNOTATE} {label}": step for label, step in annotated.items()}
