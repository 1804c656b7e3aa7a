"""Shelves load by name: a name is a module, and a module exports exactly one thing.

Nothing is imported until it is asked for, so listing the shelves costs a directory read. A name with
a dot, `package.module`, reaches outside the project. A wrong name says what there is and what is nearest.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from understudy.errors import RecipeError

SHELVES = ("tasks", "teachers", "methods", "learners", "students", "metrics", "probes")


def names(shelf: str) -> tuple[str, ...]:
    """The names on a shelf, sorted, without importing any of them."""
    folder = Path(__file__).parent / shelf
    return tuple(sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_")))


@cache
def load(shelf: str, name: str) -> Any:
    """The one public thing of `understudy.<shelf>.<name>`, or of a dotted outside module."""
    if shelf not in SHELVES:
        raise RecipeError(f"there is no shelf '{shelf}'; the shelves are {', '.join(SHELVES)}")
    outside = "." in name
    known = names(shelf)
    if not outside and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise RecipeError(f"no {shelf[:-1]} is called '{name}'{hint} (there are: {', '.join(known)})")
    try:
        module = importlib.import_module(name if outside else f"understudy.{shelf}.{name}")
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"the {shelf[:-1]} '{name}' needs the module '{error.name}', which is not installed"
        ) from error
    public = getattr(module, "__all__", None)
    if not isinstance(public, list | tuple) or len(public) != 1:
        raise RecipeError(f"the module {module.__name__} must name exactly one thing in __all__")
    return getattr(module, public[0])
