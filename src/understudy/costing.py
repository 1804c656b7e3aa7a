"""What a recipe's teacher would cost, before anything is spent; or, with a pilot, what it will by estimate.

What the ledger holds is not counted. The catch: a pilot is paid for. Its answers stay in the ledger, so the
run that follows does not pay for them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.annotate import Job
from understudy.asking import ask, is_free, job_of, ledger_of, price_of_teacher, questions_of, run_name
from understudy.data import Prepared
from understudy.errors import TeacherError
from understudy.estimate import Estimate, estimate
from understudy.graph import Graph
from understudy.ledger import transient
from understudy.ledger.spending import missing
from understudy.preflight import prepared_of
from understudy.recipe import Recipe
from understudy.roles import Identity
from understudy.store import Step, Store
from understudy.types import Completion, Request, Sampling
from understudy.work import teacher_of

IN_ROUNDS = (
    "asked in rounds: every question is counted with all its samples, which are fewer where fewer do; asking "
    "again and asking with the answer shown come on top"
)
LATER = {"audit": "reader", "predict": "answerer"}
"""Kinds of steps that pay somebody for reading what the run itself writes, and who that is in `Step.how`."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step would ask somebody for who costs money."""

    title: str
    estimate: Estimate | None
    """None where nobody knows yet what would be asked."""
    note: str = ""


def costs(recipe: Recipe, out: Path, pilot: int = 0) -> list[Cost] | None:
    """One for each step that is not done and pays somebody; None where the questions are not on this machine
    yet. With a `pilot`, each teacher is asked so many questions of its first step beforehand, and paid.
    """
    graph, store = Graph(recipe), Store(out, create=False)
    left = [step for step in graph.steps if not store.done(step)]
    asking = [step for step in left if step.kind in ("annotate", "ask") and not is_free(_who(step), step.how)]
    later = [_not_written_yet(step) for step in left if step.kind in LATER]
    prepared = prepared_of(graph, store)
    if asking and prepared is None:
        return None
    known: dict[Identity, list[Completion]] = {}
    for step in asking if pilot and prepared else ():
        if _who(step) not in known and "teach" not in step.needs:
            known[_who(step)] = _pilot(step, Store(out), prepared, pilot) if prepared else []
    return [
        *(_cost(step, store, prepared, known.get(_who(step), ())) for step in asking if prepared),
        *(cost for cost in later if cost),
    ]


def lines(found: Sequence[Cost] | None) -> Iterator[str]:
    """For the terminal."""
    if found is None:
        yield "The teacher's cost is not estimated: the questions are on the Hub and not prepared yet."
        return
    for cost in found:
        yield f"{cost.title}:"
        if cost.estimate:
            yield from (f"  {line}" for line in cost.estimate.lines())
        if cost.note:
            yield f"  {cost.note}"


def _cost(step: Step, store: Store, prepared: Prepared, known: Sequence[Completion]) -> Cost:
    job = job_of(step.settings, questions_of(step.settings, prepared), prepared.form)
    price = price_of_teacher(teacher_of(step.how["teacher"]), step.how)
    to_buy = _to_buy(job, _who(step), ledger_of(step.how, store.ledger))
    return Cost(step.title, estimate(to_buy, price, known), IN_ROUNDS if job.policy.in_rounds else "")


def _not_written_yet(step: Step) -> Cost | None:
    """An audit with a reader who costs money, or a student's text that somebody else answers from: what they
    will read is not written yet."""
    named = step.how.get(LATER[step.kind])
    who = teacher_of(named).identity() if named else None
    if who is None or is_free(who, step.how):
        return None
    if step.kind == "audit":
        return Cost(step.title, None, f"asks {who.model} for {2 * step.settings['read']:,} answers at most")
    each = "one answer to each question for each of its stages"
    return Cost(step.title, None, f"asks {who.model} for {each}")


def _to_buy(job: Job, who: Identity, path: Path) -> Iterator[tuple[Sampling, Iterator[Request]]]:
    for sampling, requests in job.requests():
        yield sampling, missing(path, who, requests, sampling)


def _who(step: Step) -> Identity:
    """Whom the step's answers are filed under."""
    who = teacher_of(step.how["teacher"]).identity()
    return replace(who, revision=step.settings["revision"] or who.revision)


def _pilot(step: Step, store: Store, prepared: Prepared, size: int) -> list[Completion]:
    """The answers to a few questions of a step, evenly spaced; the step itself finds them in the ledger.

    Raises TeacherError when there is not one answer.
    """
    questions = questions_of(step.settings, prepared)
    many = min(size, len(questions))
    chosen = [questions[index * len(questions) // many] for index in range(many)]
    with (
        store.lock(),
        ask(
            job_of(step.settings, chosen, prepared.form),
            teacher_of(step.how["teacher"]),
            None,
            step.how,
            ledger_of(step.how, store.ledger),
            run_name(step.how, store.folder(step)),
        ) as annotation,
    ):
        completions = list(annotation.completions())
    failed = [completion for completion in completions if transient(completion)]
    if failed and len(failed) == len(completions):
        raise TeacherError(f"the pilot got no answer ({failed[0].error}): try again once the server is well")
    return completions
