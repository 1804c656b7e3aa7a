"""The steps in which the teacher is asked: through the ledger, so that nothing is paid for twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from understudy import shelves
from understudy.annotate import annotate
from understudy.errors import TeacherError
from understudy.ledger import Ledger, transient
from understudy.prompts import PromptSpec
from understudy.records import save
from understudy.roles import Completer, Identity
from understudy.types import AnswerForm, Completion, Prediction, Question, Sampling, Written
from understudy.work import Work, teacher_of


def annotate_split(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    prepared = work.prepared()
    completions, counts = _complete(settings, work, prepared.splits[settings["split"]], prepared.form)
    save(work.folder / "completions.jsonl", completions)
    return {**counts}


def ask_split(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The teacher on an evaluation split; what it could not answer is left out, not counted as wrong."""
    prepared = work.prepared()
    completions, counts = _complete(settings, work, prepared.splits[settings["split"]], prepared.form)
    answered = [c for c in completions if c.finish_reason not in ("error", "content_filter")]
    save(
        work.folder / "predictions.jsonl",
        [
            Prediction(c.question_id, (Written("teacher", c.text, c.finish_reason, c.completion_tokens),))
            for c in answered
        ],
    )
    return {**counts, "answered": len(answered), "unanswered": len(completions) - len(answered)}


def _complete(
    settings: Mapping[str, Any], work: Work, questions: Sequence[Question], form: AnswerForm
) -> tuple[list[Completion], dict[str, int]]:
    """Ask the teacher through the ledger; what it has answered before is not asked for again.

    Requests that ran out of retries are not in the ledger: the step stays open, and the next run asks
    for just those, unless the recipe says to go on without them.
    """
    teacher = teacher_of(settings["teacher"])
    model = work.needs["teach"] / "model" if "teach" in work.needs else None
    completer = teacher.build(model)
    completer = _Named(completer, settings["revision"]) if settings["revision"] else completer
    sampling = Sampling(**{**settings["sampling"], "stop": tuple(settings["sampling"]["stop"])})

    def landed(count: int, total: int) -> None:
        work.progress(count / total, f"{count} of {total} completions")

    try:
        with Ledger(work.ledger, run=work.folder.name) as ledger:
            completions = annotate(
                questions,
                replace(shelves.load("tasks", settings["task"]), form=form),
                completer,
                PromptSpec(**settings["prompt"]),
                sampling,
                settings["n"],
                ledger,
                landed,
            )
            counts = {"asked": ledger.asked, "reused": ledger.reused}
    finally:
        completer.close()
    failed = [completion for completion in completions if transient(completion)]
    if failed and settings["unanswered"] == "error":
        raise TeacherError(
            f"{len(failed):,} of {len(completions):,} completions were not answered ({failed[0].error}): the "
            "others are kept, run the same command again to ask for these, or set sampling.unanswered=drop"
        )
    tokens = {
        "prompt_tokens": sum(c.prompt_tokens for c in completions),
        "completion_tokens": sum(c.completion_tokens for c in completions),
    }
    return completions, {**counts, **tokens}


class _Named:
    """A completer whose identity carries the hash of the weights that a run trained for it."""

    def __init__(self, completer: Completer, revision: str) -> None:
        self._completer = completer
        who = completer.identity
        self.identity = Identity(who.endpoint, who.model, revision)
        self.complete = completer.complete
        self.close = completer.close
