"""Whom a live teacher asks, how, and how fast: what its spec hands to the client."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.roles import Identity
from understudy.teachers._wire import Dialect


@dataclass(frozen=True, slots=True)
class Server:
    """The fields are those of the `openai` teacher."""

    identity: Identity
    urls: tuple[str, ...]
    """The addresses that requests are posted to. They are equal: any of them may answer any request."""
    key: str = field(repr=False)
    key_env: str
    dialect: Dialect
    concurrency: int
    timeout_s: float
    total_timeout_s: float
    max_retries: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
