"""What is varied: keys of the recipe with their values, and the recipe at each of them.

`data.train=250,500,1000` is an axis: a key as `understudy run` takes it, and YAML values between commas.
`questions=0.04,0.2,1` gives shares of the training questions instead of numbers, and `rationales` is short
for `sampling.n`. Shares of 0.04, 0.2 and 1 are the data-size curve of Magister et al. (arXiv 2212.08410).
The catch: a share needs the number of training questions, so questions on the Hub are fetched first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import yaml

from understudy.errors import RecipeError
from understudy.recipe import Recipe, load_recipe

SHARES = "questions"
"""The axis whose values are shares of the training questions."""
SHORT = {"rationales": "sampling.n", SHARES: "data.train"}
"""Name of an axis -> the key that it stands for."""
MOST_AXES = 2
LOG_SPAN = 4
"""Positive values that span at least this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One key and its values: numbers from small to large, anything else in the order given."""

    name: str
    values: tuple[str, ...]
    """As they were written: YAML."""

    @property
    def key(self) -> str:
        return SHORT.get(self.name, self.name)

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The values as numbers; None where one of them is none."""
        return _numbers(self.values)

    def places(self) -> tuple[float, ...]:
        """Where each value stands on a drawn axis, from 0 to 1."""
        return spread(self.numbers or range(len(self.values)))

    def describe(self, value: str) -> str:
        return f"{self.name}={value}"


@dataclass(frozen=True, slots=True)
class Variant:
    """The recipe at one value of each axis."""

    values: tuple[str, ...]
    label: str
    """Names its folder and its steps."""
    recipe: Recipe


def spread(numbers: Sequence[float]) -> tuple[float, ...]:
    """Positions from 0 to 1: logarithmic where they are positive and span a factor, else linear."""
    if is_log(numbers):
        numbers = [math.log(number) for number in numbers]
    low, high = min(numbers), max(numbers)
    return tuple((number - low) / (high - low) if high > low else 0.5 for number in numbers)


def is_log(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0 and max(numbers) >= LOG_SPAN * min(numbers)


# ---------------------------------------------------------------- reading


def axes_of(arguments: Sequence[str]) -> tuple[Axis, ...]:
    """The axes that `key=value,value` arguments name. Raises RecipeError for what is none."""
    if not 1 <= len(arguments) <= MOST_AXES:
        raise RecipeError(
            f"a sweep has one axis or two, such as data.train=250,500,1000, not {len(arguments)}: "
            "a key that stays the same is given as -s key=value"
        )
    axes = tuple(_axis(argument) for argument in arguments)
    if len({axis.key for axis in axes}) < len(axes):
        raise RecipeError(f"both axes change '{axes[0].key}': name another key for one of them")
    return axes


def _axis(argument: str) -> Axis:
    name, equals, text = argument.partition("=")
    name = name.strip()
    if not equals or not all(name.split(".")):
        raise RecipeError(f"the axis '{argument}' is not of the form key=value,value,...")
    values = _values(name, text)
    if len(values) < 2:
        raise RecipeError(
            f"the axis '{name}' has {len(values)} values: name at least two between commas, "
            "or give a key that stays the same as -s key=value"
        )
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    if twice:
        raise RecipeError(f"the axis '{name}' has the value {twice[0]} twice")
    numbers = _numbers(values)
    if numbers:
        values = tuple(value for _, value in sorted(zip(numbers, values, strict=True)))
    if name == SHARES and not (numbers and all(0 < number <= 1 for number in numbers)):
        raise RecipeError(
            f"the axis '{SHARES}' takes shares above 0 and up to 1, not {text}: give numbers of questions "
            "as data.train=..."
        )
    return Axis(name, values)


def _values(name: str, text: str) -> tuple[str, ...]:
    """The texts between those commas that are in no bracket and no quotes."""
    opened = f"[{text}\n]"
    try:
        node = yaml.compose(opened, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"the values of the axis '{name}' are not YAML: {text}") from error
    if not isinstance(node, yaml.SequenceNode) or node.end_mark.index != len(opened):
        raise RecipeError(f"the values of the axis '{name}' are not YAML: {text}")
    found = (opened[value.start_mark.index : value.end_mark.index].strip() for value in node.value)
    return tuple(value for value in found if value)


def _numbers(values: Sequence[str]) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(value) for value in values)
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


# ---------------------------------------------------------------- the recipe at every value


def variants(
    path: Path, axes: Sequence[Axis], overrides: Sequence[str], training_questions: Callable[[Recipe], int]
) -> tuple[Variant, ...]:
    """The recipe at every combination of values. Raises RecipeError that names the axis and the value.

    `training_questions` counts those of a recipe; it is asked only where an axis gives shares of them.
    """
    base = load_recipe(path, overrides)
    total = training_questions(base) if any(axis.name == SHARES for axis in axes) else 0
    found: list[Variant] = []
    for values in product(*(axis.values for axis in axes)):
        changes = list(_changes(axes, values, total))
        label = _label(axes, values, {variant.label for variant in found})
        found.append(Variant(values, label, load_recipe(path, [*overrides, *changes])))
    return tuple(found)


def _changes(axes: Sequence[Axis], values: Sequence[str], total: int) -> Iterator[str]:
    for axis, value in zip(axes, values, strict=True):
        if axis.name != SHARES:
            yield f"{axis.key}={value}"
        elif float(value) < 1:  # all of them is the recipe as it stands, and shares its steps
            yield f"{axis.key}={max(1, round(float(value) * total))}"


def _label(axes: Sequence[Axis], values: Sequence[str], taken: set[str]) -> str:
    """A folder's name that says the values: "data.train-250_sampling.n-4"."""
    said = "_".join(f"{axis.name}-{value}" for axis, value in zip(axes, values, strict=True))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", said).strip("-.")[:70]
    return plain if plain not in taken else f"{plain}-{len(taken) + 1}"
