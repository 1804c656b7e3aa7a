"""`understudy audit`: the audits of a run's folder, or of a file of model outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy import reporting, shelves
from understudy.audit.file import read_material
from understudy.audit.section import Section, load_sections
from understudy.audit.whole import sections
from understudy.distill import RECIPE
from understudy.engines import here
from understudy.errors import StoreError
from understudy.events import ignore
from understudy.graph import Graph
from understudy.recipe import parse_recipe
from understudy.store import Store, write_text
from understudy.types import AnswerForm


def audit_folder(folder: Path, overrides: Sequence[str]) -> tuple[Section, ...]:
    """The audit of a run, made if it is not there, and put into its report if the run is finished.

    Raises StoreError when `folder` is no run, or has no rationales yet.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise StoreError(
            f"{folder} is not a run folder: it has no {RECIPE} (give the --out of an earlier run)"
        )
    recipe = parse_recipe(path.read_text(encoding="utf-8"), str(path), overrides, {})
    graph, store = Graph(recipe), Store(folder)
    missing = [step.name for step in graph.audit.needs.values() if not store.done(step)]
    if missing:
        raise StoreError(
            f"the run in {folder} has no rationales to audit ({', '.join(missing)} not done): run its recipe "
            "first, and change keys of 'audit' only"
        )
    with store.lock():
        if not store.done(graph.audit):
            here.run([graph.audit], store, ignore, 1)
        if all(store.done(step) for step in graph.steps):
            write_text(path, recipe.dump())
            reporting.write(graph, store)
    return load_sections(store.folder(graph.audit))


def audit_file(path: Path, task: str | None, form: AnswerForm | None) -> tuple[Section, ...]:
    """The audit of the outputs in a file, read as the task or the form says, or by the looks of the golds."""
    return tuple(sections(read_material(path, shelves.load("tasks", task).form if task else form), {}))
