"""Questions -> what the teacher wrote about each, through the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy.ledger import Ledger
from understudy.prompts import PromptSpec, messages
from understudy.roles import Completer, Task
from understudy.types import Completion, Question, Request, Sampling


def annotate(
    questions: Sequence[Question],
    task: Task,
    completer: Completer,
    prompt: PromptSpec,
    sampling: Sampling,
    n: int,
    ledger: Ledger,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Completion]:
    """`n` samples of every question, in the order of the questions and then of the samples.

    `on_progress` hears (samples so far, samples in all). Whatever is raised half-way (TeacherError, an
    interrupt), all that was answered is in the ledger already, and the next call asks only for the rest.
    """
    wanted = tuple(range(n))
    requests = [Request(question, messages(question, task, prompt), wanted) for question in questions]
    landed: dict[tuple[int, int], Completion] = {}
    for position, completion in ledger.complete(completer, requests, sampling, on_progress):
        landed[position, completion.sample] = completion
    return [landed[position, sample] for position in range(len(requests)) for sample in wanted]
