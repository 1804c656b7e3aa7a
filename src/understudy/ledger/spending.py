"""What a ledger's completions have cost so far, and which of a stream of requests it has yet to buy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.ledger import _rows
from understudy.ledger._file import existing, sentences
from understudy.ledger._flow import CHUNK
from understudy.ledger._keys import Keys, digest, messages_text
from understudy.ledger.selection import Selection
from understudy.roles import Identity
from understudy.streams import windows
from understudy.types import Request, Sampling

_IMPORTED = "import"
"""The run that imported generations are filed under: nobody paid for them here."""
_SUM = """
SELECT COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens), TOTAL(usd),
  TOTAL((usd IS NULL) * prompt_tokens), TOTAL((usd IS NULL) * completion_tokens),
  TOTAL(completion_tokens = 0 AND finish_reason <> 'error' AND (text <> '' OR reasoning <> ''))
FROM completions WHERE run <> ? AND {where}
"""


@dataclass(frozen=True, slots=True)
class Spending:
    """Sums over completions. What was stored without a price is counted in `usd` as nothing."""

    completions: int
    prompt_tokens: int
    completion_tokens: int
    usd: float
    unpriced_prompt_tokens: int
    unpriced_completion_tokens: int
    uncounted: int
    """Completions with a text whose server did not say how many tokens it took."""


def spending(path: Path, selection: Selection | None = None) -> Spending:
    """What the selected completions have cost, imported ones apart; nothing where there is no ledger yet."""
    if not path.exists():
        return Spending(0, 0, 0, 0.0, 0, 0, 0)
    where, values = (selection or Selection()).where()
    with sentences(path), closing(existing(path)) as db:
        count, prompt, completion, usd, *unpriced = db.execute(
            _SUM.format(where=where), [_IMPORTED, *values]
        ).fetchone()
    return Spending(count, int(prompt), int(completion), usd, *map(int, unpriced))


def missing(
    path: Path, identity: Identity, requests: Iterable[Request], sampling: Sampling
) -> Iterator[Request]:
    """The requests that would have to be paid for, each cut down to the samples that are not stored.

    They are read as they are asked for. Requests that are equal to each other are all counted.
    """
    if not identity.endpoint or not path.exists():
        yield from requests
        return
    keys = Keys(identity, sampling)
    with sentences(path), closing(existing(path)) as db:
        for window in windows(requests, CHUNK):
            wanted = [_keys(keys, request) for request in window]
            stored = _rows.stored(db, [key for samples in wanted for key in samples.values()])
            for request, samples in zip(window, wanted, strict=True):
                left = tuple(sample for sample, key in samples.items() if key not in stored)
                if left:
                    yield replace(request, samples=left)


def _keys(keys: Keys, request: Request) -> dict[int, str]:
    prompt = digest(messages_text(request.messages))
    return {sample: keys.key(prompt, sample) for sample in request.samples}
