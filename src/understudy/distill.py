"""The whole path on one screen: a recipe becomes steps, an engine runs what is not done, a report follows.

    data -> [teach] -> annotate -> curate -> train (x student x method x seed) -> predict (x split) -> report

A list of learning rates puts a search before each training: short trainings, their dev accuracy, a
choice. Start reading here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import reporting
from understudy.asking import check_prices
from understudy.engines import here, processes
from understudy.errors import StoreError
from understudy.events import Event, Listener
from understudy.graph import Graph
from understudy.recipe import Recipe, parse_recipe
from understudy.store import Store, write_text
from understudy.training.tracking import check_trackers

RECIPE = "recipe.yaml"


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as `understudy plan` shows it."""

    name: str
    title: str
    hash: str
    done: bool
    folder: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the page is, its content, and how many steps ran now or were done before."""

    html: Path
    report: dict[str, Any]
    reused: int
    ran: int


def plan(recipe: Recipe, out: Path) -> list[StepView]:
    """Every step of the recipe in running order. Reads data files for their hashes; writes nothing.

    Raises RecipeError where a step that is left would have to keep to dollars at an unknown price.
    """
    store, graph = Store(out, create=False), Graph(recipe)
    check_prices(step for step in graph.steps if not store.done(step))
    return [
        StepView(step.name, step.title, step.hash, store.done(step), store.folder(step))
        for step in graph.steps
    ]


def run(recipe: Recipe, out: Path, listen: Listener, *, in_process: bool = False) -> Outcome:
    """Run what is not done yet and write the report into `out`.

    Raises an UnderstudyError with everything finished so far kept; the same call continues from there.
    """
    check_trackers(recipe.train.report_to)
    graph = Graph(recipe)
    store = Store(out)
    with store.lock():
        write_text(out / RECIPE, recipe.dump())
        done = [step for step in graph.steps if store.done(step)]
        for step in graph.steps:
            listen(Event("planned", step.name, step.title, cost=step.cost))
        for step in done:
            listen(Event("reused", step.name, step.title, fraction=1.0))
        for note in recipe.notes:
            listen(Event("note", detail=note))
        left = [step for step in graph.steps if not store.done(step)]
        if left:
            check_prices(left)
            engine = here if in_process else processes
            engine.run(left, store, listen, graph.workers)
        page, report = reporting.write(graph, store)
    return Outcome(page, report, reused=len(done), ran=len(left))


def report(out: Path) -> Outcome:
    """Write the report of a finished run again, from what is in its folder."""
    path = out / RECIPE
    if not path.is_file():
        raise StoreError(f"{out} is not a run folder: it has no {RECIPE} (give the --out of an earlier run)")
    graph = Graph(parse_recipe(path.read_text(encoding="utf-8"), str(path), (), {}))
    store = Store(out)
    missing = [step.name for step in graph.steps if not store.done(step)]
    if missing:
        raise StoreError(
            f"the run in {out} is not finished ({len(missing)} steps to do): run its recipe again"
        )
    page, content = reporting.write(graph, store)
    return Outcome(page, content, reused=len(graph.steps), ran=0)
