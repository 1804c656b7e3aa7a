"""The steps in which a teacher is asked: through the ledger, so that nothing is paid for twice, and no
further than the budget reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from understudy import shelves
from understudy.annotate import Annotation, Job, Progress, annotate_in_rounds
from understudy.counterfactuals import mistaken
from understudy.data import Prepared
from understudy.errors import TeacherError
from understudy.ledger import Ledger, transient
from understudy.ledger.selection import Selection
from understudy.ledger.spending import spending
from understudy.metering import BudgetSpec, Metered, Spent, check_counts, check_price, spent_before
from understudy.policies import PolicySpec, assign
from understudy.prices import Price, PriceSpec, price_of
from understudy.prompts import PromptSpec
from understudy.records import save
from understudy.roles import Completer, Identity, Teacher
from understudy.store import Step, digest
from understudy.types import AnswerForm, Completion, Prediction, Question, Sampling, Written
from understudy.work import Work, teacher_of

FREE = ("", "local", "recorded", "transformers", "vllm")
"""Endpoints whose answers cost no money, unless the recipe gives a price."""
SILENT = ("", "recorded")
"""Endpoints that write nothing new: what they hand out counts against no budget."""
_NOTHING = Price(0.0, 0.0, source="this machine")


def annotate_split(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    prepared = work.prepared()
    with _asked(settings, work, questions_of(settings, prepared), prepared.form) as annotation:
        tally = _Tally()
        save(work.folder / "completions.jsonl", tally.over(annotation.completions()))
        return _result(settings, work, annotation, tally)


def ask_split(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The teacher on an evaluation split; what it could not answer is left out, not counted as wrong."""
    prepared = work.prepared()
    with _asked(settings, work, questions_of(settings, prepared), prepared.form) as annotation:
        tally = _Tally()
        completions = list(tally.over(annotation.completions()))
        result = _result(settings, work, annotation, tally)
    answered = [c for c in completions if c.finish_reason not in ("error", "content_filter")]
    save(
        work.folder / "predictions.jsonl",
        [
            Prediction(c.question_id, (Written("teacher", c.text, c.finish_reason, c.completion_tokens),))
            for c in answered
        ],
    )
    return {**result, "answered": len(answered), "unanswered": len(completions) - len(answered)}


def questions_of(settings: Mapping[str, Any], prepared: Prepared) -> Sequence[Question]:
    """The questions of a split that a step asks about: of several teachers each has its part, and for some
    methods they come with a wrong answer."""
    questions: Sequence[Question] = prepared.splits[settings["split"]]
    if settings.get("counterfactual"):
        questions = mistaken(questions, prepared.form)
    if "part" in settings:
        questions = assign(questions, settings["part"]["shares"])[settings["part"]["index"]]
    return questions


def job_of(settings: Mapping[str, Any], questions: Sequence[Question], form: AnswerForm) -> Job:
    """What a step asks for, from its settings."""
    return Job(
        questions,
        replace(shelves.load("tasks", settings["task"]), form=form),
        PromptSpec(**settings["prompt"]),
        Sampling(**{**settings["sampling"], "stop": tuple(settings["sampling"]["stop"])}),
        PolicySpec(**settings["policy"]),
    )


# ---------------------------------------------------------------- who is asked, and what that may cost


def ask(
    job: Job,
    teacher: Teacher,
    model: Path | None,
    how: Mapping[str, Any],
    ledger: Path,
    run: str,
    revision: str = "",
    on_progress: Progress | None = None,
) -> Annotation:
    """Everything that the policy wants, through the ledger; what was answered before is not asked again.

    `revision` is the hash of the weights that a run trained for this teacher, if it did.
    """
    price = price_of_teacher(teacher, how)
    completer = completer_of(teacher, model, how)
    try:
        asked = metered(named(completer, revision), how, ledger, price)
        with Ledger(ledger, run=run, price=price.of if price else None) as opened:
            return annotate_in_rounds(job, asked, opened, on_progress)
    finally:
        completer.close()


def completer_of(teacher: Teacher, model: Path | None, how: Mapping[str, Any]) -> Completer:
    """The live teacher, in this process or on the machines that `how` names."""
    if how.get("ray") is None:
        return teacher.build(model)
    from understudy.engines.ray import RaySpec, spread

    return spread(teacher, model, RaySpec(**how["ray"]))


def is_free(who: Identity, how: Mapping[str, Any]) -> bool:
    """Whether its answers cost no money."""
    return who.endpoint in FREE and price_for(who, how) == _NOTHING


def price_of_teacher(teacher: Teacher, how: Mapping[str, Any]) -> Price | None:
    return price_for(teacher.identity(), how, batched=teacher.name == "openai_batch")


def price_for(who: Identity, how: Mapping[str, Any], batched: bool = False) -> Price | None:
    """What somebody costs whom a run asks: a teacher what the recipe says, if it does, and everybody else
    the list price; None where nobody knows. Whatever weights they are, they are paid alike."""
    for endpoint, model, price in how.get("prices", ()):
        if (endpoint, model) == (who.endpoint, who.model):
            return PriceSpec(**price).price()
    if who.endpoint in FREE:
        return _NOTHING
    price = price_of(who.model, who.endpoint)
    return price.batched() if price and batched else price


def check_prices(steps: Iterable[Step]) -> None:
    """Raises RecipeError where a step would ask somebody whose price is not known, and dollars are to be
    counted: before anything is asked, rather than hours later."""
    for step in steps:
        if step.how.get("budget", {}).get("usd") is None:
            continue
        asked = {"audit": "reader", "predict": "answerer"}.get(step.kind, "teacher")
        if step.how.get(asked) is not None:
            payer = teacher_of(step.how[asked])
            check_price(payer.identity(), price_of_teacher(payer, step.how))


def metered(completer: Completer, how: Mapping[str, Any], ledger: Path, price: Price | None) -> Completer:
    """The completer as far as the budget reaches, counting what everybody whom the run pays has cost.

    Who writes nothing new counts against no cap.
    """
    budget = BudgetSpec(**how.get("budget", {}))
    if not budget.caps() or completer.identity.endpoint in SILENT:
        return completer
    spent = Spent()
    for endpoint, model in how["paid"]:
        who = Identity(endpoint, model)
        if endpoint in SILENT:
            continue
        its_price = price_for(who, how)
        before = spent_before(ledger, who, its_price)
        check_counts(who, before.uncounted, budget, its_price)
        spent = Spent(spent.requests + before.requests, spent.tokens + before.tokens, spent.usd + before.usd)
    return Metered(completer, budget, spent, price)


def ledger_of(how: Mapping[str, Any], own: Path) -> Path:
    """Where completions of teachers are kept: the run's own file, or one that runs share."""
    return Path(how["ledger"]) if how.get("ledger") else own


def run_name(how: Mapping[str, Any], folder: Path) -> str:
    """What the ledger's rows say of the step in `folder`. The same step of two runs has one name, so in a
    ledger that they share the run's folder is added: none is to count what another has bought."""
    if not how.get("ledger"):
        return folder.name
    root = folder.resolve().parent.parent
    return f"{root.name}-{digest(str(root))[:8]}/{folder.name}"


def _asked(
    settings: Mapping[str, Any], work: Work, questions: Sequence[Question], form: AnswerForm
) -> Annotation:
    return ask(
        job_of(settings, questions, form),
        teacher_of(work.how["teacher"]),
        work.needs["teach"] / "model" if "teach" in work.needs else None,
        work.how,
        ledger_of(work.how, work.ledger),
        run_name(work.how, work.folder),
        settings["revision"],
        lambda n, of: work.progress(n / of, f"{n:,} of {of:,} completions"),
    )


def named(completer: Completer, revision: str) -> Completer:
    """The completer, whose identity then carries the hash of the weights that a run trained for it."""
    return _Named(completer, revision) if revision else completer


class _Named:
    """A completer whose identity carries the hash of the weights that a run trained for it."""

    def __init__(self, completer: Completer, revision: str) -> None:
        self.identity = replace(completer.identity, revision=revision)
        self.complete = completer.complete
        self.close = completer.close


# ---------------------------------------------------------------- what came of it


@dataclass(slots=True)
class _Tally:
    """Counts completions as they go by."""

    completions: int = 0
    failed: int = 0
    hinted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    why: str = ""

    def over(self, completions: Iterator[Completion]) -> Iterator[Completion]:
        for completion in completions:
            self.completions += 1
            self.prompt_tokens += completion.prompt_tokens
            self.completion_tokens += completion.completion_tokens
            self.hinted += completion.variant == "hinted"
            if transient(completion):
                self.failed += 1
                self.why = self.why or completion.error
            yield completion


def _result(settings: Mapping[str, Any], work: Work, annotation: Annotation, tally: _Tally) -> dict[str, Any]:
    """Requests that ran out of retries are not in the ledger: the step stays open, and the next run asks for
    just those, unless the recipe says to go on without them."""
    if tally.failed and settings["unanswered"] == "error":
        raise TeacherError(
            f"{tally.failed:,} of {tally.completions:,} completions were not answered ({tally.why}): the "
            "others are kept, run the same command again to ask for these, or set sampling.unanswered=drop"
        )
    return {
        "asked": sum(part.asked for part in annotation.rounds),
        "reused": sum(part.reused for part in annotation.rounds),
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "hinted": tally.hinted,
        "rounds": [asdict(part) for part in annotation.rounds],
        "bought": bought(work),
    }


def bought(work: Work) -> dict[str, Any]:
    """What a step has paid for, however often it was started: not what its students wrote beside that."""
    selection = Selection(run=run_name(work.how, work.folder))
    if "answerer" in work.how:
        who = teacher_of(work.how["answerer"]).identity()
        selection = replace(selection, endpoint=who.endpoint, model=who.model)
    return asdict(spending(ledger_of(work.how, work.ledger), selection))
