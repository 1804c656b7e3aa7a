"""Does a rationale lead somebody else to its answer? An independent reader is asked, and asked without it.

After the leak filter of KARD (Kang et al. 2023, arXiv 2305.18395): the reader gets the question and the
rationale without its final statement and without its last sentence, for that one mostly repeats the answer.
The catch is what the reader knows by itself: a strong one answers without any rationale. So it is asked the
question alone too, and only the difference is what the rationales carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy import answers
from understudy.audit.material import Answered, Material
from understudy.audit.sentences import without_last
from understudy.ledger import Ledger, transient
from understudy.prompts import render
from understudy.roles import Completer
from understudy.types import AnswerForm, Completion, Message, Question, Request, Sampling, Verdict

READING = Sampling(temperature=0.0, max_tokens=256)
PASSAGE = "Reasoning to read:"
"""Stands before the rationale in a reader's prompt, at the start of a line, and in no other prompt."""


@dataclass(frozen=True, slots=True)
class Read:
    """One rationale and what the reader answered, judged against the rationale's own answer."""

    answered: Answered
    after: Verdict
    """With the cut rationale."""
    alone: Verdict
    """With the question alone."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a reader made of a teacher's rationales."""

    reader: str
    """The reader's model."""
    reads: tuple[Read, ...]
    nothing_left: tuple[Answered, ...]
    """Rationales of one sentence: without it there is nothing to read."""
    unanswered: int
    """Rationales that were left out because the reader could not be reached."""


def read_back(
    material: Material,
    completer: Completer,
    ledger: Ledger,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReadBack:
    """Ask about every rationale whose answer could be read, or about `limit` of them, evenly spaced.

    Whatever the reader answers is data. What it could not be asked for now is left out and counted.
    """
    form = material.form
    readable = [one for one in material.answered if own_answer(one, form) is not None]
    chosen = _spaced(readable, limit)
    cuts = [(one, without_last(one.text)) for one in chosen]
    asked = [(one, cut) for one, cut in cuts if cut]
    questions = list({one.question.id: one.question for one, _ in asked}.values())
    requests = [_request(one.question, form, cut) for one, cut in asked]
    requests += [_request(question, form) for question in questions]
    landed = dict(ledger.complete(completer, requests, READING, on_progress))
    alone = {question.id: landed[len(asked) + index] for index, question in enumerate(questions)}
    pairs = [(one, landed[index], alone[one.question.id]) for index, (one, _) in enumerate(asked)]
    reads = tuple(
        Read(one, _judged(one, after, form), _judged(one, before, form))
        for one, after, before in pairs
        if not transient(after) and not transient(before)
    )
    nothing_left = tuple(one for one, cut in cuts if not cut)
    return ReadBack(completer.identity.model, reads, nothing_left, len(pairs) - len(reads))


def prompt(question: Question, form: AnswerForm, passage: str = "") -> str:
    """What a reader is asked: the question, and the reasoning that it is to read, if any."""
    closing = answers.write("<letter>" if form == "choice" else "<answer>", form)
    task = "Read the reasoning and say to which answer it leads." if passage else "Answer the question."
    lines = [f'{task} Reply with the sentence "{closing}"', "", render(question)]
    return "\n".join([*lines, f"{PASSAGE} {passage}"] if passage else lines)


def _request(question: Question, form: AnswerForm, passage: str = "") -> Request:
    return Request(question, (Message("user", prompt(question, form, passage)),))


def own_answer(one: Answered, form: AnswerForm) -> str | None:
    """The answer that the rationale gives, as a gold that the judge can compare with."""
    if one.verdict.name == "correct":
        return one.question.answer
    said = one.verdict.extracted
    readable = said is not None and answers.canonical(said, form, one.question.choices) is not None
    return said if readable else None


def _judged(one: Answered, reply: Completion, form: AnswerForm) -> Verdict:
    own = own_answer(one, form) or ""
    cut_off = reply.finish_reason == "length"
    return answers.judge(reply.text, own, form, one.question.choices, cut_off=cut_off)


def _spaced(items: Sequence[Answered], limit: int | None) -> list[Answered]:
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]
