"""How a completion is found again: by who answered, what was asked, how it was sampled, which sample it is.

A changed key would orphan every ledger out there: tests/test_ledger.py pins one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from understudy.roles import Identity
from understudy.types import Completion, Message, Sampling

UNANSWERED = "unanswered"
"""`Completion.error` reads "kind" or "kind: detail". This kind means that trying again may help (retries
ran out, the server was busy), so such a completion is yielded but never stored, and the next run asks
again. Every other kind ("context too long", "not recorded", ...) is final and stored."""


def transient(completion: Completion) -> bool:
    """True if asking again may help; such a completion is never stored."""
    kind = completion.error.partition(":")[0]
    return completion.finish_reason == "error" and kind == UNANSWERED


class Keys:
    """The keys of one teacher under one sampling."""

    def __init__(self, identity: Identity, sampling: Sampling) -> None:
        self.identity = identity
        self.sampling = canonical(asdict(sampling))
        # The text of [endpoint, model, revision, prompt, sampling, sample], cut where the prompt stands.
        who = canonical([identity.endpoint, identity.model, identity.revision])
        self._before = f'{who[:-1]},"'
        self._after = f'",{canonical(self.sampling)},'

    def key(self, prompt: str, sample: int) -> str:
        """`prompt` is the digest of the messages' text."""
        return digest(f"{self._before}{prompt}{self._after}{sample}]")


def messages_text(messages: Sequence[Message]) -> str:
    """What was asked, word for word, as the ledger keeps it."""
    return canonical([[message.role, message.content] for message in messages])


def canonical(value: object) -> str:
    """The one JSON text of a plain value, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def whole(text: str) -> str:
    """Half a surrogate pair, which a broken server can send, is not text that UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
