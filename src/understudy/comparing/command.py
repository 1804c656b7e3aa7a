"""What `understudy compare` does: reads both sides, judges again where that is asked for, compares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.comparing import Comparison, compare
from understudy.comparing.harness import read_harness
from understudy.comparing.inspect_log import read_inspect
from understudy.comparing.runs import read_run
from understudy.comparing.side import Side, rejudged
from understudy.distill import RECIPE
from understudy.errors import RecipeError
from understudy.types import AnswerForm


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user may say about both sides."""

    methods: Sequence[str] = ()
    """Of A and of B; one counts for both."""
    split: str = ""
    filter: str = ""
    metric: str = ""
    strict: bool = False
    judge: bool = False
    form: AnswerForm | None = None


def comparisons(a: Path, b: Path, wanted: Wanted) -> list[Comparison]:
    """By the sides' own verdicts; and by ours where `judge` is set and they differ.

    Raises an UnderstudyError where a side cannot be read.
    """
    if len(wanted.methods) > 2:
        raise RecipeError("give --method once for both sides, or twice: A's and B's")
    of_a, of_b = (wanted.methods[0], wanted.methods[-1]) if wanted.methods else ("", "")
    sides = _read(a, of_a, wanted), _read(b, of_b, wanted)
    found = [compare(*sides)]
    if wanted.judge:
        again = _judged(sides, wanted)
        differ = any(
            [one.right for one in old.answers] != [one.right for one in new.answers]
            for old, new in zip(sides, again, strict=True)
        )
        found = [*found, compare(*again)] if differ else [compare(*again)]
    return found


def _read(path: Path, method: str, wanted: Wanted) -> Side:
    if (path / RECIPE).is_file():
        return read_run(path, method, wanted.split, wanted.strict)
    if path.suffix == ".json":
        return read_inspect(path, wanted.filter)
    return read_harness(path, wanted.filter, wanted.metric)


def _judged(sides: tuple[Side, Side], wanted: Wanted) -> tuple[Side, Side]:
    """Both by our judge, with our own golds where either side has them."""
    form = wanted.form or next((side.form for side in sides if side.form), None)
    if form is None:
        raise RecipeError("say with --form what the answers look like: neither side tells")
    golds = {one.id: one.question.answer for side in sides if side.ours for one in side.answers}
    a, b = (side if side.ours else rejudged(side, golds, form, wanted.strict) for side in sides)
    return a, b


def as_json(found: Sequence[Comparison]) -> str:
    """Raw numbers, fractions of 1."""
    records: list[dict[str, Any]] = []
    for one in found:
        record = asdict(one)
        record["difference"] = one.difference.difference
        record["interval"] = [one.difference.low, one.difference.high]
        records.append(record)
    return json.dumps({"comparisons": records}, indent=2, ensure_ascii=False) + "\n"
