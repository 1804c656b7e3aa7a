"""Take in what was paid for elsewhere, so that it is not paid for again.

A generation counts as paid only for a request that is equal word for word, at the same endpoint, of the same
model, sampled the same way: where a file does not say one of these, `Origin` does. What a file says counts
before what `Origin` says. A file is imported as a whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args

from understudy.ledger import _rows
from understudy.ledger._file import connect, sentences, transaction
from understudy.ledger._keys import Keys, digest, messages_text, transient
from understudy.ledger._rows import Record
from understudy.ledger.layouts import Found, generations
from understudy.roles import Identity
from understudy.streams import windows
from understudy.types import Completion, FinishReason, Message, Question, Sampling

_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file does not say about where its generations come from."""

    endpoint: str = ""
    model: str = ""
    revision: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    run: str = "import"


@dataclass(frozen=True, slots=True)
class Imported:
    added: int
    known: int
    """Generations whose place was taken: imported before, or asked by a run."""
    skipped: Mapping[str, int]
    """Why some could not be used, and how many."""


def import_file(path: Path, ledger: Path, origin: Origin, asked: Path | None = None) -> Imported:
    """Add a file's generations to a ledger, which is made if it is not there; layouts.py says which.

    Raises DataError when the file cannot be read, and then nothing of it is in the ledger.
    """
    skipped: Counter[str] = Counter()
    added = seen = 0
    with sentences(ledger), closing(connect(ledger)) as db, transaction(db):
        for window in windows(_records(generations(path, asked), origin, skipped), _TOGETHER):
            added += _rows.insert(db, window)
            seen += len(window)
    return Imported(added, seen - added, dict(skipped))


def _records(found: Iterator[Found], origin: Origin, skipped: Counter[str]) -> Iterator[Record]:
    numbered: Counter[tuple[Identity, str, str]] = Counter()
    for generation in found:
        if reason := _unusable(generation, origin):
            skipped[reason] += 1
            continue
        try:
            yield _record(generation, origin, numbered)
        except (TypeError, ValueError):
            skipped["a field is not of its type"] += 1


def _unusable(found: Found, origin: Origin) -> str:
    if found.skipped:
        return found.skipped
    if not isinstance(found.text, str) and not found.rest.get("error"):
        return "it has no text"
    if not (found.model or origin.model):
        return "it does not say which model answered (--model)"
    return "" if found.endpoint or origin.endpoint else "it does not say which endpoint answered (--endpoint)"


def _record(found: Found, origin: Origin, numbered: Counter[tuple[Identity, str, str]]) -> Record:
    revision = origin.revision if found.revision is None else found.revision
    identity = Identity(found.endpoint or origin.endpoint, found.model or origin.model, revision)
    keys = Keys(identity, _sampling(found.sampling, origin.sampling))
    messages = messages_text([Message(cast(Any, role), content) for role, content in found.messages])
    prompt = digest(messages)
    sample = found.sample
    if sample is None:
        sample = numbered[identity, prompt, keys.sampling]
        numbered[identity, prompt, keys.sampling] += 1
    completion = _completion(found, int(sample))
    if transient(completion):
        raise ValueError("asking again may help, so it does not count as paid")
    usd = found.rest.get("usd")
    return Record(
        identity=identity,
        sampling=keys.sampling,
        key=keys.key(prompt, completion.sample),
        prompt=prompt,
        messages=messages,
        completion=completion,
        usd=None if usd is None else float(usd),
        run=str(found.rest.get("run") or origin.run),
        created=_moment(found.rest.get("created")),
    )


def _completion(found: Found, sample: int) -> Completion:
    rest = found.rest
    finish = rest.get("finish_reason")
    logprob = rest.get("logprob")
    question = rest.get("question_id") or Question(found.messages[-1][1], "").id
    return Completion(
        question_id=str(question),
        sample=sample,
        text=found.text or "",
        finish_reason=cast(FinishReason, finish) if finish in get_args(FinishReason) else "stop",
        prompt_tokens=int(rest.get("prompt_tokens") or 0),
        completion_tokens=int(rest.get("completion_tokens") or 0),
        reasoning=str(rest.get("reasoning") or ""),
        error=str(rest.get("error") or ""),
        latency_s=float(rest.get("latency_s") or 0),
        attempts=int(rest.get("attempts") or 1),
        raw=str(rest.get("raw") or ""),
        logprob=None if logprob is None else float(logprob),
    )


def _moment(value: object) -> str:
    """As the ledger writes a moment; empty where the file does not know it. Without a zone it is UTC."""
    if not value:
        return ""
    moment = datetime.fromisoformat(str(value))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _sampling(found: Mapping[str, Any], origin: Sampling) -> Sampling:
    """Each number in the type that a recipe would give it: 1 and 1.0 are written differently in a key."""
    fields = asdict(origin) | dict(found)
    stop = fields["stop"]
    return Sampling(
        temperature=float(fields["temperature"]),
        top_p=float(fields["top_p"]),
        max_tokens=int(fields["max_tokens"]),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=None if fields["seed"] is None else int(fields["seed"]),
    )
