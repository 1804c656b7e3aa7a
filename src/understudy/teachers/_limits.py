"""What a server says about its limits: Retry-After, and how much of a minute's allowance is left.

Sources: OpenAI's `x-ratelimit-remaining-requests: 59` with `x-ratelimit-reset-requests: 6m0s`; Anthropic's
`anthropic-ratelimit-requests-reset: 2026-01-27T12:00:30Z`; others' `x-ratelimit-reset` in seconds, or as a
moment in seconds or milliseconds since 1970. The catch: a server's clock may be wrong, so a moment is only as
good as the two clocks agree.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

Unit = Literal["requests", "tokens"]

_NAMES: tuple[tuple[Unit, str, str, str], ...] = (
    (
        "requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-limit-requests",
        "x-ratelimit-reset-requests",
    ),
    ("tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"),
    ("requests", "x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset"),
    (
        "requests",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-reset",
    ),
    (
        "tokens",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-reset",
    ),
)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_SINCE_1970 = 1e9
"""A plain number of at least this many seconds is a moment, a smaller one a length of time."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """`remaining` of `limit` units may be used now; all of them again after `reset_s` seconds."""

    unit: Unit
    remaining: float
    limit: float
    reset_s: float


def allowances(headers: Mapping[str, str]) -> Iterator[Allowance]:
    """Every allowance that the headers state whole; most servers state none."""
    for unit, remaining, limit, reset in _NAMES:
        if remaining not in headers:
            continue
        left, most = _number(headers[remaining]), _number(headers.get(limit, ""))
        wait = seconds(headers.get(reset, ""))
        if left is not None and most and wait is not None:
            yield Allowance(unit, left, most, wait)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait before the next request; 0 if the server asks for nothing that can be read."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    return seconds(headers.get("Retry-After", "")) or 0.0


def seconds(value: str) -> float | None:
    """Seconds from now: of "20", "1s", "6m0s", "20ms" or a moment; None if it is none of them."""
    number = _number(value)
    if number is not None:
        if number >= 1000 * _SINCE_1970:
            number /= 1000
        return number if number < _SINCE_1970 else max(0.0, number - time.time())
    found = _DURATION.fullmatch(value.strip())
    if found and any(found.groups()):
        parts = [_number(part or "0") for part in found.groups()]
        weights = (86400, 3600, 60, 1, 0.001)
        return sum((part or 0.0) * weight for part, weight in zip(parts, weights, strict=True))
    when = _moment(value)
    return None if when is None else max(0.0, (when - datetime.now(UTC)).total_seconds())


def _moment(value: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(value)
        except ValueError:
            continue
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return None


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
