"""Every shelf keeps its contract: whatever stands on a shelf is tested here, with no edit for a new file."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import test_teacher_anthropic
import test_teacher_batch
import test_teacher_litellm
import test_teacher_vllm
import understudy
from loopback import Loopback
from small import QUESTIONS, RATIONALES
from understudy import catalogue, shelves
from understudy.answers import canonical, judge, write
from understudy.errors import DataError, RecipeError, UnderstudyError
from understudy.recipe import parse_recipe
from understudy.roles import Completer, Method, Metric, Source, Stage, Student, Task, Teacher
from understudy.types import (
    AnswerForm,
    Example,
    Exemplar,
    Judged,
    Message,
    Prediction,
    Question,
    Rationale,
    Request,
    Sampling,
    Verdict,
    VerdictName,
    Written,
)

TASKS = shelves.names("tasks")
METHODS = shelves.names("methods")
STUDENTS = shelves.names("students")
TEACHERS = shelves.names("teachers")
METRICS = shelves.names("metrics")


# ---------------------------------------------------------------- tasks


def task_of(name: str) -> Task:
    task = shelves.load("tasks", name)
    assert isinstance(task, Task)
    return task


def own_file(task: Task) -> bool:
    return not task.generated and task.hub is None


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_is_and_whose(name: str) -> None:
    task = task_of(name)
    assert task.name == name
    assert task.title
    assert task.licence
    assert task.form in QUESTIONS
    assert "train" in task.splits
    assert len(set(task.splits)) == len(task.splits)
    assert set(task.counts) <= set(task.splits)
    assert task.homepage.startswith("https://") or task.generated or own_file(task)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_from_the_hub_is_pinned_to_a_commit(name: str) -> None:
    task = task_of(name)
    if task.hub is None:
        assert task.generated or task.files, "rows come from the Hub, from the task itself, or from a file"
    else:
        assert re.fullmatch(r"[0-9a-f]{40}", task.hub.revision)
        assert "/" in task.hub.id
        assert task.counts, "an official set has official counts"


@pytest.mark.parametrize("name", TASKS)
def test_every_exemplar_reasons_and_is_right_by_the_judge(name: str) -> None:
    task = task_of(name)
    assert task.exemplars or own_file(task)
    for exemplar in task.exemplars:
        assert exemplar.rationale.strip()
        stated = f"{exemplar.rationale} {write(exemplar.answer, task.form)}"
        assert judge(stated, exemplar.answer, task.form, exemplar.choices).name == "correct"
        assert bool(exemplar.choices) == (task.form == "choice")


@pytest.mark.parametrize("name", [name for name in TASKS if task_of(name).generated])
def test_a_generated_task_makes_distinct_questions_that_its_judge_can_read(name: str) -> None:
    task = task_of(name)
    splits = {split: task.load(split, Source()) for split in task.splits}
    assert {split: len(questions) for split, questions in splits.items()} == task.counts
    ids = {split: {question.id for question in questions} for split, questions in splits.items()}
    for split, questions in splits.items():
        assert len(ids[split]) == len(questions)
        for question in questions:
            assert canonical(question.answer, task.form, question.choices) is not None
            assert judge(write(question.answer, task.form), question.answer, task.form).name == "correct"
    for one, other in itertools.combinations(splits, 2):
        assert not ids[one] & ids[other], f"{one} and {other} share questions"
    shown = {Question(e.question, e.answer, e.choices).id for e in task.exemplars}
    assert not shown & set().union(*ids.values()), "an exemplar is one of the questions"
    assert task.load("train", Source()) == splits["train"]


# ---------------------------------------------------------------- methods


def toy(form: AnswerForm) -> Task:
    """A task of that form, for methods that take their exemplars and form from one."""
    question = QUESTIONS[form]
    shown = Exemplar("What is shown?", "Look at it.", question.answer, question.choices)
    return Task("toy", "Toy", form, ("train",), lambda split, source: [], (shown,), "Apache-2.0", "")


def method_of(name: str, form: AnswerForm = "number") -> Method:
    method = shelves.load("methods", name)().for_task(toy(form))
    assert isinstance(method, Method)
    return method


def wanted(method: Method, rationale: Rationale) -> list[Rationale]:
    """The rationale, and one of each other kind that the method asks for."""
    others = enumerate(sorted(method.wants() - {"right"}), 1)
    return [rationale, *(Rationale(rationale.question_id, n, "Or so.", "C", kind=kind) for n, kind in others)]


def groups_of(
    method: Method, stage: Stage, question: Question, rationales: Sequence[Rationale], form: AnswerForm
) -> list[tuple[Example, ...]]:
    """What the student that writes the stage's text was trained on."""
    return method.examples(stage.uses or stage.name, question, rationales, form)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_stages_that_share_one_budget(name: str) -> None:
    method = method_of(name)
    stages = method.stages()
    names = [stage.name for stage in stages]
    assert method.name == name
    assert len(set(names)) == len(names)
    assert {stage.writes for stage in stages} <= {"answer", "rationale", "both"}
    trained = [stage for stage in stages if stage.trained]
    assert all(stage.share > 0 for stage in trained)
    assert sum(stage.share for stage in trained) == pytest.approx(1 if trained else 0)
    assert all(stage.share == 0 for stage in stages if not stage.trained)
    for place, stage in enumerate(stages):
        earlier = [other.name for other in stages[:place] if other.trained]
        assert not (stage.uses or stage.start_from) or (stage.uses or stage.start_from) in earlier
        assert not (stage.uses and stage.start_from), "whose weights?"
        assert stage.by == "student" or not (stage.uses or stage.start_from)
        assert stage.reads == "teacher" or any(other.writes == "rationale" for other in stages[:place])
    asked = [stage for stage in stages if stage.asked]
    assert asked
    assert asked[-1].writes != "rationale", "the judge reads what the last stage writes"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_needs(name: str) -> None:
    method = method_of(name)
    assert method.wants() <= {"right", "wrong", "hinted", "counterfactual"}
    assert all(method.learner(stage.name) is None for stage in method.stages() if not stage.trained)
    assert (type(method).tune is not Method.tune) == method.TUNED
    assert json.loads(json.dumps(method.model_dump(mode="json"))) == method.model_dump(mode="json")
    assert shelves.load("methods", name)(**method.model_dump(mode="json")) == method


@pytest.mark.parametrize("form", QUESTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_on_what_it_asks_and_ends_with_the_gold_answer(name: str, form: AnswerForm) -> None:
    """What every stage writes if each student says what it was taught, and what is judged in the end."""
    method, question, rationale = method_of(name, form), QUESTIONS[form], RATIONALES[form]
    final = write(rationale.answer, form)
    perfect = {"answer": final, "rationale": rationale.text, "both": f"{rationale.text} {final}"}
    said: list[Written] = []
    for stage in method.stages():
        groups = groups_of(method, stage, question, wanted(method, rationale), form)
        assert bool(groups) == (stage.by == "student"), "who is trained has examples, and nobody else"
        assert not method.examples(stage.name, question, wanted(method, rationale), form) or stage.trained
        for group in groups:
            assert all(example.question_id == question.id for example in group)
            assert all(example.source and example.target for example in group)
            assert any(example.weight > 0 for example in group)
            assert all(0 <= example.cut < len(example.target) for example in group)
        source = method.prompt(stage.name, question, {part.stage: part.text for part in said})
        if source is None:
            continue
        assert source.strip() == source
        text = perfect[stage.writes]
        if stage.by == "student":
            assert "\n" not in source, "T5's tokenizer has no newline"
            # What has no weight is there to be avoided.
            taught = {e.target for group in groups for e in group if e.source == source and e.weight > 0}
            assert len(taught) == 1, "exactly one thing is taught for the question as it is asked"
            (text,) = taught
        if stage.asked:
            for end in stage.stop:
                text = text.partition(end)[0].strip()
            said.append(Written(stage.name, text, "stop", 1))
    assert said
    settled = method.settle(question, said, form, {})
    assert settled.question_id == question.id
    assert judge(settled.text, question.answer, form, question.choices).name == "correct"
    if any(stage.writes != "answer" for stage in method.stages() if stage.asked):
        assert set(rationale.text.split()) <= set(" ".join(part.text for part in said).split())


@pytest.mark.parametrize("form", QUESTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_no_prompt_of_a_method_gives_the_answer_away(name: str, form: AnswerForm) -> None:
    method, question = method_of(name, form), QUESTIONS[form]
    other = Question(question.text, "A" if form == "choice" else "no", question.choices)
    written: dict[str, str] = {}
    for stage in method.stages():
        prompt = method.prompt(stage.name, question, written)
        assert prompt == method.prompt(stage.name, other, written)
        assert question.rationale not in (prompt or "")
        written[stage.name] = "It is so."


@pytest.mark.parametrize("name", METHODS)
def test_a_method_makes_of_many_rationales_no_more_groups_than_there_are(name: str) -> None:
    method, question = method_of(name), QUESTIONS["number"]
    right = [Rationale(question.id, i, f"{i} + 3 = 5, or so.", "5") for i in range(3)]
    several = [*right, *wanted(method, RATIONALES["number"])[1:]]
    for stage in method.stages():
        if stage.trained:
            groups = method.examples(stage.name, question, several, "number")
            assert 0 < len(groups) <= len(several)
            assert method.examples(stage.name, question, several, "number") == groups


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_text_in_and_text_out(name: str) -> None:
    source = ast.parse(inspect.getsource(inspect.getmodule(shelves.load("methods", name)) or object))
    reached = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(source)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert reached & {"torch", "transformers", "numpy", "tokenizers"} == set()


# ---------------------------------------------------------------- students

FOUR = [
    Example("1", "Question: red or blue?", "The sky is blue. The answer is blue."),
    Example("2", "Question: how many legs has a dog, or a cat?", "Both walk on four. The answer is 4."),
    Example("3", "Question: red?", "The answer is no."),
    Example("4", "Question: how many?", "One and two are three. The answer is 3."),
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_learns_four_examples_by_heart(name: str, tmp_path: Path, one_thread: None) -> None:
    from understudy.roles import Budget, TrainSpec
    from understudy.training import train

    student = shelves.load("students", name)(config="tiny")
    assert isinstance(student, Student)
    assert "scratch" in student.describe()
    assert student.files() == ()
    spec = TrainSpec(budget=Budget(unit="steps", amount=60), precision="fp32", weight_decay=0, beta2=0.98)
    started = time.monotonic()
    groups = [(example,) for example in FOUR]
    record = train(
        student, groups, spec, learning_rate=5e-3, seed=0, folder=tmp_path, progress=lambda *_: None
    )
    assert time.monotonic() - started < 30
    assert record["final_loss"] < 0.1

    live = student.load(tmp_path / "model")
    sources, targets = [e.source for e in FOUR], [e.target for e in FOUR]
    written = live.generate(sources, Sampling(max_tokens=20))
    assert [one.text for one in written] == targets
    assert {one.finish_reason for one in written} == {"stop"}
    assert [one.source_tokens for one in written] == live.source_tokens(sources)
    # Neither the neighbours in a batch nor their order change what is written.
    alone = [live.generate([source], Sampling(max_tokens=20))[0] for source in sources]
    turned = live.generate(sources[::-1], Sampling(max_tokens=20))[::-1]
    for others in (alone, turned):
        assert [(o.text, o.finish_reason, o.tokens) for o in others] == [
            (w.text, w.finish_reason, w.tokens) for w in written
        ]
        assert [o.logprob for o in others] == pytest.approx([w.logprob for w in written], abs=1e-4)
    short = live.generate(sources, Sampling(max_tokens=2))
    assert {(one.finish_reason, one.tokens) for one in short} == {("length", 2)}


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_trained_on_target_tokens_only(name: str, one_thread: None) -> None:
    live = shelves.load("students", name)(config="tiny").create(
        [text for e in FOUR for text in (e.source, f" {e.target}")], seed=0
    )
    encoded = live.encode(FOUR)
    tensors = live.collate(encoded)
    for row, ids in zip(tensors["labels"].tolist(), encoded, strict=True):
        assert [token for token in row if token != -100] == list(ids["target"])
    again = shelves.load("students", name)(config="tiny").create(
        [text for e in FOUR for text in (e.source, f" {e.target}")], seed=0
    )
    for one, other in zip(live.model.parameters(), again.model.parameters(), strict=True):
        assert one.equal(other), "the seed decides the weights"


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("settings", [{}, {"config": "no such shape"}, {"config": "tiny", "checkpoint": "x"}])
def test_a_student_without_one_origin_is_refused(name: str, settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="config"):
        shelves.load("students", name)(**settings)


# ---------------------------------------------------------------- teachers

Offline = Callable[[Path, ExitStack], dict[str, Any]]


def _trained(folder: Path) -> Path:
    """The folder of a tiny decoder that has learned nothing."""
    live = shelves.load("students", "causal")(config="tiny").create(["Question: red or blue? The answer"], 0)
    live.save(folder / "model")
    return folder / "model"


def _recorded(folder: Path, stack: ExitStack) -> dict[str, Any]:
    path = folder / "rationales.jsonl"
    rows = [{"question": q.text, "rationale": f"{q.text} Said once."} for q in _asked()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"path": path}


def _openai(folder: Path, stack: ExitStack) -> dict[str, Any]:
    return {"base_url": stack.enter_context(Loopback()).url, "model": "loopback"}


def _student(folder: Path, stack: ExitStack) -> dict[str, Any]:
    return {"path": str(_trained(folder)), "student": {"name": "causal", "config": "tiny"}}


OFFLINE: dict[str, Offline] = {
    "anthropic": test_teacher_anthropic.offline,
    "litellm": test_teacher_litellm.offline,
    "openai_batch": test_teacher_batch.offline,
    "vllm": test_teacher_vllm.offline,
    "lexical": lambda folder, stack: {},
    "openai": _openai,
    "recorded": _recorded,
    "student": _student,
    "template": lambda folder, stack: {},
    "transformers": lambda folder, stack: {"model": str(_trained(folder))},
}
"""How to build a teacher that can answer here; one without a line is asked to keep the other contracts."""


def _asked() -> list[Question]:
    return [Question(f"Which is {word}?", "red", rationale="It is.") for word in ("red", "so very red", "r")]


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_names_every_key_that_must_be_given(name: str) -> None:
    spec = shelves.load("teachers", name)
    assert issubclass(spec, Teacher)
    required = {key for key, field in spec.model_fields.items() if field.is_required()}
    shown = [line for line in catalogue.description(f"teachers/{name}") if "(must be given)" in line]
    assert {line.split(":")[0].strip() for line in shown} == required
    if not required:
        assert spec().name == name
        return
    with pytest.raises(RecipeError) as wrong:
        parse_recipe(f"name: x\ntask: coin_flip\nteacher: {name}\n", "x.yaml", (), {})
    for key in required:
        assert f"teacher.{key}" in str(wrong.value)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_answers_every_sample_once_and_knows_who_it_is(
    name: str, tmp_path: Path, one_thread: None
) -> None:
    if name not in OFFLINE:
        pytest.skip(f"how to build the teacher '{name}' offline is not written in OFFLINE")
    with ExitStack() as stack:
        teacher = shelves.load("teachers", name)(**OFFLINE[name](tmp_path, stack))
        assert isinstance(teacher, Teacher)
        assert teacher.name == name
        assert teacher.apprenticeship() is None
        assert all(path.is_file() for path in teacher.files())
        completer: Completer = teacher.build(None)
        stack.callback(completer.close)
        assert completer.identity == teacher.identity()
        requests = [
            Request(question, (Message("user", f"Question: {question.text}"),), samples)
            for question, samples in zip(_asked(), ((0, 1), (3,), (0,)), strict=True)
        ]
        warm = Sampling(temperature=0.7, max_tokens=8, seed=1)
        answers = [landed for batch in completer.complete(iter(requests), warm) for landed in batch]
        assert sorted((position, c.sample) for position, c in answers) == [(0, 0), (0, 1), (1, 3), (2, 0)]
        for position, completion in answers:
            assert completion.question_id == requests[position].question.id
            assert (completion.finish_reason == "error") == bool(completion.error)
        assert list(completer.complete([], Sampling())) == []


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_is_equal_to_what_its_recipe_says(name: str, tmp_path: Path) -> None:
    """A recipe is saved with its run, so a spec must survive being written and read."""
    if name not in OFFLINE:
        pytest.skip(f"how to build the teacher '{name}' offline is not written in OFFLINE")
    with ExitStack() as stack:
        spec = shelves.load("teachers", name)
        teacher = spec(**OFFLINE[name](tmp_path, stack))
        assert spec(**json.loads(json.dumps(teacher.model_dump(mode="json")))) == teacher


# ---------------------------------------------------------------- metrics


def judged(number: int, verdict: VerdictName, finish: str = "stop") -> Judged:
    question = Question(f"Question {number}?", "1")
    written = Written("answer", "The answer is 1.", "length" if finish == "length" else "stop", 3 + number)
    return Judged(question, Prediction(question.id, (written,)), Verdict(verdict, "1"))


ROWS = [judged(0, "correct"), judged(1, "correct"), judged(2, "wrong"), judged(3, "no_answer", "length")]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_has_an_n_and_an_interval_around_it(name: str) -> None:
    metric: Metric = shelves.load("metrics", name)
    score = metric(ROWS)
    assert (score.name, score.n) == (name, len(ROWS))
    assert score.unit
    assert score.explanation
    if score.unit == "fraction":
        assert score.interval is not None
        assert 0 <= score.interval[0] <= score.value <= score.interval[1] <= 1
    assert metric(ROWS[::-1]) == score, "the order of the questions changes nothing"
    assert metric(ROWS[:1]).n == 1


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(DataError):
        shelves.load("metrics", name)([])


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("shelf", shelves.SHELVES)
def test_a_wrong_name_says_what_there_is_and_what_is_nearest(shelf: str) -> None:
    name = shelves.names(shelf)[0]
    with pytest.raises(RecipeError) as wrong:
        shelves.load(shelf, f"{name}x")
    assert f"did you mean '{name}'" in str(wrong.value)
    assert all(known in str(wrong.value) for known in shelves.names(shelf))


def test_a_dotted_name_reaches_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "mine.py").write_text('__all__ = ["mine"]\nmine = 7\n', encoding="utf-8")
    (inner / "mess.py").write_text("one = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert shelves.load("metrics", "inner.mine") == 7
    for name in ("inner.mess", "inner.absent"):
        with pytest.raises(UnderstudyError):
            shelves.load("metrics", name)


# ---------------------------------------------------------------- one new file is enough

RIDDLES = '''"""riddles: sums of two small numbers, as one file."""

from understudy.roles import Source, Task
from understudy.types import Exemplar, Question

__all__ = ["riddles"]

COUNTS = {"train": 40, "dev": 10, "test": 10}
FIRST = {"train": 0, "dev": 40, "test": 50}


def _load(split: str, source: Source) -> list[Question]:
    numbers = range(FIRST[split], FIRST[split] + COUNTS[split])
    return [Question(f"{n} + 1?", str(n + 1), rationale=f"{n} + 1 = {n + 1}.") for n in numbers]


riddles = Task(
    name="riddles",
    title="Riddles",
    form="number",
    splits=tuple(COUNTS),
    load=_load,
    exemplars=(Exemplar("70 + 1?", "70 + 1 = 71.", "71"),),
    licence="Apache-2.0",
    homepage="",
    counts=COUNTS,
    generated=True,
)
'''

BACKWARDS = '''"""backwards: the answer first, then the rationale, as one file."""

from collections.abc import Mapping, Sequence
from typing import Literal

from understudy.answers import write
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Question, Rationale

__all__ = ["Backwards"]


class Backwards(Method):
    """Fine-tuning on the answer followed by its explanation."""

    name: Literal["backwards"] = "backwards"

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("answer", writes="both"),)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        source = self.prompt(stage, question, {})
        return [(Example(question.id, source, f"{write(r.answer, form)} {r.text}"),) for r in rationales]

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str:
        return f"{render(question)} Answer and explain:"
'''


def test_a_new_task_and_a_new_method_are_one_file_each(tmp_path: Path) -> None:
    """In a copy of the package: listed, and held to the contracts above, with no other edit."""
    package = Path(understudy.__file__).parent
    copy = tmp_path / "understudy"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
    (copy / "tasks" / "riddles.py").write_text(RIDDLES, encoding="utf-8")
    (copy / "methods" / "backwards.py").write_text(BACKWARDS, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import understudy; print(understudy.__file__)\nfrom understudy.cli import main; main(['list'])"
    listed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert str(copy) in listed.stdout, "the copy is the one that is listed"
    assert re.search(r"^ +riddles +sums of two small numbers", listed.stdout, re.MULTILINE)
    assert re.search(r"^ +backwards +the answer first", listed.stdout, re.MULTILINE)

    held = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rN", "-p", "no:cacheprovider"),
            *(__file__, "-k", "riddles or backwards"),
        ],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert held.returncode == 0, held.stdout
    passed = re.search(r"(\d+) passed", held.stdout)
    assert passed
    about_a_task, about_a_method, about_a_method_by_form = 4, 4, 2
    assert int(passed.group(1)) == about_a_task + about_a_method + about_a_method_by_form * len(QUESTIONS)
