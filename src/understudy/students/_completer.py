"""A trained student as a completer: what lets a student teach, and one evaluation serve everybody."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from understudy.generators.contract import Writer
from understudy.roles import Identity, Landed, LiveStudent
from understudy.streams import windows
from understudy.types import Completion, Request, Sampling

Row = tuple[int, int, int]
"""Position of the request, sample index, tokens of the prompt."""


class StudentCompleter:
    """Answers the last message of every request, in length-sorted batches of `batch_tokens`.

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
            read = [" ".join(filter(None, _asked(request))) for request in window]
            lengths = self._writer.source_tokens(read)
            rows = [(p, sample, lengths[p]) for p, request in enumerate(window) for sample in request.samples]
            for batch in packed(rows, sampling.max_tokens, self._batch_tokens):
                said = self._say(batch, [window[position] for position, _, _ in batch], sampling)
                yield [(first + row[0], completion) for row, completion in zip(batch, said, strict=True)]
            first += len(window)

    def _say(
        self, batch: Sequence[Row], asked: Sequence[Request], sampling: Sampling
    ) -> Iterator[Completion]:
        import torch

        if sampling.temperature > 0:
            torch.manual_seed(_seed(sampling, asked, batch))
        sources, prefixes = zip(*map(_asked, asked), strict=True)
        texts = self._writer.generate(sources, sampling, prefixes)
        for (_, sample, _), request, text in zip(batch, asked, texts, strict=True):
            yield Completion(
                question_id=request.question.id,
                sample=sample,
                text=text.text,
                finish_reason=text.finish_reason,
                prompt_tokens=text.source_tokens,
                completion_tokens=text.tokens,
                logprob=text.logprob,
            )

    def close(self) -> None:
        """Nothing is held open."""


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


def _asked(request: Request) -> tuple[str, str]:
    """The source, and what the answer begins with."""
    *before, last = request.messages
    return (before[-1].content, last.content) if last.role == "assistant" else (last.content, "")


def _seed(sampling: Sampling, asked: Sequence[Request], batch: Sequence[Row]) -> int:
    """Depends on what is asked and not on when, so a run that was not interrupted can be repeated."""
    names = [f"{request.question.id}/{row[1]}" for request, row in zip(asked, batch, strict=True)]
    text = f"{sampling.seed or 0}:{' '.join(names)}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
