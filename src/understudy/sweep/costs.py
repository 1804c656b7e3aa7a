"""What a variant's rationales cost, what the sweep has paid in all, and what is left to buy.

The first two differ, because variants share what was bought: a variant's own cost is that of every
completion it stands on, whoever paid for it first, so that a point of a curve costs what it would cost by
itself. Measuring is not teaching: answers to the evaluation questions are in the second sum alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.asking import is_free, job_of, ledger_of, price_of_teacher, questions_of
from understudy.costing import Cost as Left
from understudy.data import Prepared
from understudy.estimate import estimate
from understudy.graph import Graph
from understudy.ledger.spending import missing
from understudy.preflight import prepared_of
from understudy.roles import Identity
from understudy.store import Step, Store, digest
from understudy.sweep.planning import Sweep
from understudy.types import Request, Sampling
from understudy.work import teacher_of


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all annotation that a variant stands on."""

    completions: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    """None where the price is not known."""
    free: bool
    """Whether nobody is paid, so that only tokens tell the values apart."""


def cost_of(graph: Graph, store: Store) -> Cost:
    completions = prompt_tokens = completion_tokens = 0
    usd: float | None = 0.0
    free = True
    for step in (step for step in graph.steps if step.kind == "annotate"):
        teacher = teacher_of(step.how["teacher"])
        result = store.outcome(step)["result"]
        tokens = (result["prompt_tokens"], result["completion_tokens"])
        price = price_of_teacher(teacher, step.how)
        completions += result["asked"] + result["reused"]
        prompt_tokens += tokens[0]
        completion_tokens += tokens[1]
        usd = None if usd is None or price is None else usd + price.usd(*tokens)
        free = free and is_free(teacher.identity(), step.how)
    return Cost(completions, prompt_tokens, completion_tokens, usd, free)


def bought(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What was really paid for, each step once, from the variants' own reports."""
    rows: dict[str, Mapping[str, Any]] = {}
    for report in reports:
        hashes = {step["name"]: step["hash"] for step in report["manifest"]["recipe_steps"]}
        rows |= {hashes[row["step"]]: row for row in report["spending"]}
    paid = [row["usd"] for row in rows.values()]
    return {
        "completions": sum(row["bought"] for row in rows.values()),
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows.values()),
        "completion_tokens": sum(row["completion_tokens"] for row in rows.values()),
        "usd": None if None in paid else sum(paid),
    }


# ---------------------------------------------------------------- before


def estimates(sweep: Sweep, out: Path) -> list[Left] | None:
    """What is left to buy, one for each step that pays somebody; what an earlier step of the sweep will have
    bought by then is not counted again. None where the questions are not on this machine yet."""
    store = Store(out, create=False)
    graphs = {variant.label: graph for variant, graph in zip(sweep.variants, sweep.graphs, strict=True)}
    seen: set[str] = set()
    prepared: dict[str, Prepared | None] = {}
    found: list[Left] = []
    for shared in sweep.steps:
        step = shared.step
        if store.done(step):
            continue
        if step.kind == "audit" and step.settings["reader"]:
            model, most = step.settings["reader"]["identity"]["model"], 2 * step.settings["read"]
            found.append(Left(step.title, None, f"asks {model} for {most:,} answers at most"))
        if step.kind not in ("annotate", "ask") or is_free(_who(step), step.how):
            continue
        data = step.needs["data"].hash
        if data not in prepared:
            prepared[data] = prepared_of(graphs[shared.labels[0]], store)
        questions = prepared[data]
        if questions is None:
            return None
        found.append(_estimate(step, store, questions, seen))
    return found


def _estimate(step: Step, store: Store, prepared: Prepared, seen: set[str]) -> Left:
    job = job_of(step.settings, questions_of(step.settings, prepared), prepared.form)
    who, path = _who(step), ledger_of(step.how, store.ledger)
    to_buy = (
        (sampling, _unseen(missing(path, who, requests, sampling), who, sampling, seen))
        for sampling, requests in job.requests()
    )
    price = price_of_teacher(teacher_of(step.how["teacher"]), step.how)
    note = "asked in rounds: all samples are counted, fewer may do" if job.policy.in_rounds else ""
    return Left(step.title, estimate(to_buy, price, ()), note)


def _unseen(
    requests: Iterator[Request], who: Identity, sampling: Sampling, seen: set[str]
) -> Iterator[Request]:
    """The requests without the samples that an earlier step will have asked for."""
    for request in requests:
        keys = {sample: _key(who, sampling, request, sample) for sample in request.samples}
        left = tuple(sample for sample, key in keys.items() if key not in seen)
        seen.update(keys.values())
        if left:
            yield replace(request, samples=left)


def _key(who: Identity, sampling: Sampling, request: Request, sample: int) -> str:
    said: Mapping[str, Any] = {
        "who": [who.endpoint, who.model, who.revision],
        "sampling": repr(sampling),
        "messages": [[message.role, message.content] for message in request.messages],
        "sample": sample,
    }
    return digest(said)


def _who(step: Step) -> Identity:
    who = teacher_of(step.how["teacher"]).identity()
    return replace(who, revision=step.settings["revision"] or who.revision)
