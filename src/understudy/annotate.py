"""Questions -> what the teacher wrote about each, through the ledger, in rounds where the policy wants them.

Completions land in any order. They wait in a file without a name beside the ledger, so memory stays flat,
and come out in the order of the questions and then of the samples. The catch: each temperature and each
limit is a stream of its own, and a round waits for its last answer before the next one begins.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, repeat
from typing import NamedTuple

from understudy.ledger import Ledger
from understudy.ledger.spending import missing
from understudy.metering import OverBudgetError
from understudy.policies import HINTED, Ask, PolicySpec, Seen, look, next_round, shows_answer
from understudy.prompts import PromptSpec, messages
from understudy.roles import Completer, Task
from understudy.spool import Spool
from understudy.types import Completion, Question, Request, Sampling

Progress = Callable[[int, int], None]
"""Hears (samples so far, samples in all rounds so far)."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be annotated, and how."""

    questions: Sequence[Question]
    task: Task
    prompt: PromptSpec
    sampling: Sampling
    policy: PolicySpec

    def requests(self) -> Iterator[tuple[Sampling, Iterator[Request]]]:
        """All that plain samples can come to, `n` for every question, as streams of one sampling each: what
        an estimate is made of. Asking again and asking with the answer shown come on top."""
        most = self.policy.model_copy(update={"until_correct": None, "settled": None})
        plan = _first(self, most)
        return (
            (draw.sampling(self.sampling), _requests(self, plan, draw, array("q"))) for draw in plan.draws
        )


@dataclass(frozen=True, slots=True)
class Round:
    """What one round asked for and got, in samples."""

    questions: int
    asked: int
    """Paid for now; `reused` were in the ledger."""
    reused: int
    right: int
    cut_off: int
    hinted: int
    """Asked for with the gold answer shown."""
    unanswered: int


class Annotation:
    """All that was answered. It holds a file open, so close it or use it in a `with` statement."""

    def __init__(self, rounds: Sequence[Round], spool: Spool) -> None:
        self.rounds = tuple(rounds)
        self._spool = spool

    def completions(self) -> Iterator[Completion]:
        """In the order of the questions, then of the samples, as often as wanted. `variant` is "hinted"
        where the answer was shown."""
        return self._spool.read()

    def close(self) -> None:
        self._spool.close()

    def __enter__(self) -> Annotation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def annotate(
    questions: Sequence[Question],
    task: Task,
    completer: Completer,
    prompt: PromptSpec,
    sampling: Sampling,
    n: int,
    ledger: Ledger,
    on_progress: Progress | None = None,
) -> list[Completion]:
    """`n` samples of every question, in the order of the questions and then of the samples.

    `on_progress` hears (samples so far, samples in all). Whatever is raised half-way (TeacherError, an
    interrupt), all that was answered is in the ledger already, and the next call asks only for the rest.
    """
    job = Job(questions, task, prompt, sampling, PolicySpec(n=n))
    with annotate_in_rounds(job, completer, ledger, on_progress) as annotation:
        return list(annotation.completions())


def annotate_in_rounds(
    job: Job, completer: Completer, ledger: Ledger, on_progress: Progress | None = None
) -> Annotation:
    """The same for any policy. Rounds that were gone through before are found in the ledger.

    Raises BudgetError where a metered completer does, with what is left of the round.
    """
    spool = Spool(ledger.path.parent)
    try:
        work = _Work(job, completer, ledger, spool, on_progress)
        plan: _Plan | None = _first(job, job.policy)
        while plan:
            work.go_through(plan)
            plan = work.next_plan()
    except BaseException:
        spool.close()
        raise
    return Annotation(work.rounds, spool)


# ---------------------------------------------------------------- what a round asks for


class _Draw(NamedTuple):
    """How samples of one stream are drawn, as far as that is not as the recipe has it."""

    temperature: float | None
    max_tokens: int | None

    def sampling(self, base: Sampling) -> Sampling:
        return Ask(0, self.temperature, self.max_tokens).sampling(base)


@dataclass(frozen=True, slots=True)
class _Plan:
    questions: int
    samples: int
    draws: tuple[_Draw, ...]
    entries: Callable[[], Iterable[tuple[int, Sequence[Ask]]]]
    """(position of a question, what to ask about it), as often as it is gone through."""


def _first(job: Job, policy: PolicySpec) -> _Plan:
    asks, count = next_round(policy, ()), len(job.questions)
    return _Plan(count, count * len(asks), _draws(asks), lambda: zip(range(count), repeat(asks)))


def _later(wanted: Mapping[int, Sequence[Ask]]) -> _Plan:
    asks = [ask for more in wanted.values() for ask in more]
    return _Plan(len(wanted), len(asks), _draws(asks), wanted.items)


def _draws(asks: Iterable[Ask]) -> tuple[_Draw, ...]:
    return tuple(dict.fromkeys(_Draw(ask.temperature, ask.max_tokens) for ask in asks))


def _requests(job: Job, plan: _Plan, draw: _Draw, places: array[int]) -> Iterator[Request]:
    """The requests of a plan that are drawn in one way; `places` gets the question's position of each."""
    prompts: dict[tuple[str, bool, int], PromptSpec] = {}
    systems = len(job.prompt.systems())

    def kind_of(ask: Ask) -> tuple[str, bool, int]:
        return ask.style or "", ask.hinted, ask.sample % HINTED % systems

    for position, asks in plan.entries():
        drawn = [ask for ask in asks if (ask.temperature, ask.max_tokens) == draw]
        for kind, group in groupby(sorted(drawn, key=kind_of), key=kind_of):
            if kind not in prompts:
                prompts[kind] = _prompt(job.prompt, *kind)
            places.append(position)
            question, samples = job.questions[position], tuple(ask.sample for ask in group)
            yield Request(question, messages(question, job.task, prompts[kind]), samples)


def _prompt(prompt: PromptSpec, style: str, hinted: bool, system: int) -> PromptSpec:
    changes = {
        "style": style or prompt.style,
        "show_answer": hinted or prompt.show_answer,
        "system": prompt.systems()[system],
    }
    return PromptSpec(**{**prompt.model_dump(), **changes})


# ---------------------------------------------------------------- going through the rounds


class _Work:
    def __init__(
        self, job: Job, completer: Completer, ledger: Ledger, spool: Spool, on_progress: Progress | None
    ) -> None:
        self.rounds: list[Round] = []
        self._job = job
        self._completer = completer
        self._ledger = ledger
        self._spool = spool
        self._on_progress = on_progress
        self._landed = 0
        self._planned = 0
        self._seen: dict[int, list[Seen]] = {}
        """Of every question that may get another round; empty where there is only one."""

    def go_through(self, plan: _Plan) -> None:
        """Ask for all of a plan, and count what came."""
        self._planned += plan.samples
        ledger, counts = self._ledger, dict.fromkeys(("right", "cut_off", "hinted", "unanswered"), 0)
        asked, reused = ledger.asked, ledger.reused
        for draw in plan.draws:
            for seen, hinted in self._answers(plan, draw):
                counts["right"] += seen.right
                counts["cut_off"] += seen.cut_off
                counts["unanswered"] += seen.unanswered
                counts["hinted"] += hinted
        self.rounds.append(
            Round(plan.questions, ledger.asked - asked, ledger.reused - reused, **counts),
        )

    def next_plan(self) -> _Plan | None:
        """What is to be asked for next; None when every question is done."""
        asks = {
            position: next_round(self._job.policy, self._seen[position]) for position in sorted(self._seen)
        }
        wanted = {position: more for position, more in asks.items() if more}
        self._seen = {position: self._seen[position] for position in wanted}
        return _later(wanted) if wanted else None

    def _answers(self, plan: _Plan, draw: _Draw) -> Iterator[tuple[Seen, bool]]:
        job, places = self._job, array("q")
        requests, sampling = _requests(job, plan, draw, places), draw.sampling(job.sampling)
        try:
            for index, completion in self._ledger.complete(self._completer, requests, sampling):
                hinted = job.prompt.show_answer or shows_answer(job.policy, completion.sample)
                yield self._keep(places[index], completion, hinted), hinted
        except OverBudgetError as stop:
            raise stop.with_left(self._left(plan), at_least=job.policy.in_rounds) from None

    def _keep(self, position: int, completion: Completion, hinted: bool) -> Seen:
        self._spool.add(position, replace(completion, variant="hinted") if hinted else completion)
        seen = look(self._job.questions[position], completion, self._job.task.form)
        if self._job.policy.in_rounds:
            self._seen.setdefault(position, []).append(seen)
        self._landed += 1
        if self._on_progress:
            self._on_progress(self._landed, self._planned)
        return seen

    def _left(self, plan: _Plan) -> int:
        """Samples of a plan that would have to be paid for."""
        job, path, who = self._job, self._ledger.path, self._completer.identity
        return sum(
            len(request.samples)
            for draw in plan.draws
            for request in missing(
                path, who, _requests(job, plan, draw, array("q")), draw.sampling(job.sampling)
            )
        )
