"""The student side of a recipe's steps: what is trained on what, and who is asked what.

Equal trainings are one step whoever asks for them: two methods whose first stage is the same still differ
in their settings, but a control at another budget shares its search, and probes share their student.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from understudy import shelves
from understudy.graph._pieces import asked_how, effort, hashes, make_step, rates_of, readable_stage
from understudy.graph._scored import score_step
from understudy.probing import applies, probe_of
from understudy.recipe import Recipe
from understudy.recipe.spec import MethodEntry, StudentEntry
from understudy.roles import Stage, Teacher
from understudy.roles.probes import Probe
from understudy.store import Step
from understudy.types import AnswerForm, RationaleKind


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the report and the step that predicts it."""

    method: MethodEntry
    student: StudentEntry
    seed: int
    split: str
    trained: Mapping[str, Step]
    predicted: Step
    helpers: tuple[Step, ...] = ()
    """Trainings that only served another one: what they cost is told apart."""
    upper_bound: bool = False
    chains: int = 1
    """How many chains of texts voted."""
    probe: str = ""
    """What was changed in what the student reads before it answers."""
    scored: Step | None = None
    """The step in which the same student scored the options."""
    unscored: str = ""
    """Why it did not, where it was asked for."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the trainings of a recipe stand on."""

    recipe: Recipe
    data: Step
    teach: Step | None
    asked: Mapping[str, Step]
    """Split -> the step that asks the teacher there."""
    add: Callable[[Step], Step]
    rationales: Callable[[MethodEntry, int], Step]
    wanted: Callable[[RationaleKind], Step]
    dev_rationales: Callable[[], Step]


@dataclass(frozen=True, slots=True)
class Trained:
    """The students of one arm: stage -> the step that holds its weights, and who only helped."""

    stages: dict[str, Step] = field(default_factory=dict)
    helpers: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Course:
    """One method for one student with one seed."""

    ground: Ground
    student: StudentEntry
    files: Mapping[str, str]
    entry: MethodEntry
    seed: int

    def arms(self) -> Iterator[Arm]:
        rates = rates_of(self.entry, self.ground.recipe.train)
        choice = self._choice(rates) if len(rates) > 1 and self._is_trained else None
        trained = self._train(self.entry.budget, rates[0] if not choice else None, choice)
        tuned = self._tune(trained) if self.entry.method.TUNED else None
        for split in self.ground.recipe.evaluate.splits:
            predicted = self._predict(split, trained, tuned=tuned)
            yield self._arm(split, trained, predicted, **self._scored(split, trained, predicted))
            given = readable_stage(self.entry)
            if given and split in self.ground.asked:
                bound = self._predict(split, trained, given, tuned=tuned)
                yield self._arm(split, trained, bound, upper_bound=True)
            yield from self._beside(split, trained, predicted, tuned)

    def _beside(self, split: str, trained: Trained, predicted: Step, tuned: Step | None) -> Iterator[Arm]:
        """The same student asked in other ways: several times for a vote, and with changed rationales."""
        evaluate = self.ground.recipe.evaluate
        if evaluate.votes and self._is_trained:
            drawn = {"chains": evaluate.votes, "temperature": evaluate.vote_temperature}
            vote = self._predict(split, trained, tuned=tuned, beside=drawn, name=f"vote-{evaluate.votes}")
            yield self._arm(split, trained, vote, chains=evaluate.votes)
        for text in evaluate.probes:
            if self._can_be_probed(probe_of(text)):
                change = {"probe": text}
                probed = self._predict(
                    split, trained, tuned=tuned, beside=change, name=text, original=predicted
                )
                yield self._arm(split, trained, probed, probe=text)

    def _can_be_probed(self, probe: Probe) -> bool:
        """Only what students write is probed: a stage that a teacher writes would be paid for again."""
        by_others = any(stage.by != "student" for stage in self.entry.method.stages())
        return not by_others and applies(probe, self.entry.method, self._form)

    @property
    def _form(self) -> AnswerForm:
        """What answers look like, as far as the recipe and the task say it before the data is read."""
        task = self.ground.recipe.task
        form: AnswerForm = task.form or shelves.load("tasks", task.name).form
        return form

    def _arm(self, split: str, trained: Trained, predicted: Step, **marks: Any) -> Arm:
        helpers = tuple(trained.helpers)
        return Arm(
            self.entry, self.student, self.seed, split, trained.stages, predicted, helpers=helpers, **marks
        )

    @property
    def _is_trained(self) -> bool:
        return any(stage.trained for stage in self.entry.method.stages())

    # ------------------------------------------------------------ training

    def _choice(self, rates: tuple[float, ...]) -> Step:
        """Short trainings at each rate, and the choice between them by their loss on dev's rationales."""
        needs: dict[str, Step] = {}
        for rate in rates:
            name = f"search-{rate:g}/{self.entry.label}"
            trained = self._train(self.ground.recipe.train.search_share, rate, None, name)
            learned = {stage.name for stage in self.entry.method.stages() if stage.trained}
            needs |= {f"{rate!r} {name}": step for name, step in trained.stages.items() if name in learned}
        name = f"choose/{self.student.label}/{self.entry.label}/seed{self.seed}"
        title = f"choose {self.entry.label}'s learning rate on dev"
        return self.ground.add(make_step(name, "choose", {}, needs, title, 0.1))

    def _train(self, budget: float, rate: float | None, choice: Step | None, search: str = "") -> Trained:
        """One training for each stage of the method, which share the budget. Those of a `search`, which
        goes by that name, also measure their loss on dev, and read the teacher's rationales alone."""
        trained = Trained()
        stages = self.entry.method.stages()
        for stage in stages:
            if stage.uses:
                trained.stages[stage.name] = trained.stages[stage.uses]
            elif stage.by == "untrained":
                trained.stages[stage.name] = self._untrained(stage)
            elif stage.by == "student":
                settings, needs = self._lesson(stage, budget, rate, choice, trained, search)
                if stage.reads != "teacher" and not search:
                    needs |= self._cross_fitted(stage, stages, budget, rate, choice, trained)
                label = search or self.entry.label
                trained.stages[stage.name] = self._training(stage, settings, needs, label)
        return trained

    def _lesson(
        self,
        stage: Stage,
        budget: float,
        rate: float | None,
        choice: Step | None,
        trained: Trained,
        search: str = "",
    ) -> tuple[dict[str, Any], dict[str, Step]]:
        """The settings and needs of one training."""
        ground, method = self.ground, self.entry.method
        spec = ground.recipe.train
        spec = spec.model_copy(update={"budget": spec.budget.times(budget * (stage.share or 1))})
        settings: dict[str, Any] = {
            "student": self.student.student.model_dump(mode="json"),
            "files": dict(self.files),
            "method": method.model_dump(mode="json"),
            "stage": stage.name,
            "split": "train",
            "train": {k: v for k, v in spec.decisive().items() if k not in ("learning_rate", "search_share")},
            "learning_rate": rate,
            "seed": self.seed,
        }
        needs = {"data": ground.data, "rationales": ground.rationales(self.entry, self.seed)}
        needs |= {kind: ground.wanted(kind) for kind in sorted(method.wants() - {"right", "hinted"})}
        needs |= {"choice": choice} if choice else {}
        if search:
            # A rate is tried for its share of the budget, however its loss goes.
            settings["train"] |= {"stopping": None, "average": 0}
        if search or (spec.stopping and spec.stopping.metric == "dev_loss"):
            needs["dev rationales"] = ground.dev_rationales()
        elif spec.stopping:
            settings["max_new_tokens"] = ground.recipe.evaluate.max_new_tokens
        if stage.start_from:
            needs["start"] = trained.stages[stage.start_from]
        learners = [method.learner(other.name) for other in method.stages() if other.trained]
        # The other stages of such a method read the teacher's tokenizer.
        if any(learner and learner.NEEDS_TEACHER for learner in learners):
            settings["teacher"], more = self._logits()
            needs |= more
        return settings, needs

    def _logits(self) -> tuple[dict[str, Any], dict[str, Step]]:
        """The model whose logits a learner needs: one that this run trains, or the teacher's checkpoint."""
        if self.ground.teach:
            return {}, {"teach": self.ground.teach}
        teacher = self.ground.recipe.faculty[0].teacher
        return {"teacher": teacher.decisive(), "files": hashes(teacher.files())}, {}

    def _training(
        self, stage: Stage, settings: Mapping[str, Any], needs: Mapping[str, Step], label: str
    ) -> Step:
        recipe, many = self.ground.recipe, len(self.entry.method.stages()) > 1
        name = f"train/{self.student.label}/{label}/seed{self.seed}/{stage.name}"
        title = self._titled(f"train {label}{f' ({stage.name})' if many else ''}")
        cost = effort(recipe.train) * settings["train"]["budget"]["amount"] / recipe.train.budget.amount
        how = {"train": recipe.train.place(), "name": name}
        alone = recipe.train.devices != 1
        return self.ground.add(make_step(name, "train", settings, needs, title, cost, alone, how))

    def _untrained(self, stage: Stage) -> Step:
        """The student as it was: its own texts make a from-scratch vocabulary, and nothing is learned."""
        settings, needs = self._lesson(stage, 1.0, 0.0, None, Trained())
        settings = {key: settings[key] for key in ("student", "files", "method", "stage", "split", "seed")}
        name = f"create/{self.student.label}/seed{self.seed}/{self.entry.label}"
        title = self._titled(f"take {self.student.label} as it is")
        return self.ground.add(make_step(name, "create", settings, needs, title, 1))

    def _cross_fitted(
        self,
        stage: Stage,
        stages: Sequence[Stage],
        budget: float,
        rate: float | None,
        choice: Step | None,
        trained: Trained,
    ) -> dict[str, Step]:
        """Rationales on the training questions by students that did not see them: of each part of the
        questions, the earlier stage is trained on the others and writes on this one."""
        before = next(earlier for earlier in stages if earlier.writes == "rationale")
        found: dict[str, Step] = {}
        for fold in range(stage.folds):
            settings, needs = self._lesson(before, budget, rate, choice, trained)
            apart = {"fold": fold, "folds": stage.folds}
            label = f"{self.entry.label}/without-{fold + 1}-of-{stage.folds}"
            helper = self._training(before, {**settings, **apart}, needs, label)
            trained.helpers.append(helper)
            written = self._predict(
                "train", Trained({before.name: helper}), beside={**apart, "only": before.name}, name=label
            )
            found[f"written {fold}"] = written
        return found

    def _tune(self, trained: Trained) -> Step:
        """What the method fits, on dev and nowhere else."""
        dev = self._predict("dev", trained, beside={"raw": True}, name="raw")
        name = f"tune/{self.student.label}/{self.entry.label}/seed{self.seed}"
        settings = {"method": self.entry.method.model_dump(mode="json"), "split": "dev"}
        needs = {"data": self.ground.data, "predicted": dev}
        title = self._titled(f"fit {self.entry.label} on dev")
        return self.ground.add(make_step(name, "tune", settings, needs, title, 0.2))

    # ------------------------------------------------------------ asking

    def _predict(
        self,
        split: str,
        trained: Trained,
        given: str | None = None,
        *,
        tuned: Step | None = None,
        beside: Mapping[str, Any] | None = None,
        name: str = "",
        original: Step | None = None,
    ) -> Step:
        """The students on a split. `beside` says what is not as usual."""
        ground = self.ground
        settings: dict[str, Any] = {
            "student": self.student.student.model_dump(mode="json"),
            "method": self.entry.method.model_dump(mode="json"),
            "split": split,
            "max_new_tokens": ground.recipe.evaluate.max_new_tokens,
            "batch_tokens": ground.recipe.evaluate.batch_tokens,
            "given": given,
            **(beside or {}),
        }
        settings |= ground.recipe.evaluate.decisive(drawn="chains" in settings)
        needs = {"data": ground.data}
        only = settings.get("only")
        stages = [stage for stage in self.entry.method.stages() if only in (None, stage.name)]
        for stage in stages:
            if stage.asked and stage.name != given and stage.by != "teacher":
                needs[f"stage {stage.uses or stage.name}"] = trained.stages[stage.uses or stage.name]
        needs |= {"tuned": tuned} if tuned else {}
        needs |= {"original": original} if original else {}
        if given:
            needs["teacher"] = ground.asked[split]
        others = any(stage.by == "teacher" for stage in stages)
        machines = ground.recipe.evaluate.ray
        how: dict[str, Any] = {"engine": ground.recipe.evaluate.engine}
        how |= {"machines": machines.model_dump(mode="json")} if machines else {}
        how |= self._answerer(settings, needs) if others else {}
        suffix = "-given" if given else f"-{name}" if name and not only else ""
        label = name if only else self.entry.label
        path = f"predict/{self.student.label}/{label}/seed{self.seed}/{split}{suffix}"
        title = f"ask {self.entry.label} on {split}" + (" with the teacher's rationale" if given else "")
        title += f" ({name})" if name and not given else ""
        alone = bool(machines) or (others and bool(ground.recipe.budget.caps()))
        return ground.add(make_step(path, "predict", settings, needs, self._titled(title), 6, alone, how))

    def _scored(self, split: str, trained: Trained, predicted: Step) -> dict[str, Any]:
        """What an arm says of its options: the step that scores them, or why there is none."""
        title = self._titled(f"score the options of {self.entry.label} on {split}")
        evaluate = self.ground.recipe.evaluate
        found = score_step(evaluate, self._form, self.student, self.entry, trained.stages, predicted, title)
        return {"scored": self.ground.add(found)} if isinstance(found, Step) else {"unscored": found or ""}

    def _answerer(self, settings: dict[str, Any], needs: dict[str, Step]) -> dict[str, Any]:
        """Who else answers: the method's own answerer, or the recipe's teacher. Returns how it is asked."""
        own = self.entry.method.answerer()
        who: Teacher = own or self.ground.recipe.faculty[0].teacher
        settings["answerer"] = {**who.decisive(), "identity": asdict(who.identity())}
        settings["answerer_files"] = hashes(who.files())
        settings["revision"] = self.ground.teach.hash if own is None and self.ground.teach else ""
        if own is None and self.ground.teach:
            needs["teach"] = self.ground.teach
        how = asked_how(self.ground.recipe)
        paid = {tuple(payer) for payer in how["paid"]} | {(who.identity().endpoint, who.identity().model)}
        return {**how, "answerer": who.model_dump(mode="json"), "paid": sorted(paid)}

    def _titled(self, title: str) -> str:
        """The title, with the student and seed where there are several."""
        recipe = self.ground.recipe
        many = [self.student.label] if len(recipe.students) > 1 else []
        many += [f"seed {self.seed}"] if len(recipe.seeds) > 1 else []
        return f"{title} ({', '.join(many)})" if many else title
