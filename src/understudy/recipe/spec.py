"""What a recipe says: one frozen value, and which combinations of its keys make no sense.

Teachers, students and methods are specs from their shelves, so a recipe is validated without torch, a
network or the data. The catch: relative paths are read from the folder where the command is run, not
from the recipe's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializeAsAny, model_validator

from understudy import shelves
from understudy.curate import CurateSpec
from understudy.data import DataSpec
from understudy.engines.ray import RaySpec
from understudy.errors import RecipeError
from understudy.evaluate import EvaluateSpec
from understudy.metering import BudgetSpec
from understudy.policies import PolicySpec, contradictions
from understudy.prices import PriceSpec
from understudy.prompts import PromptSpec
from understudy.recipe.lessons import impossible, unmeasured
from understudy.recipe.teachers import impossible_answerers, impossible_machines, impossible_teachers
from understudy.recipe.text import Keys, Problem, write
from understudy.roles import Apprenticeship, Method, Source, Spec, Student, Task, Teacher, TrainSpec
from understudy.types import AnswerForm, Sampling

CONTROL = "answer_only"
"""The method that every other is measured against."""

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def _folder_name(text: str) -> str:
    if not _FOLDER_NAME.fullmatch(text):
        raise ValueError(
            "it names a folder, so it may hold letters, digits, '.', '_' and '-', a letter or digit first"
        )
    return text


FolderName = Annotated[str, AfterValidator(_folder_name)]
Positive = Annotated[float, Field(gt=0)]


class CombinationError(RecipeError):
    """Each key is valid by itself, but not together with the others."""

    def __init__(self, found: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.sentence for problem in found))
        self.problems = tuple(found)


class TaskEntry(Spec):
    """Which question set, and where its rows come from: the Hub unless there is a `path`."""

    name: str
    path: str | dict[str, str] | None = None
    """A file, a folder with one file per split, or a split -> file mapping, in the original format."""
    revision: str | None = None
    """Another revision of the Hub's data set than the one that the task pins."""
    columns: dict[str, str] = Field(default_factory=dict)
    """For the `jsonl` task: our name -> the file's name of a column."""
    form: AnswerForm | None = None
    """For the `jsonl` task: what answers look like, where that cannot be told from the rows."""
    seed: int = Field(0, ge=0)
    """For tasks that make their questions: another seed, other questions."""

    def source(self) -> Source:
        return Source(
            path=self.path, revision=self.revision, columns=self.columns, form=self.form, seed=self.seed
        )


class AnnotationSampling(PolicySpec):
    """How rationales are drawn from the teacher, and how many a question gets."""

    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(512, gt=0)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    unanswered: Literal["error", "drop"] = "error"
    """What to do about requests that ran out of retries: stop, with the others kept, or go on without."""

    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.stop, self.seed)

    def policy(self) -> PolicySpec:
        return PolicySpec(**self.model_dump(include=set(PolicySpec.model_fields)))


class TeacherEntry(Spec):
    """One of several teachers, who share the questions."""

    label: FolderName
    """Says in the report, and in every rationale, who wrote it."""
    share: Positive = 1.0
    """Its part of the questions, beside the shares of the others: 1 and 4 are a fifth and four fifths."""
    price: PriceSpec | None = None
    """What it costs, where the table of list prices does not know or is wrong."""
    teacher: SerializeAsAny[Teacher]


class StudentEntry(Spec):
    label: FolderName
    student: SerializeAsAny[Student]


class MethodEntry(Spec):
    label: FolderName
    budget: Positive = 1.0
    """Multiple of the training budget, to show what a control does with more of it."""
    learning_rate: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    """Overrides `train.learning_rate`; a list is searched on dev."""
    rationales: Literal["kept", "unfiltered", "random"] = "kept"
    """What it is trained on: what curation kept; every rationale with a readable answer; or as many of
    those as were kept, drawn by lot. The last two are controls that show what filtering does."""
    students: tuple[str, ...] = ()
    """Labels of the students that it is for; all of them where it names none."""
    method: SerializeAsAny[Method]


class AuditSpec(Spec):
    """What the audit of a run looks at beyond the run itself."""

    reader: SerializeAsAny[Teacher] | None = None
    """Who must recover the answer from a rationale without its last sentence. Costs its tokens, twice for
    each rationale: with it, and without any."""
    read: int = Field(500, gt=0)
    """Rationales that the reader is given at most, evenly spaced."""
    against: tuple[TaskEntry, ...] = ()
    """Other question sets that the rationales and the train and dev questions are compared with."""


class Recipe(Spec):
    """Everything a run does. `load_recipe` and `parse_recipe` make one from YAML."""

    name: FolderName
    title: str = ""
    """Heads the report; the name is used when it is empty."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    """Every student is trained once with each."""
    task: TaskEntry
    data: DataSpec = DataSpec()
    teacher: SerializeAsAny[Teacher] | None = None
    """Who writes the rationales."""
    teachers: tuple[TeacherEntry, ...] = ()
    """The same for several, each of whom writes about its share of the questions."""
    prompt: PromptSpec = PromptSpec()
    sampling: AnnotationSampling = AnnotationSampling()
    budget: BudgetSpec = BudgetSpec()
    price: PriceSpec | None = None
    """What `teacher` costs, where the table of list prices does not know or is wrong."""
    ray: RaySpec | None = None
    """Ask the teachers from the actors of a Ray cluster."""
    ledger: str | None = None
    """A file that several runs share, so that none pays for what another has bought; each has its own
    otherwise."""
    curate: CurateSpec = CurateSpec()
    audit: AuditSpec = AuditSpec()
    students: Annotated[tuple[StudentEntry, ...], Field(min_length=1)]
    methods: Annotated[tuple[MethodEntry, ...], Field(min_length=1)]
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    workers: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    """Trainings that run side by side; "auto" looks at the machine."""
    notes: tuple[str, ...] = ()
    """Remarks printed with the report; reading the recipe adds what it changed."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        found = list(_impossible(self))
        if found:
            raise CombinationError(found)
        return self

    @property
    def faculty(self) -> tuple[TeacherEntry, ...]:
        """Everybody who writes rationales; the teacher of a recipe with one goes by "teacher"."""
        if self.teacher is None:
            return self.teachers
        return (TeacherEntry(label="teacher", price=self.price, teacher=self.teacher),)

    @property
    def apprenticeship(self) -> Apprenticeship | None:
        """What the run trains before its teacher can speak, who is then the only one."""
        return self.teacher.apprenticeship() if self.teacher else None

    def written(self) -> dict[str, Any]:
        """The recipe as plain values, laid out as in its file, every default filled in."""
        values = self.model_dump(mode="json")
        del values["teacher" if self.teacher is None else "teachers"]
        if self.teachers:
            values["teachers"] = [_flat(entry, "teacher") for entry in values["teachers"]]
        values["students"] = [_flat(entry, "student") for entry in values["students"]]
        values["methods"] = [_flat(entry, "method") for entry in values["methods"]]
        return values

    def dump(self) -> str:
        """The same as YAML; reading it gives an equal recipe."""
        return write(self.written())


def _flat(entry: Mapping[str, Any], part: str) -> dict[str, Any]:
    spec = dict(entry[part])
    own = {key: value for key, value in entry.items() if key != part}
    return {"name": spec.pop("name"), **own, **spec}


# ---------------------------------------------------------------- combinations


def _impossible(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.faculty:
        yield Problem(("teacher",), "the key 'teacher' is missing, or 'teachers' where there are several")
        return
    yield from _impossible_teachers(recipe)
    yield from _repeated("student", [entry.label for entry in recipe.students])
    yield from _repeated("method", [entry.label for entry in recipe.methods])
    for index, method in enumerate(recipe.methods):
        if method.label == CONTROL and method.method.name != CONTROL:
            sentence = f"the label '{CONTROL}' is the control's; label '{method.method.name}' otherwise"
            yield Problem(("methods", index, "label"), sentence)
    yield from _impossible_methods(recipe)
    if len(set(recipe.seeds)) < len(recipe.seeds):
        yield Problem(("seeds",), "'seeds' names one seed twice, which would count one student as two")
    drawn = recipe.sampling
    for key, sentence in contradictions(drawn.policy(), drawn.sampling(), recipe.prompt):
        yield Problem(("sampling", key), f"'sampling.{key}': {sentence}")
    try:
        task: Task = shelves.load("tasks", recipe.task.name)
    except RecipeError as error:
        yield Problem(("task", "name"), str(error))
        return
    yield from _impossible_task(recipe.task, task)
    yield from _impossible_audit(recipe.audit)
    yield from _impossible_splits(recipe, task)


def _repeated(part: str, labels: Sequence[str]) -> Iterator[Problem]:
    count = Counter(labels)
    for index, label in enumerate(labels):
        if count[label] > 1 and label in labels[:index]:
            yield Problem(
                (f"{part}s", index),
                f"two {part}s are labelled '{label}'; give this one a label of its own, "
                f"such as 'label: {label}_{index + 1}'",
            )


def _impossible_teachers(recipe: Recipe) -> Iterator[Problem]:
    several = [(entry.label, entry.teacher) for entry in recipe.teachers]
    yield from _repeated("teacher", [label for label, _ in several])
    yield from impossible_teachers(recipe.teacher, several, recipe.price is not None)
    teachers = [entry.teacher for entry in recipe.faculty]
    yield from impossible_answerers([entry.method for entry in recipe.methods], teachers)
    if recipe.ray:
        named: list[tuple[Keys, Teacher]] = [(("teacher",), recipe.teacher)] if recipe.teacher else []
        named += [(("teachers", index), teacher) for index, (_, teacher) in enumerate(several)]
        yield from impossible_machines(named)


def _impossible_methods(recipe: Recipe) -> Iterator[Problem]:
    labels = {entry.label: entry.student for entry in recipe.students}
    for index, entry in enumerate(recipe.methods):
        for label in entry.students:
            if label not in labels:
                sentence = f"no student is labelled '{label}' (there are: {', '.join(labels)})"
                yield Problem(("methods", index, "students"), sentence)
        students = [labels[label] for label in entry.students or labels if label in labels]
        policy = recipe.sampling.policy()
        teachers = [taught.teacher for taught in recipe.faculty]
        yield from impossible(index, entry.method, students, teachers, recipe.prompt, policy)
        yield from unmeasured(index, entry.method, recipe.train.stopping)


def _impossible_task(entry: TaskEntry, task: Task) -> Iterator[Problem]:
    if task.generated and entry.path is not None:
        yield Problem(("task", "path"), f"the task '{entry.name}' makes its questions; remove 'task.path'")
    if not task.generated and entry.seed:
        yield Problem(("task", "seed"), f"the task '{entry.name}' reads its questions; remove 'task.seed'")
    if not task.generated and task.hub is None and entry.path is None:
        yield Problem(("task",), f"the task '{entry.name}' reads your own file; give 'task.path'")
    if entry.revision is not None and entry.path is not None:
        yield Problem(
            ("task", "revision"), "'task.revision' is for the Hub and 'task.path' for local files; remove one"
        )


def _impossible_audit(audit: AuditSpec) -> Iterator[Problem]:
    if audit.reader and audit.reader.apprenticeship():
        yield Problem(("audit", "reader"), "the reader cannot be a model that this run trains; name another")
    for index, entry in enumerate(audit.against):
        keys = ("audit", "against", index)
        try:
            task: Task = shelves.load("tasks", entry.name)
        except RecipeError as error:
            yield Problem((*keys, "name"), str(error))
            continue
        for problem in _impossible_task(entry, task):
            yield Problem((*keys, *problem.keys[1:]), problem.sentence)


def _impossible_splits(recipe: Recipe, task: Task) -> Iterator[Problem]:
    splits = recipe.evaluate.splits
    keys = ("evaluate", "splits")
    if not splits or len(set(splits)) < len(splits):
        yield Problem(keys, "'evaluate.splits' should name at least one split, and none twice")
    apprenticeship = recipe.apprenticeship
    taught = apprenticeship.split if apprenticeship else ""
    for split in splits:
        if split in ("train", "dev", taught):
            use = {"train": "trained on", "dev": "used to choose learning rates"}.get(
                split, "taught the teacher"
            )
            yield Problem(
                keys, f"'evaluate.splits' names '{split}', which is {use}: a score there measures nothing"
            )
        elif split not in task.splits:
            there = ", ".join(s for s in task.splits if s not in ("train", "dev", taught))
            yield Problem(
                keys, f"the task '{task.name}' has no split '{split}' to evaluate (there are: {there})"
            )
    if recipe.teacher is None or not apprenticeship:
        return
    if taught not in task.splits:
        there = ", ".join(task.splits)
        yield Problem(
            ("teacher", "split"), f"the task '{task.name}' has no split '{taught}' (there are: {there})"
        )
    if recipe.prompt.style != "bare":
        sentence = (
            f"the teacher '{recipe.teacher.name}' learns from bare questions; write 'prompt: {{style: bare}}'"
        )
        yield Problem(("prompt", "style"), sentence)
