"""The steps of all variants, each once, in the order in which they run.

Variants that ask for more samples come first: their requests carry several samples each, so a prompt is
paid for once, and the others find all they want in the ledger. Refused before anything runs: values between
which nothing differs, and an axis that changes the evaluated questions, unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.engines import here
from understudy.errors import RecipeError
from understudy.events import Listener
from understudy.graph import Graph
from understudy.preflight import prepared_of
from understudy.recipe import Recipe
from understudy.store import Step, Store
from understudy.sweep.axes import Axis, Variant, axes_of, variants


@dataclass(frozen=True, slots=True)
class Shared:
    """A step and the labels of the variants that use it."""

    step: Step
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Everything that will run, before it does."""

    axes: tuple[Axis, ...]
    variants: tuple[Variant, ...]
    graphs: tuple[Graph, ...]
    """One for each variant."""
    steps: tuple[Shared, ...]
    """Each after everything it needs."""
    other_questions: bool
    """Whether variants may be evaluated on different questions."""

    @property
    def workers(self) -> int:
        return min(graph.workers for graph in self.graphs)


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as `understudy sweep --dry-run` shows it."""

    title: str
    hash: str
    done: bool
    variants: int


def load(
    path: Path,
    axes: Sequence[str],
    out: Path | None = None,
    overrides: Sequence[str] = (),
    other_questions: bool = False,
    fetch: Listener | None = None,
) -> tuple[Sweep, Path]:
    """The sweep over `axes`, and its folder. Spends nothing; with a listener `fetch` it may fetch questions
    from the Hub, to know how many there are.

    Raises RecipeError, or DataError for bad questions, before any step has run.
    """
    read = axes_of(axes)

    def training_questions(base: Recipe) -> int:
        return _training_questions(base, out or folder_of(base), fetch)

    found = variants(path, read, overrides, training_questions)
    graphs = tuple(Graph(variant.recipe) for variant in found)
    folder = out or folder_of(found[0].recipe)
    _check_different(read, found, graphs)
    if not other_questions:
        _check_questions(read, found, graphs, Store(folder, create=False))
    return Sweep(read, found, graphs, tuple(_shared(found, graphs)), other_questions), folder


def folder_of(recipe: Recipe) -> Path:
    return Path("runs") / f"{recipe.name}-sweep"


def plan(sweep: Sweep, out: Path) -> list[StepView]:
    """Every step in running order, shared ones once. Writes nothing."""
    store = Store(out, create=False)
    return [
        StepView(shared.step.title, shared.step.hash, store.done(shared.step), len(shared.labels))
        for shared in sweep.steps
    ]


def _training_questions(base: Recipe, out: Path, fetch: Listener | None) -> int:
    graph, store = Graph(base), Store(out, create=False)
    prepared = prepared_of(graph, store)
    if prepared is None and fetch is not None:
        store = Store(out)
        with store.lock():
            here.run([graph.data], store, fetch, 1)
        prepared = prepared_of(graph, store)
    if prepared is None:
        raise RecipeError(
            f"the questions of {base.task.name} are on the Hub and not prepared yet, so nobody knows what a "
            "share of them is: start the sweep, which fetches them first, or give data.train=... instead"
        )
    return len(prepared.splits["train"])


# ---------------------------------------------------------------- what is refused


def _check_different(axes: Sequence[Axis], found: Sequence[Variant], graphs: Sequence[Graph]) -> None:
    """Values that change no step would be drawn as a flat line that looks like a finding."""
    seen: dict[frozenset[str], Variant] = {}
    for variant, graph in zip(found, graphs, strict=True):
        same = seen.setdefault(frozenset(arm.predicted.hash for arm in graph.arms), variant)
        if same is not variant:
            raise RecipeError(
                f"nothing differs between {_said(axes, same)} and {_said(axes, variant)}: no prediction "
                "hangs on that key, so leave one of the values out or name another axis"
            )


def _check_questions(
    axes: Sequence[Axis], found: Sequence[Variant], graphs: Sequence[Graph], store: Store
) -> None:
    """By what decides the evaluated questions; where that differs, by the questions, if they are known."""
    if all(_decides(graph) == _decides(graphs[0]) for graph in graphs):
        return
    known = {graph.data.hash: _evaluated(graph, store) for graph in graphs}
    for variant, graph in zip(found, graphs, strict=True):
        if known[graph.data.hash] != known[graphs[0].data.hash]:
            raise RecipeError(
                f"{_said(axes, variant)} is evaluated on other questions than {_said(axes, found[0])}, so "
                "their accuracies cannot be compared: sweep another key, or give --other-questions to go on "
                "without tests between them"
            )


def _decides(graph: Graph) -> dict[str, Any]:
    settings = graph.data.settings
    names = ("task", "source", "files", "hub", "evaluation_splits")
    return {**{name: settings[name] for name in names}, "test": settings["data"]["test"]}


def _evaluated(graph: Graph, store: Store) -> dict[str, Any]:
    prepared = prepared_of(graph, store)
    if prepared is None:
        return _decides(graph)
    splits = graph.recipe.evaluate.splits
    return {split: {(q.id, q.answer) for q in prepared.splits[split]} for split in splits}


def _said(axes: Sequence[Axis], variant: Variant) -> str:
    return ", ".join(axis.describe(value) for axis, value in zip(axes, variant.values, strict=True))


# ---------------------------------------------------------------- steps


def _shared(found: Sequence[Variant], graphs: Sequence[Graph]) -> Iterator[Shared]:
    most_first = sorted(range(len(found)), key=lambda place: -found[place].recipe.sampling.n)
    steps: dict[str, Step] = {}
    users: dict[str, list[int]] = {}
    for place in most_first:
        for step in graphs[place].steps:
            steps.setdefault(step.hash, step)
            users.setdefault(step.hash, []).append(place)
    paid = sorted({tuple(who) for step in steps.values() for who in step.how.get("paid", ())})
    names = [step.name for step in steps.values()]
    for hash_, step in steps.items():
        labels = tuple(found[place].label for place in sorted(users[hash_]))
        changes: dict[str, Any] = {}
        if len(labels) < len(found):
            who = labels[0] if len(labels) == 1 else f"{len(labels)} of {len(found)} variants"
            changes["title"] = f"{step.title} [{who}]"
        if names.count(step.name) > 1:
            changes["name"] = f"{step.name}@{labels[0]}"
        if "paid" in step.how:
            # One budget for all: what any variant has paid anybody counts against it.
            changes["how"] = {**step.how, "paid": paid}
        yield Shared(replace(step, **changes), labels)
