"""Recipe text -> Recipe, every problem reported at once with its file, line and nearest valid key."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from understudy import shelves
from understudy.errors import RecipeError
from understudy.recipe.problems import problems, shown
from understudy.recipe.spec import (
    CONTROL,
    CombinationError,
    MethodEntry,
    Recipe,
    StudentEntry,
    TeacherEntry,
)
from understudy.recipe.text import Keys, Problem, dotted, read
from understudy.roles import Method, Spec, Student, Task, Teacher, TrainSpec


def load_recipe(
    path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> Recipe:
    """The recipe in the file `path`, changed by `key=value` overrides. Raises RecipeError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: this is not UTF-8 text, so it cannot be a recipe") from error
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    return parse_recipe(text, str(path), overrides, environment)


def parse_recipe(
    text: str, name: str, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> Recipe:
    """The recipe in `text`; `name` stands for it in messages. Raises RecipeError listing every problem."""
    document = read(text, name, overrides, environment)
    values: dict[str, Any] = dict(document.values)
    found: list[Problem] = []
    for key, section in _SECTIONS.items():
        if key in values:
            values[key] = section(values[key], found)
    failed = {problem.keys[0] for problem in found}
    failed |= {"teacher"} if "teachers" in failed else set()
    values = {key: value for key, value in values.items() if key not in failed}
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        top = problems(error, Recipe, values)
        document.refuse([*found, *(p for p in top if not p.keys or p.keys[0] not in failed)])
        raise
    except CombinationError as error:
        document.refuse([*found, *(p for p in error.problems if not p.keys or p.keys[0] not in failed)])
        raise
    document.refuse([*found, *_misread(document.values, recipe.written(), ())])
    return _with_prompt(_with_control(recipe), document.values)


def builtin(name: str) -> str:
    """The text of a recipe that is shipped with the package, such as "demo_arithmetic"."""
    folder = resources.files("understudy") / "recipes"
    known = sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )
    if name not in known:
        raise RecipeError(f"no built-in recipe is called '{name}' (there are: {', '.join(known)})")
    return (folder / f"{name}.yaml").read_text(encoding="utf-8")


def _misread(written: Any, read: Any, keys: Keys) -> Iterator[Problem]:
    """pydantic takes true for 1; in a recipe that is a slip."""
    if isinstance(written, bool) and not isinstance(read, bool):
        yield Problem(keys, f"'{dotted(keys)}' should be a number, but is {shown(written)}")
    elif isinstance(written, Mapping) and isinstance(read, Mapping):
        for key in sorted(written.keys() & read.keys()):
            yield from _misread(written[key], read[key], (*keys, key))
    elif isinstance(written, list) and isinstance(read, list):
        for index, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from _misread(one, other, (*keys, index))


def _with_control(recipe: Recipe) -> Recipe:
    """The control goes in front where it lacks: a method without it beside it shows nothing."""
    if any(entry.method.name == CONTROL for entry in recipe.methods):
        return recipe
    control = MethodEntry(label=CONTROL, method=shelves.load("methods", CONTROL)(name=CONTROL))
    note = f"The recipe did not name the control {CONTROL}, which is never optional: it was added."
    return recipe.model_copy(update={"methods": (control, *recipe.methods), "notes": (*recipe.notes, note)})


def _with_prompt(recipe: Recipe, written: Mapping[str, Any]) -> Recipe:
    """A task without exemplars is asked zero-shot, unless the recipe itself asks for examples."""
    task: Task = shelves.load("tasks", recipe.task.name)
    if task.exemplars or recipe.prompt.style != "few_shot":
        return recipe
    if "style" in (written.get("prompt") or {}):
        raise RecipeError(
            f"the task '{task.name}' has no exemplars to show: write 'prompt: {{style: zero_shot}}'"
        )
    note = f"The task {task.name} has no exemplars, so its prompt is zero-shot."
    prompt = recipe.prompt.model_copy(update={"style": "zero_shot"})
    return recipe.model_copy(update={"prompt": prompt, "notes": (*recipe.notes, note)})


# ---------------------------------------------------------------- sections that name a thing on a shelf


def _teacher(written: Any, found: list[Problem]) -> Teacher | None:
    teacher: Teacher | None = _spec("teachers", Teacher, written, ("teacher",), found)
    apprenticeship = teacher.apprenticeship() if teacher else None
    if apprenticeship:
        _spec("students", Student, apprenticeship.student, ("teacher", "student"), found)
        _spec("methods", Method, apprenticeship.method, ("teacher", "method"), found)
        _validated(TrainSpec, dict(apprenticeship.train), ("teacher", "train"), found)
    return teacher


def _teachers(written: Any, found: list[Problem]) -> Any:
    return [
        TeacherEntry(**own, teacher=spec)
        for own, spec in _entries("teachers", Teacher, TeacherEntry, written, found)
    ]


def _students(written: Any, found: list[Problem]) -> Any:
    return [
        StudentEntry(**own, student=spec)
        for own, spec in _entries("students", Student, StudentEntry, written, found)
    ]


def _methods(written: Any, found: list[Problem]) -> Any:
    return [
        MethodEntry(**own, method=spec)
        for own, spec in _entries("methods", Method, MethodEntry, written, found)
    ]


def _task(written: Any, found: list[Problem]) -> Any:
    del found  # the recipe itself validates the rest
    return {"name": written} if isinstance(written, str) else written


def _audit(written: Any, found: list[Problem]) -> Any:
    if not isinstance(written, Mapping):
        return written
    values = dict(written)
    if values.get("reader") is not None:
        values["reader"] = _spec("teachers", Teacher, values["reader"], ("audit", "reader"), found)
    if isinstance(values.get("against"), list):
        values["against"] = [_task(entry, found) for entry in values["against"]]
    return values


_SECTIONS = {
    "task": _task,
    "teacher": _teacher,
    "teachers": _teachers,
    "audit": _audit,
    "students": _students,
    "methods": _methods,
}


def _entries(
    shelf: str, kind: type[Spec], entry: type[Spec], written: Any, found: list[Problem]
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Each entry's own fields and its spec, where both are valid."""
    if not isinstance(written, list):
        found.append(Problem((shelf,), f"'{shelf}' should be a list, but is {shown(written)}"))
        return
    part = shelf[:-1]
    own_names = tuple(name for name in entry.model_fields if name != part)
    for index, item in enumerate(written):
        keys = (shelf, index)
        before = len(found)
        values = dict(item) if isinstance(item, Mapping) else item
        own = {key: values.pop(key) for key in own_names if isinstance(item, Mapping) and key in item}
        spec = _spec(shelf, kind, values, keys, found, own_names)
        if own.get("label") is None:
            own["label"] = spec.name.rpartition(".")[2] if spec else part
        try:
            entry.model_validate({**own, part: spec} if spec else own)
        except ValidationError as error:
            found.extend(p for p in problems(error, entry, own, keys) if p.keys != (*keys, part))
        if spec is not None and len(found) == before:
            yield own, spec


def _spec(
    shelf: str, kind: type[Spec], written: Any, keys: Keys, found: list[Problem], also: Sequence[str] = ()
) -> Any:
    """The spec on `shelf` that `written` names, or None with the reasons added to `found`."""
    values = {"name": written} if isinstance(written, str) else written
    if not isinstance(values, Mapping):
        sentence = f"'{dotted(keys)}' should be a name or a mapping of keys, but is {shown(written)}"
        found.append(Problem(keys, sentence))
        return None
    name = values.get("name")
    if not isinstance(name, str):
        there = ", ".join(shelves.names(shelf))
        found.append(Problem(keys, f"'{dotted((*keys, 'name'))}' should name one of the {shelf}: {there}"))
        return None
    try:
        model = shelves.load(shelf, name)
    except RecipeError as error:
        found.append(Problem((*keys, "name"), str(error)))
        return None
    if not (isinstance(model, type) and issubclass(model, kind)):
        found.append(Problem((*keys, "name"), f"'{name}' is not one of the {shelf}"))
        return None
    return _validated(model, dict(values), keys, found, also)


def _validated(
    model: type[Spec], values: dict[str, Any], keys: Keys, found: list[Problem], also: Sequence[str] = ()
) -> Spec | None:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found.extend(problems(error, model, values, keys, also))
        return None
