"""What stands on the shelves, in words: the text behind `understudy list` and `understudy show`.

Listing reads each module's docstring from its source without importing it, so a thing whose libraries
are not installed is listed all the same.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from understudy import shelves
from understudy.errors import RecipeError
from understudy.roles import Spec, Task


def listing(shelf: str | None) -> Iterator[str]:
    """The lines of one shelf, or of all. Raises RecipeError for a shelf that is not there."""
    if shelf is not None and shelf not in shelves.SHELVES:
        near = difflib.get_close_matches(shelf, shelves.SHELVES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise RecipeError(f"there is no shelf '{shelf}'{hint} (the shelves are {', '.join(shelves.SHELVES)})")
    for name in (shelf,) if shelf else shelves.SHELVES:
        things = shelves.names(name)
        width = max((len(thing) for thing in things), default=0)
        yield name
        for thing in things:
            yield f"  {thing:<{width}}  {_summary(name, thing)}".rstrip()


def description(name: str) -> Iterator[str]:
    """The lines about NAME or SHELF/NAME. Raises RecipeError when nothing, or more than one, is so called."""
    shelf, thing = _find(name)
    value = shelves.load(shelf, thing)
    yield f"{shelf}/{thing}"
    yield ""
    module = inspect.getmodule(value) if isinstance(value, type) else None
    yield from (_docstring(shelf, thing) or inspect.getdoc(module or value) or "").splitlines()
    if isinstance(value, Task):
        yield from _task(value)
    elif isinstance(value, type) and issubclass(value, Spec):
        yield from _keys(value)


def _find(name: str) -> tuple[str, str]:
    shelf, slash, thing = name.rpartition("/")
    if slash:
        return shelf, thing
    places = [shelf for shelf in shelves.SHELVES if thing in shelves.names(shelf)]
    if len(places) == 1:
        return places[0], thing
    if places:
        choices = " or ".join(f"{shelf}/{thing}" for shelf in places)
        raise RecipeError(f"'{thing}' stands on more than one shelf; write {choices}")
    everything = [other for shelf in shelves.SHELVES for other in shelves.names(shelf)]
    near = difflib.get_close_matches(thing, everything, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "; `understudy list` shows what there is"
    raise RecipeError(f"nothing on the shelves is called '{thing}'{hint}")


def _summary(shelf: str, thing: str) -> str:
    """The first line of the module's docstring, without the name it may begin with."""
    line = _docstring(shelf, thing).partition("\n")[0]
    return line.removeprefix(f"{thing}: ")


def _docstring(shelf: str, thing: str) -> str:
    folder = Path(shelves.__file__).parent / shelf
    for path in (folder / f"{thing}.py", folder / thing / "__init__.py"):
        if path.is_file():
            return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return ""


def _task(task: Task) -> Iterator[str]:
    splits = (f"{split} ({task.counts[split]})" if split in task.counts else split for split in task.splits)
    yield ""
    yield f"title     {task.title}"
    yield f"answers   {task.form}"
    yield f"splits    {', '.join(splits)}"
    yield f"licence   {task.licence}"
    yield f"homepage  {task.homepage}"
    if task.generated:
        yield "source    generated, needs no file"
    elif task.hub:
        yield f"source    Hub: {task.hub.id} at {task.hub.revision}, or your own copy by task.path"
    else:
        yield "source    your own file, by task.path"
    if task.exemplars:
        exemplar = task.exemplars[0]
        yield ""
        yield f"one of {len(task.exemplars)} exemplars"
        yield from textwrap.wrap(exemplar.question, 100, initial_indent="  ", subsequent_indent="  ")
        yield from textwrap.wrap(exemplar.rationale, 100, initial_indent="  ", subsequent_indent="  ")
        yield f"  {exemplar.answer}"


def _keys(spec: type[Spec]) -> Iterator[str]:
    """One line per key with its type and default, and the docstring that stands under it."""
    notes = _field_notes(spec)
    yield ""
    yield "keys"
    for name, field in spec.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        ending = "(must be given)" if default is PydanticUndefined else f"= {default!r}"
        yield f"  {name}: {_type_name(field.annotation)} {ending}"
        if name in notes:
            yield from textwrap.wrap(notes[name], 96, initial_indent="      ", subsequent_indent="      ")


def _type_name(annotation: Any) -> str:
    name = (
        annotation.__name__
        if isinstance(annotation, type) and not hasattr(annotation, "__args__")
        else str(annotation)
    )
    return name.replace("typing.", "").replace("pathlib.", "")


def _field_notes(spec: type[Spec]) -> dict[str, str]:
    """Docstrings under fields, which Python drops: read from the source of the class and its bases."""
    notes: dict[str, str] = {}
    for owner in reversed(spec.__mro__):
        if not (issubclass(owner, Spec) and owner is not Spec):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, note in pairwise(statements):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = note.value if isinstance(note, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    notes[field.target.id] = " ".join(text.value.split())
    return notes
