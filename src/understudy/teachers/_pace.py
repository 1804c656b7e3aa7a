"""How fast a server may be asked: how many requests at once, and how many of them and their tokens a minute.

The number in flight follows TCP's rule (Chiu and Jain 1989): more with every success, a cut when the server
is congested, once for all that was in flight together. Minutes are leaky buckets, so requests come evenly and
not in one burst a minute. Nothing here reads a clock: the moment is given, and so a test can give it.
"""

from __future__ import annotations

from understudy.teachers._limits import Allowance, Unit

START = 64
"""Requests in flight at first, if that many are allowed."""
CUT = 0.7
LONGEST_WAIT_S = 900.0
"""However long a server asks us to wait, it is tried again after this."""


class Window:
    """How many requests may be in flight at once: between 1 and `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = float(min(most, START))
        self._doubling = True
        """Until the first cut it grows by one with every answer, afterwards by one in every round."""
        self._cut_at = float("-inf")

    @property
    def size(self) -> int:
        return int(self._size)

    def answered(self, in_flight: int) -> None:
        """An answer came while `in_flight` requests were out, itself included."""
        if self._size < self._most and in_flight >= self.size:
            step = 1.0 if self._doubling else 1.0 / self._size
            self._size = min(float(self._most), self._size + step)

    def congested(self, sent: float, now: float) -> None:
        """A request sent at `sent` found the server congested."""
        if sent >= self._cut_at:
            self._size = max(1.0, self._size * CUT)
            self._doubling = False
            self._cut_at = now

    def probe(self) -> None:
        """Back to one request at a time, until an answer comes."""
        self._size = 1.0
        self._doubling = True


class Bucket:
    """`rate` units flow in every second, up to `size` of them. It may be overdrawn, and then waits."""

    def __init__(self, size: float, rate: float, now: float) -> None:
        self._size = size
        self._rate = rate
        self._level = size
        self._moment = now

    @classmethod
    def per_minute(cls, units: float, now: float) -> Bucket:
        """At most `units` in any minute: what may come at once is taken off what flows in."""
        burst = max(1.0, units / 60)
        flow = units - burst if units > burst else units
        return cls(burst, flow / 60, now)

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` may be taken; one larger than the bucket needs a full one."""
        self._flow(now)
        lacking = min(cost, self._size) - self._level
        return 0.0 if lacking <= 1e-9 else min(LONGEST_WAIT_S, lacking / self._rate)

    def take(self, cost: float) -> None:
        """Take more than was estimated, or with a negative cost give back."""
        self._level = min(self._size, self._level - cost)

    def learn(self, allowance: Allowance, now: float) -> None:
        """What the server says counts, for it has seen every request, also those of other clients."""
        used = allowance.limit - allowance.remaining
        self._size = self._level = allowance.limit
        self._moment = now
        if allowance.reset_s > 0 and used > 0:
            self._level = allowance.remaining
            self._rate = used / allowance.reset_s

    def _flow(self, now: float) -> None:
        self._level = min(self._size, self._level + (now - self._moment) * self._rate)
        self._moment = now


class Budget:
    """Requests and tokens that may be spent. Without a limit everything may."""

    def __init__(self, requests: float | None, tokens: float | None, now: float) -> None:
        self._buckets: dict[Unit, Bucket] = {}
        if requests is not None:
            self._buckets["requests"] = Bucket.per_minute(requests, now)
        if tokens is not None:
            self._buckets["tokens"] = Bucket.per_minute(tokens, now)

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until a request of about `tokens` tokens may be sent."""
        if not self._buckets:
            return 0.0
        return max(
            bucket.wait(1 if unit == "requests" else tokens, now) for unit, bucket in self._buckets.items()
        )

    def take(self, tokens: float) -> None:
        for unit, bucket in self._buckets.items():
            bucket.take(1 if unit == "requests" else tokens)

    def correct(self, tokens: float) -> None:
        """A request used `tokens` more than was estimated when it was sent, or fewer."""
        if "tokens" in self._buckets:
            self._buckets["tokens"].take(tokens)

    def learn(self, allowance: Allowance, now: float) -> None:
        bucket = self._buckets.setdefault(allowance.unit, Bucket(allowance.limit, 1.0, now))
        bucket.learn(allowance, now)
