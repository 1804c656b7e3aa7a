"""Run what is not done of any variant, then write a report for each and one for the sweep.

runs/NAME-sweep/
  steps/  ledger.sqlite           of all variants
  variants/<label>/               recipe.yaml, report.html, report.json, report.md of one of them
  sweep.html  sweep.json  sweep.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import report, reporting
from understudy.asking import check_prices
from understudy.engines import here, processes
from understudy.events import Event, Listener
from understudy.graph import Graph
from understudy.store import Store, write_text
from understudy.sweep.assemble import assemble
from understudy.sweep.axes import Variant
from understudy.sweep.costs import bought, cost_of
from understudy.sweep.curves import Measured
from understudy.sweep.listing import terminal
from understudy.sweep.pages import html, markdown
from understudy.sweep.planning import Sweep

VARIANTS = "variants"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the page is, its content, and how many steps ran now or were done before."""

    html: Path
    report: dict[str, Any]
    reused: int
    ran: int

    def lines(self) -> Iterator[str]:
        """For the terminal."""
        yield from terminal(self.report)
        yield self.report["headline"]


def run(sweep: Sweep, out: Path, listen: Listener, *, in_process: bool = False) -> Outcome:
    """Run the sweep to its report in `out`.

    Raises an UnderstudyError with everything finished so far kept; the same call continues from there.
    """
    store = Store(out)
    with store.lock():
        done = [shared.step for shared in sweep.steps if store.done(shared.step)]
        left = [shared.step for shared in sweep.steps if not store.done(shared.step)]
        for shared in sweep.steps:
            listen(Event("planned", shared.step.name, shared.step.title, cost=shared.step.cost))
        for step in done:
            listen(Event("reused", step.name, step.title, fraction=1.0))
        for note in dict.fromkeys(note for variant in sweep.variants for note in variant.recipe.notes):
            listen(Event("note", detail=note))
        if left:
            check_prices(left)
            engine = here if in_process else processes
            engine.run(left, store, listen, sweep.workers)
        content = _reports(sweep, store)
        page = _write(content, out)
    return Outcome(page, content, reused=len(done), ran=len(left))


def _reports(sweep: Sweep, store: Store) -> dict[str, Any]:
    pairs = list(zip(sweep.variants, sweep.graphs, strict=True))
    measured = [_measured(variant, graph, store) for variant, graph in pairs]
    steps = {"all": len(sweep.steps), "shared": sum(len(shared.labels) > 1 for shared in sweep.steps)}
    steps["apart"] = sum(len(graph.steps) for graph in sweep.graphs)
    return assemble(sweep, measured, bought(part.report for part in measured), steps)


def _measured(variant: Variant, graph: Graph, store: Store) -> Measured:
    """Writes the variant's own report too: both are made from the same study."""
    folder = store.root / VARIANTS / variant.label
    study = reporting.study(graph, store)
    report.write(study, folder)
    write_text(folder / "recipe.yaml", variant.recipe.dump())
    written = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return Measured(
        variant=variant,
        folder=f"{VARIANTS}/{variant.label}",
        arms=study.arms,
        cost=cost_of(graph, store),
        questions=store.outcome(graph.data)["result"]["questions"],
        report=written,
    )


def _write(content: dict[str, Any], out: Path) -> Path:
    files = {
        "sweep.json": json.dumps(content, indent=2, allow_nan=False) + "\n",
        "sweep.md": markdown(content),
        "sweep.html": html(content),
    }
    for name, text in files.items():
        write_text(out / name, text.encode("utf-8", "replace").decode("utf-8"))
    return out / "sweep.html"
