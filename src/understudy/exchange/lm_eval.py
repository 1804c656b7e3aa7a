"""A method's prompts on our questions, as tasks of lm-evaluation-harness (EleutherAI, 0.4): YAML and JSONL.

Stock harness reads them: prompts are rendered here and stand in the data, the strict reading is a regular
expression, and generation is greedy with the recipe's token limit and the method's own stop strings. The
catch is that the harness looks for a data file from where it is started, so the task names it by its whole
path: export again after moving the folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import shelves
from understudy.answers import write
from understudy.data import DataSpec, prepare
from understudy.errors import DataError, RecipeError, StoreError
from understudy.evaluate import EvaluateSpec
from understudy.exchange.options import (
    check_options,
    check_students,
    not_scored,
    option_columns,
    scoring_config,
)
from understudy.exchange.reading import Pattern, agrees, pattern, target
from understudy.graph import Graph
from understudy.recipe import Recipe, load_recipe
from understudy.roles import Method, Source, Stage, Task
from understudy.store import write_text
from understudy.types import AnswerForm, Question

DEFAULT = "single_stage"
"""The method whose prompts a bare task is exported with: its prompt is the question alone."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One task of the harness, written."""

    name: str
    path: Path
    n: int


@dataclass(frozen=True, slots=True)
class _Posed:
    """What is asked: the questions of each split, by whom, and how long an answer may get."""

    name: str
    form: AnswerForm
    splits: dict[str, tuple[Question, ...]]
    methods: dict[str, Method]
    max_new_tokens: int
    architectures: tuple[str, ...] = ("causal",)
    """Of the students: their targets begin differently."""


def export(
    what: str,
    out: Path,
    methods: Sequence[str] = (),
    split: str = "",
    overrides: Sequence[str] = (),
    *,
    scoring: bool = False,
) -> list[Exported]:
    """Write the tasks of a recipe's file, or of a task by its name, into the folder `out`.

    Of a recipe: every method that can be handed over (or those named), on every evaluation split (or the one
    named). With `scoring` the harness scores options by log-likelihood. Raises RecipeError for a method or a
    student that cannot, and DataError for golds that a pattern cannot read or questions without options.
    """
    posed = _of_recipe(what, overrides) if _is_file(what) else _of_task(what, methods, split, overrides)
    if split and split not in posed.splits:
        raise RecipeError(f"there is no split '{split}' to export; choose from {', '.join(posed.splits)}")
    unknown = [name for name in methods if name not in posed.methods]
    if unknown:
        raise RecipeError(
            f"{what} has no method '{unknown[0]}'; choose from {', '.join(posed.methods) or 'none'}"
        )
    why_not = not_scored if scoring else _why_not
    reasons = {name: why_not(method) for name, method in posed.methods.items()}
    wanted = list(methods) or [name for name, reason in reasons.items() if not reason]
    refused = [f"'{name}' cannot be exported: {reasons[name]}" for name in wanted if reasons[name]]
    if refused or not wanted:
        raise RecipeError("; ".join(refused) or f"no method of {what} asks a student once and reads its text")
    splits = [split] if split else list(posed.splits)
    if scoring:
        return [
            _write(posed, name, one, out, architecture)
            for name in wanted
            for one in splits
            for architecture in posed.architectures
        ]
    return [_write(posed, name, one, out) for name in wanted for one in splits]


def _is_file(what: str) -> bool:
    return Path(what).suffix in (".yaml", ".yml") or Path(what).is_file()


def _of_recipe(path: str, overrides: Sequence[str]) -> _Posed:
    recipe: Recipe = load_recipe(Path(path), overrides)
    graph = Graph(recipe)
    settings = graph.data.settings
    prepared = prepare(
        graph.task,
        recipe.task.source(),
        recipe.data,
        settings["evaluation_splits"],
        settings["extra_splits"],
    )
    methods = {entry.label: entry.method.for_task(graph.task) for entry in recipe.methods}
    splits = {split: prepared.splits[split] for split in recipe.evaluate.splits}
    architectures = tuple(dict.fromkeys(entry.student.name for entry in recipe.students))
    check_students(recipe.students)
    return _Posed(recipe.name, prepared.form, splits, methods, recipe.evaluate.max_new_tokens, architectures)


def _of_task(name: str, methods: Sequence[str], split: str, overrides: Sequence[str]) -> _Posed:
    if overrides:
        raise RecipeError("KEY=VALUE is for a recipe; a task by its name has no keys")
    task: Task = shelves.load("tasks", name)
    splits = (split,) if split else EvaluateSpec().splits
    prepared = prepare(task, Source(), DataSpec(), splits)
    posed = {method: shelves.load("methods", method)().for_task(task) for method in methods or (DEFAULT,)}
    return _Posed(
        name,
        prepared.form,
        {one: prepared.splits[one] for one in splits},
        posed,
        EvaluateSpec().max_new_tokens,
    )


def _asked(method: Method) -> list[Stage]:
    return [stage for stage in method.stages() if stage.asked]


def _why_not(method: Method) -> str:
    """Why the harness cannot ask as the method does; empty where it can."""
    stages = _asked(method)
    if len(stages) != 1:
        return f"it asks {len(stages)} times for an answer, and the harness asks once"
    if stages[0].by == "teacher":
        return "its answers are the teacher's"
    if method.TUNED or type(method).settle is not Method.settle:
        return "it makes its answer of what was written by rules that the harness does not know"
    return ""


def _write(posed: _Posed, label: str, split: str, out: Path, scored_by: str = "") -> Exported:
    """`scored_by` is the architecture of students that score options; empty where they write."""
    method = posed.methods[label]
    (stage,) = _asked(method)
    questions = posed.splits[split]
    name = re.sub(r"\W+", "_", f"understudy_{posed.name}_{label}_{split}{'_options' if scored_by else ''}")
    if scored_by:
        check_options(questions, posed.form)
        name += f"_{scored_by}" if len(posed.architectures) > 1 else ""
    else:
        _check(questions, posed.form)
    data, task = out / f"{name}.jsonl", out / f"{name}.yaml"
    try:
        write_text(data, "".join(_lines(questions, method, stage.name, posed.form)))
        config = (
            scoring_config(name, data.resolve(), scored_by)
            if scored_by
            else _config(name, data.resolve(), stage, pattern(posed.form), posed.max_new_tokens)
        )
        write_text(task, _yaml(config))
    except OSError as error:
        raise StoreError(f"{out}: the tasks cannot be written ({error.strerror or error})") from error
    return Exported(name, task, len(questions))


def _check(questions: Sequence[Question], form: AnswerForm) -> None:
    """The sentence that students learn to end with must be read back as right, for every gold."""
    lost = [question for question in questions if not agrees(write(question.answer, form), question, form)]
    if lost:
        shown = lost[0].answer[:60]
        raise DataError(
            f"{len(lost)} of {len(questions)} golds cannot be compared by a pattern (such as '{shown}'): "
            "evaluate these with understudy itself, and compare the two with `understudy compare --judge`"
        )


def _lines(questions: Sequence[Question], method: Method, stage: str, form: AnswerForm) -> Iterator[str]:
    for question in questions:
        prompt = method.prompt(stage, question, {})
        if prompt is None:
            raise RecipeError(f"the method '{method.name}' asks nothing about some questions: not exported")
        row = {
            "id": question.id,
            "prompt": prompt,
            "target": target(question, form),
            "gold": question.answer,
            "form": form,
            "question": question.text,
            "context": question.context,
            "choices": list(question.choices),
            **option_columns(question, form),
        }
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _config(name: str, data: Path, stage: Stage, strict: Pattern, tokens: int) -> dict[str, Any]:
    match = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}
    if strict.ignored:
        match["regexes_to_ignore"] = list(strict.ignored)
    regex = {"function": "regex", "regex_pattern": strict.expression, "group_select": -1}
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "num_fewshot": 0,
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "target",
        "generation_kwargs": {
            "until": list(stage.stop),
            "max_gen_toks": tokens,
            "do_sample": False,
            "temperature": 0.0,
        },
        "filter_list": [{"name": "strict", "filter": [regex, {"function": "take_first"}]}],
        "metric_list": [match],
        "metadata": {"version": 1.0},
    }


def _yaml(config: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000))
