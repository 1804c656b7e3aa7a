"""A recipe as a list of steps, each after everything it needs.

Equal work is one step whoever asks for it: students and methods share one annotation, a method at twice
the budget shares the learning-rate search, and a changed field re-runs only what depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
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
    rates_of,
    readable_stage,
)
from understudy.policies import PolicySpec
from understudy.recipe import Recipe
from understudy.recipe.spec import MethodEntry, StudentEntry
from understudy.roles import Apprenticeship, Task
from understudy.store import Step
from understudy.train import TrainSpec


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the report and the step that predicts it."""

    method: MethodEntry
    student: StudentEntry
    seed: int
    split: str
    trained: Mapping[str, Step]
    predicted: Step
    upper_bound: bool = False


@dataclass(slots=True)
class Graph:
    """Every step of a recipe. Reads local files to hash them; touches nothing else."""

    recipe: Recipe
    steps: list[Step] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)
    data: Step = field(init=False)
    annotate: Step = field(init=False)
    curate: Step = field(init=False)
    audit: Step = field(init=False)
    teach: Step | None = field(init=False, default=None)
    asked: dict[str, Step] = field(default_factory=dict)
    """Split -> the step that asks the teacher there."""
    _by_hash: dict[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = self._add(self._data())
        apprenticeship = self.recipe.teacher.apprenticeship()
        if apprenticeship:
            self.teach = self._add(self._teach(apprenticeship))
        self.annotate = self._add(self._ask("annotate", "train"))
        self.curate = self._add(self._curate("train", self.annotate))
        self.audit = self._add(self._audit())
        if self.recipe.evaluate.teacher:
            self.asked = {split: self._add(self._ask("ask", split)) for split in self.recipe.evaluate.splits}
        for student in self.recipe.students:
            files = hashes(student.student.files())
            for method in self.recipe.methods:
                for seed in self.recipe.seeds:
                    self.arms.extend(self._arms(student, files, method, seed))

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
        apprenticeship = recipe.teacher.apprenticeship()
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
            "train": spec.model_dump(mode="json"),
            "learning_rate": only_rate(spec),
            "seed": self.recipe.seeds[0],
        }
        title = f"train the teacher on the gold rationales of '{apprenticeship.split}'"
        return make_step("teach", "train", settings, {"data": self.data}, title, 3 * effort(spec), alone=True)

    def _ask(self, kind: str, split: str) -> Step:
        """The teacher on `split`: "annotate" as the recipe samples it; "ask" greedily, without the answer."""
        recipe = self.recipe
        sampling = asdict(recipe.sampling.sampling())
        prompt = recipe.prompt.model_dump(mode="json")
        settings: dict[str, Any] = {
            "task": recipe.task.name,
            "split": split,
            "teacher": {**recipe.teacher.decisive(), "identity": asdict(recipe.teacher.identity())},
            "revision": self.teach.hash if self.teach else "",
            "files": hashes(recipe.teacher.files()),
            "prompt": prompt,
            "sampling": sampling,
            "policy": recipe.sampling.policy().model_dump(mode="json"),
            "unanswered": recipe.sampling.unanswered,
        }
        needs = {"data": self.data, **({"teach": self.teach} if self.teach else {})}
        how = asked_how(recipe)
        if kind == "annotate":
            many = f"{recipe.sampling.n} per question"
            title = f"annotate {split} with the teacher '{recipe.teacher.name}' ({many})"
            name, cost = ("annotate", 60.0) if split == "train" else (f"annotate/{split}", 6.0)
            return make_step(name, kind, settings, needs, title, cost, alone=True, how=how)
        settings |= {
            "policy": PolicySpec().model_dump(mode="json"),
            "prompt": {**prompt, "show_answer": False},
        }
        settings["sampling"] = {**sampling, "temperature": 0.0, "top_p": 1.0}
        title, alone = f"ask the teacher on {split}", bool(recipe.budget.caps())
        return make_step(f"ask/{split}", kind, settings, needs, title, 6, alone=alone, how=how)

    def _curate(self, split: str, annotated: Step, rationales: str = "kept", seed: int = 0) -> Step:
        """Filtered as the recipe says; or, as a control, not at all, or by lot to the same number."""
        spec = self.recipe.curate if rationales == "kept" else UNFILTERED
        settings: dict[str, Any] = {
            "split": split,
            "curate": spec.model_dump(mode="json"),
            "teacher": self.recipe.teacher.identity().model,
        }
        needs = {"data": self.data, "annotate": annotated}
        name = "curate" if split == "train" else f"curate/{split}"
        title = f"filter the rationales of {split} by gold"
        if rationales == "unfiltered":
            name, title = f"{name}-unfiltered", f"take the rationales of {split} unfiltered"
        if rationales == "random":
            name = f"{name}-random/seed{seed}"
            title = f"draw as many rationales of {split} by lot (seed {seed})"
            settings["seed"] = seed
            needs["like"] = self.curate
        return make_step(name, "curate", settings, needs, title, 2)

    def _audit(self) -> Step:
        """What the run's data and rationales are worth; nothing that is trained waits for it."""
        settings = audit_settings(self.recipe.audit, self.recipe.prompt.show_answer)
        needs = {"data": self.data, "annotate": self.annotate, "curate": self.curate}
        title = "audit the questions and rationales"
        # Whoever pays out of one budget does so one after the other.
        alone = bool(self.recipe.budget.caps() and self.recipe.audit.reader)
        return make_step("audit", "audit", settings, needs, title, 4, alone, asked_how(self.recipe))

    def _rationales(self, entry: MethodEntry, seed: int) -> Step:
        """What a method is trained on."""
        if entry.rationales == "kept":
            return self.curate
        seed = seed if entry.rationales == "random" else 0
        return self._add(self._curate("train", self.annotate, entry.rationales, seed))

    def _dev_rationales(self) -> Step:
        """Rationales on dev, asked for only where a learning rate is chosen by the loss on them."""
        return self._add(self._curate("dev", self._add(self._ask("annotate", "dev"))))

    # ------------------------------------------------------------ students

    def _arms(
        self, student: StudentEntry, files: Mapping[str, str], entry: MethodEntry, seed: int
    ) -> Iterator[Arm]:
        rates = rates_of(entry, self.recipe.train)
        choice = self._choice(student, files, entry, seed, rates) if len(rates) > 1 else None
        trained = self._train(
            student, files, entry, seed, entry.budget, rates[0] if not choice else None, choice
        )
        for split in self.recipe.evaluate.splits:
            predicted = self._predict(student, entry, entry.label, seed, split, trained)
            yield Arm(entry, student, seed, split, trained, predicted)
            given = readable_stage(entry)
            if given and split in self.asked:
                bound = self._predict(student, entry, entry.label, seed, split, trained, given)
                yield Arm(entry, student, seed, split, trained, bound, upper_bound=True)

    def _choice(
        self,
        student: StudentEntry,
        files: Mapping[str, str],
        entry: MethodEntry,
        seed: int,
        rates: tuple[float, ...],
    ) -> Step:
        """Short trainings at each rate, and the choice between them by their loss on dev's rationales."""
        needs: dict[str, Step] = {}
        for rate in rates:
            name = f"search-{rate:g}/{entry.label}"
            share = self.recipe.train.search_share
            trained = self._train(student, files, entry, seed, share, rate, None, name)
            needs |= {f"{rate!r} {stage}": step for stage, step in trained.items()}
        name = f"choose/{student.label}/{entry.label}/seed{seed}"
        return self._add(
            make_step(name, "choose", {}, needs, f"choose {entry.label}'s learning rate on dev", 0.1)
        )

    def _train(
        self,
        student: StudentEntry,
        files: Mapping[str, str],
        entry: MethodEntry,
        seed: int,
        budget: float,
        rate: float | None,
        choice: Step | None,
        search: str = "",
    ) -> dict[str, Step]:
        """One training for each stage of the method, which share the budget. Those of a `search`, which
        goes by that name, also measure their loss on dev."""
        trained: dict[str, Step] = {}
        label = search or entry.label
        for stage in entry.method.stages():
            spec = self.recipe.train
            spec = spec.model_copy(update={"budget": spec.budget.times(budget * stage.share)})
            settings = {
                "student": student.student.model_dump(mode="json"),
                "files": dict(files),
                "method": entry.method.model_dump(mode="json"),
                "stage": stage.name,
                "split": "train",
                "train": spec.model_dump(mode="json", exclude={"learning_rate", "search_share"}),
                "learning_rate": rate,
                "seed": seed,
            }
            needs = {"data": self.data, "rationales": self._rationales(entry, seed)}
            needs |= {"choice": choice} if choice else {}
            if search:
                needs["dev rationales"] = self._dev_rationales()
            if stage.start_from:
                needs["start"] = trained[stage.start_from]
            name = f"train/{student.label}/{label}/seed{seed}/{stage.name}"
            title = f"train {label}{f' ({stage.name})' if len(entry.method.stages()) > 1 else ''}"
            trained[stage.name] = self._add(
                make_step(name, "train", settings, needs, self._titled(title, student, seed), effort(spec))
            )
        return trained

    def _predict(
        self,
        student: StudentEntry,
        entry: MethodEntry,
        label: str,
        seed: int,
        split: str,
        trained: Mapping[str, Step],
        given: str | None = None,
    ) -> Step:
        settings = {
            "student": student.student.model_dump(mode="json"),
            "method": entry.method.model_dump(mode="json"),
            "split": split,
            "max_new_tokens": self.recipe.evaluate.max_new_tokens,
            "batch_tokens": self.recipe.evaluate.batch_tokens,
            "given": given,
        }
        needs = {
            "data": self.data,
            **{f"stage {name}": step for name, step in trained.items() if name != given},
        }
        if given:
            needs["teacher"] = self.asked[split]
        bound = "-given" if given else ""
        name = f"predict/{student.label}/{label}/seed{seed}/{split}{bound}"
        title = f"ask {label} on {split}" + (" with the teacher's rationale" if given else "")
        return self._add(make_step(name, "predict", settings, needs, self._titled(title, student, seed), 6))

    def _titled(self, title: str, student: StudentEntry, seed: int) -> str:
        """The title, with the student and seed where there are several."""
        many = [student.label] if len(self.recipe.students) > 1 else []
        many += [f"seed {seed}"] if len(self.recipe.seeds) > 1 else []
        return f"{title} ({', '.join(many)})" if many else title
