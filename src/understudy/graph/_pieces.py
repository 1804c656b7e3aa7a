"""What the steps of a recipe are made of: settings, hashes of files, learning rates, rough costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy import shelves
from understudy.curate import CurateSpec
from understudy.errors import DataError, RecipeError, StoreError
from understudy.prices import PriceSpec
from understudy.recipe.spec import AuditSpec, MethodEntry, Recipe, StudentEntry, TeacherEntry
from understudy.roles import Source, Task, Teacher, TrainSpec
from understudy.steps import VERSIONS
from understudy.store import Step, hash_files

UNFILTERED = CurateSpec(right_answer=False, complete=False, distinct=False, loops=False)
"""Every rationale that has a readable answer, right or wrong: what filtering is measured against."""


def audit_settings(audit: AuditSpec, shown_answer: bool) -> dict[str, Any]:
    """Everything that decides what an audit of the training questions finds."""
    reader = audit.reader
    return {
        "split": "train",
        "shown_answer": shown_answer,
        "reader": {**reader.decisive(), "identity": asdict(reader.identity())} if reader else None,
        "reader_files": hashes(reader.files()) if reader else {},
        "read": audit.read if reader else 0,
        "against": [
            {
                "task": entry.name,
                "source": asdict(entry.source()),
                "files": files_of(shelves.load("tasks", entry.name), entry.source()),
            }
            for entry in audit.against
        ],
    }


def asked_how(recipe: Recipe, entry: TeacherEntry | None = None) -> dict[str, Any]:
    """How a recipe's teachers are asked, as far as it decides nothing: pace, budget, prices, machines.

    `entry` is the teacher that the step asks; the first one where none is given. `paid` and `prices` are
    those of everybody whom the run pays, because they share its budget.
    """
    asked = entry or recipe.faculty[0]
    others = [recipe.audit.reader, *(method.method.answerer() for method in recipe.methods)]
    payers: list[Teacher] = [each.teacher for each in recipe.faculty]
    payers += [other for other in others if other]
    return {
        "teacher": asked.teacher.model_dump(mode="json"),
        "reader": recipe.audit.reader.model_dump(mode="json") if recipe.audit.reader else None,
        "budget": recipe.budget.model_dump(mode="json"),
        "prices": [[*who, price.model_dump(mode="json")] for who, price in _prices(recipe).items()],
        "ray": recipe.ray.model_dump(mode="json") if recipe.ray else None,
        "ledger": recipe.ledger,
        "paid": sorted({(who.endpoint, who.model) for who in (payer.identity() for payer in payers)}),
    }


def _prices(recipe: Recipe) -> dict[tuple[str, str], PriceSpec]:
    """(Endpoint, model) -> what the recipe says that it costs, whatever its settings."""
    found: dict[tuple[str, str], PriceSpec] = {}
    for entry in recipe.faculty:
        who = entry.teacher.identity()
        if entry.price and found.setdefault((who.endpoint, who.model), entry.price) != entry.price:
            raise RecipeError(
                f"two prices are given for {who.model} at {who.endpoint}: give its teachers one price, or "
                "one of them an endpoint of its own"
            )
    return found


def files_of(task: Task, source: Source) -> dict[str, str]:
    """The hashes of the local files that a task reads."""
    return hashes(task.files(source)) if task.files and source.path is not None else {}


def hashes(paths: tuple[Path, ...]) -> dict[str, str]:
    """The content of files that a recipe names: one that is absent is the recipe's fault, not the run's."""
    try:
        return hash_files(paths)
    except StoreError as error:
        raise DataError(f"{error}; correct its path in the recipe") from error


def make_step(
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    needs: Mapping[str, Step],
    title: str,
    cost: float,
    alone: bool = False,
    how: Mapping[str, Any] | None = None,
) -> Step:
    return Step(name, kind, {**settings, "version": VERSIONS[kind]}, needs, title, cost, how or {}, alone)


def rates_of(entry: MethodEntry, spec: TrainSpec) -> tuple[float, ...]:
    rates = entry.learning_rate if entry.learning_rate is not None else spec.learning_rate
    return tuple(dict.fromkeys(rates)) if isinstance(rates, tuple) else (rates,)


def only_rate(spec: TrainSpec) -> float:
    rate = spec.learning_rate
    return rate[0] if isinstance(rate, tuple) else rate


def readable_stage(entry: MethodEntry) -> str | None:
    """The stage whose rationale a later stage reads, if the method has one."""
    stages = entry.method.stages()
    return next((stage.name for stage in stages[:-1] if stage.writes == "rationale"), None)


def from_checkpoint(entry: StudentEntry) -> bool:
    return bool(entry.student.model_dump(mode="json").get("checkpoint"))


def effort(spec: TrainSpec) -> float:
    """A rough cost of a training, for the time left only."""
    per_unit = {"tokens": 1 / 20_000, "steps": 0.2, "epochs": 60.0, "flops": 1e-11}
    return spec.budget.amount * per_unit[spec.budget.unit]
