"""What pydantic found wrong -> one plain sentence per key, with the nearest valid key.

The catch: pydantic's locations carry names of union branches and wrappers, and report one error per
branch. Locations are therefore cut back to keys that were really written, and merged.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from understudy.recipe.text import Keys, Problem, dotted

_PLAIN = {
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "mapping_type": "a mapping of keys",
    "tuple_type": "a list",
    "list_type": "a list",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "none_required": "null",
}


def problems(
    error: ValidationError, model: type[BaseModel], written: Any, keys: Keys = (), also: Iterable[str] = ()
) -> list[Problem]:
    """The sentences for `error`, raised by `model` on `written`, which stands at `keys`.

    `also` are keys that are valid at that place beside the model's own.
    """
    found: list[Problem] = []
    wishes: dict[Keys, list[str]] = {}
    for item in error.errors(include_url=False):
        local = _written_keys(item["loc"], written)
        if item["type"] == "missing":
            missing = (*keys, *local, *item["loc"][len(local) :])
            found.append(Problem(missing, f"the key '{dotted(missing)}' is missing"))
        elif item["type"] == "extra_forbidden":
            valid = [*_fields(model, local[:-1]), *(also if len(local) == 1 else ())]
            found.append(Problem((*keys, *local), unknown((*keys, *local), valid)))
        elif item["type"] in ("value_error", "assertion_error"):
            whole = (*keys, *local)
            reason = item["msg"].partition(", ")[2]
            found.append(Problem(whole, f"'{dotted(whole)}': {reason}" if whole else reason))
        else:
            wishes.setdefault(local, []).append(_wish(item["type"], item["msg"]))
    for local, wanted in wishes.items():
        if any(len(other) > len(local) and other[: len(local)] == local for other in wishes):
            continue  # another branch of the union got further, and says more
        whole = (*keys, *local)
        found.append(Problem(whole, _should(whole, wanted, _at(written, local))))
    return found


def unknown(keys: Keys, valid: Sequence[str]) -> str:
    """The sentence for a key that is not among `valid`."""
    near = difflib.get_close_matches(str(keys[-1]), valid, n=1, cutoff=0.5)
    if near:
        return f"unknown key '{dotted(keys)}'; did you mean '{dotted((*keys[:-1], near[0]))}'?"
    there = f"the keys there are {', '.join(valid)}" if valid else "no keys are known there"
    return f"unknown key '{dotted(keys)}'; {there}"


def shown(value: Any) -> str:
    """A written value in a few words."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping of keys"
    if isinstance(value, list | tuple):
        return "an empty list" if not value else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:56] + "...'"


def _wish(kind: str, message: str) -> str:
    if kind in _PLAIN:
        return "be " + _PLAIN[kind]
    wish = message.partition(" should ")[2]
    return re.sub(r"(?: after validation)?, (?:not|unable) .*", "", wish) if wish else f"be valid ({message})"


def _should(keys: Keys, wishes: Sequence[str], value: Any) -> str:
    wanted = list(dict.fromkeys(wish.removeprefix("be ") for wish in wishes))
    verb = "be " if all(wish.startswith("be ") for wish in wishes) else ""
    name = f"'{dotted(keys)}'" if keys else "this"
    options = re.findall(r"'([^']*)'", " ".join(wanted))
    near = difflib.get_close_matches(str(value), options, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{name} should {verb}{' or '.join(wanted)}, but is {shown(value)}{hint}"


def _written_keys(location: Sequence[str | int], written: Any) -> Keys:
    """The front of `location` that leads through `written`: the rest are pydantic's own names."""
    keys: list[str | int] = []
    here = written
    for key in location:
        if _holds(here, key):
            here = here[key]
        elif isinstance(here, Mapping | list | tuple) and not _is_wrapper(key):
            break
        else:
            continue
        keys.append(key)
    return tuple(keys)


def _holds(here: Any, key: str | int) -> bool:
    if isinstance(here, list | tuple):
        return isinstance(key, int) and key < len(here)
    return isinstance(here, Mapping) and key in here


def _is_wrapper(key: str | int) -> bool:
    """Union branches and validators appear in locations as "float", "tuple[...]", "function-after[...]"."""
    return isinstance(key, str) and (key.endswith("]") or key in ("float", "int", "str", "bool", "none"))


def _at(written: Any, keys: Keys) -> Any:
    for key in keys:
        written = written[key]
    return written


def _fields(model: type[BaseModel], keys: Keys) -> tuple[str, ...]:
    """The valid keys of the model that stands at `keys` below `model`; none where there is no model."""
    for key in keys:
        if isinstance(key, int):
            continue
        field = model.model_fields.get(key)
        inner = next(_models(field.annotation), None) if field else None
        if inner is None:
            return ()
        model = inner
    return tuple(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
