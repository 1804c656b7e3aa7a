"""Why a server gave no answer, and whether asking again may help: no network in this file.

Codes come first and then words, because servers disagree about the status of a full context, of a spent
account and of a wrong key. The catch: the words are those of the servers met so far; an unknown refusal
counts as `rejected`, which is asked again by the next run and never stored as an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from understudy.teachers._limits import retry_after

Kind = Literal[
    "limited",  # 429: too many requests, the set-up is good
    "busy",  # overloaded, or no reply in time
    "retry",  # anything else that may pass: a server error, a torn connection, a reply that is no answer
    "refused",  # nobody listens at the address
    "key",
    "missing",
    "moved",
    "credit",
    "too_long",
    "content_filter",
    "rejected",
]
PASSING: frozenset[Kind] = frozenset({"limited", "busy", "retry", "refused"})
"""What asking again may mend."""
CONGESTED: frozenset[Kind] = frozenset({"limited", "busy"})
"""What fewer requests at once may mend."""

_OVERLOADED = frozenset({408, 503, 504, 529})
_PASSING_STATUS = frozenset({409, 425})
_CONTEXT = (
    "context length",
    "context window",
    "context size",
    "context_length",
    "exceed_context",
    "maximum context",
    "too many tokens",
    "prompt is too long",
    "input token count",
    "max_new_tokens` must be",
)
_FILTER = ("content_filter", "content_policy", "moderation")
_KEY = ("invalid_api_key", "authentication_error", "api key not valid")
_CREDIT = ("insufficient_quota", "billing_error", "credit balance")
_MALFORMED = ("'loc': ('body'",)
"""What FastAPI says of a body that it does not take, where a server makes an accident of its own of that."""
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no answer. `wait_s` is what the server asked for by Retry-After, in seconds."""

    kind: Kind
    detail: str
    wait_s: float = 0.0
    raw: str = ""
    """The server's whole reply, if there was one."""


def fault(status: int, headers: Mapping[str, str], text: str) -> Fault:
    """What an HTTP status other than success means."""
    code, message = _error(text)
    kind = _kind(status, code, message.lower())
    if kind == "key":  # its message often repeats a part of the key
        return Fault(kind, f"HTTP {status}", raw=text)
    if kind == "moved":
        message = f"to {headers.get('Location', 'nowhere')}"
    return Fault(kind, f"HTTP {status}: {message}", retry_after(headers), text)


def unreadable(what: str, text: str) -> Fault:
    """A reply that came with success and holds no answer."""
    return Fault("retry", f"the reply {what}: {short(text)}", raw=text)


def short(text: str) -> str:
    """The beginning of a text on one line, for a message."""
    words = " ".join(text[: 4 * _SHOWN].split())
    return words if len(words) <= _SHOWN else words[:_SHOWN] + " ..."


def _kind(status: int, code: str, said: str) -> Kind:
    if _names(_FILTER, code):
        return "content_filter"
    if status in (400, 413, 422, 500) and (_names(_CONTEXT, code) or _names(_CONTEXT, said)):
        return "too_long"
    if status == 402 or _names(_CREDIT, code) or "credit balance" in said:
        return "credit"
    if status in (401, 403) or _names(_KEY, code) or "api key not valid" in said:
        return "key"
    if status in (404, 405, 410) or "model_not_found" in code:
        return "missing"
    if status == 429:
        return "limited"
    if status in _OVERLOADED:
        return "busy"
    if status >= 500 and _names(_MALFORMED, said):
        return "rejected"
    if status >= 500 or status in _PASSING_STATUS:
        return "retry"
    return "moved" if 300 <= status < 400 else "rejected"


def _names(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)


def _error(text: str) -> tuple[str, str]:
    """The error's codes (lower case) and message; servers nest them, or not, or send a page."""
    try:
        reply: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "", short(text)
    if isinstance(reply, list) and reply:  # Google sends a list of one
        reply = reply[0]
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    if not isinstance(error, dict):
        return "", short(str(error))
    codes = " ".join(str(error.get(name) or "") for name in ("code", "type"))
    return codes.lower(), short(str(error.get("message") or error.get("detail") or text))
