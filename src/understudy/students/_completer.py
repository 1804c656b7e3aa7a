"""A trained student as a completer: what lets a student teach, and one evaluation serve everybody."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from understudy.generators.contract import Refilling, Writer
from understudy.roles import Generated, Identity, Landed, LiveStudent
from understudy.streams import windows
from understudy.types import Completion, Request, Sampling

Row = tuple[int, int, int]
"""Position of the request, sample index, tokens of the prompt."""


class StudentCompleter:
    """Answers the last message of every request, in length-sorted batches of `batch_tokens`. A writer that
    refills its batch gets many batches' requests at once, and keeps as many of them in work as fit into one.

    Where the last message is the assistant's, it is what the answer begins with, and the message before it
    is what is answered: the completion goes on from there and does not repeat it.
    """

    def __init__(
        self, live: LiveStudent, identity: Identity, batch_tokens: int, writer: Writer | None = None
    ) -> None:
        """`writer` writes in the student's place, if there is one, and is where it is to be."""
        import torch

        self.identity = identity
        self._writer = writer or live
        self._batch_tokens = batch_tokens
        if writer is None:
            live.model.to("cuda" if torch.cuda.is_available() else "cpu")

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        first = 0
        for window in windows(requests):
            rows = rows_of(window, self._writer.source_tokens)
            batches = packed(rows, sampling.max_tokens, self._batch_tokens)
            for said in self._written(window, batches, sampling):
                yield [(first + position, completion) for position, completion in said]
            first += len(window)

    def _written(
        self, window: Sequence[Request], batches: Iterable[list[Row]], sampling: Sampling
    ) -> Iterator[list[Landed]]:
        if isinstance(self._writer, Refilling):
            for rows, slots in joined(batches, sampling.max_tokens):
                yield from _refilled(self._writer, window, rows, slots, sampling)
            return
        for batch in batches:
            asked = [window[position] for position, _, _ in batch]
            if sampling.temperature > 0:
                _plant(_seed(sampling, asked, batch))
            sources, prefixes = zip(*map(_asked, asked), strict=True)
            texts = self._writer.generate(sources, sampling, prefixes)
            yield [_landed(window, row, text) for row, text in zip(batch, texts, strict=True)]

    def close(self) -> None:
        self._writer.close()


def rows_of(window: Sequence[Request], count: Callable[[Sequence[str]], list[int]]) -> list[Row]:
    """Every sample that is asked for, by position in `window`; `count` says how many tokens texts have."""
    lengths = count([" ".join(filter(None, _asked(request))) for request in window])
    return [(p, sample, lengths[p]) for p, request in enumerate(window) for sample in request.samples]


def packed(rows: Sequence[Row], new_tokens: int, batch_tokens: int) -> Iterator[list[Row]]:
    """Longest first, so that a batch that does not fit into memory fails at once, not at the end."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: -row[2]):
        if batch and (len(batch) + 1) * (batch[0][2] + new_tokens) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def joined(batches: Iterable[list[Row]], new_tokens: int) -> Iterator[tuple[list[Row], int]]:
    """Batches one after another, and how many rows fit side by side; apart from each other where a row comes
    to need less than half of what the first one does, for then more of them fit."""
    rows: list[Row] = []
    slots = 0
    for batch in batches:
        if rows and 2 * (batch[0][2] + new_tokens) < rows[0][2] + new_tokens:
            yield rows, slots
            rows = []
        slots = slots if rows else len(batch)
        rows = rows + batch
    if rows:
        yield rows, slots


def _refilled(
    writer: Refilling, window: Sequence[Request], rows: Sequence[Row], slots: int, sampling: Sampling
) -> Iterator[list[Landed]]:
    """In groups as large as a batch, because each group is waited for until the disk has it."""
    asked = [window[position] for position, _, _ in rows]
    sources, prefixes = zip(*map(_asked, asked), strict=True)
    # Each row has a seed of its own, so what it draws is the same whatever is asked beside it.
    seeds = [_seed(sampling, [request], [row]) for request, row in zip(asked, rows, strict=True)]
    landed: list[Landed] = []
    for group in writer.stream(sources, sampling, prefixes, seeds, slots):
        landed += [_landed(window, rows[at], text) for at, text in group]
        if len(landed) >= slots:
            yield landed
            landed = []
    if landed:
        yield landed


def _landed(window: Sequence[Request], row: Row, text: Generated) -> Landed:
    position, sample, _ = row
    return position, Completion(
        question_id=window[position].question.id,
        sample=sample,
        text=text.text,
        finish_reason=text.finish_reason,
        prompt_tokens=text.source_tokens,
        completion_tokens=text.tokens,
        logprob=text.logprob,
    )


def _plant(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def _asked(request: Request) -> tuple[str, str]:
    """The source, and what the answer begins with."""
    *before, last = request.messages
    return (before[-1].content, last.content) if last.role == "assistant" else (last.content, "")


def _seed(sampling: Sampling, asked: Sequence[Request], batch: Sequence[Row]) -> int:
    """Depends on what is asked and not on when, so a run that was not interrupted can be repeated."""
    names = [f"{request.question.id}/{row[1]}" for request, row in zip(asked, batch, strict=True)]
    text = f"{sampling.seed or 0}:{' '.join(names)}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
