"""Servers that share the load: which one is asked next, and which ones have had enough for now.

The one with the fewest requests in flight comes first, so a slow one gets less. One that dies is left out and
tried again with one request, after a second at first and then after twice as long each time. The only one is
never left out: there is nobody else to ask, and each request waits for it by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.teachers._faults import CONGESTED, Fault
from understudy.teachers._limits import allowances
from understudy.teachers._pace import LONGEST_WAIT_S, Budget, Window

FAILURES = 5
"""Failures of an endpoint in a row after which it is left out; a refused connection is enough by itself."""
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0


class Endpoint:
    """One address: how much it is given at once, and from when on."""

    def __init__(self, url: str, concurrency: int, now: float) -> None:
        self.url = url
        self.window = Window(concurrency)
        self.in_flight = 0
        self._budget = Budget(None, None, now)
        self._not_before = now
        self._failures = 0
        self._rest_s = 0.0

    @property
    def well(self) -> bool:
        """Not left out, and not being tried again after that."""
        return self._rest_s == 0

    def wait(self, now: float) -> float:
        """Seconds until it may be sent a request."""
        return max(self._not_before - now, self._budget.wait(1, now))

    def sent(self, tokens: float) -> None:
        self.in_flight += 1
        self._budget.take(tokens)

    def heard(self, headers: Mapping[str, str], now: float) -> None:
        """Whatever the reply says, its headers may state what is left to use."""
        for allowance in allowances(headers):
            self._budget.learn(allowance, now)

    def answered(self) -> None:
        """A request that is no longer in flight got its answer."""
        self._failures = 0
        self._rest_s = 0.0
        self.window.answered(self.in_flight + 1)

    def failed(self, fault: Fault, sent: float, now: float) -> None:
        """A request sent at `sent` came to nothing, through no fault of its own."""
        if fault.kind in CONGESTED:
            self.window.congested(sent, now)
        if fault.wait_s:  # one Retry-After holds for every request
            self._not_before = max(self._not_before, now + min(fault.wait_s, LONGEST_WAIT_S))
        if fault.kind != "limited":
            self._failures += 1

    def tired(self, fault: Fault) -> bool:
        return fault.kind == "refused" or self._failures >= FAILURES

    def rest(self, now: float) -> None:
        """Leave it out for a while; requests of before that fail meanwhile do not make it longer."""
        if now < self._not_before and not self.well:
            return
        self._rest_s = min(LONGEST_REST_S, 2 * self._rest_s or FIRST_REST_S)
        self._not_before = max(self._not_before, now + self._rest_s)
        self.window.probe()


class Endpoints:
    """All addresses of one teacher, `concurrency` requests in flight at once over all of them."""

    def __init__(self, urls: Sequence[str], concurrency: int, now: float) -> None:
        self._all = [Endpoint(url, concurrency, now) for url in urls]
        self._concurrency = concurrency

    @property
    def in_flight(self) -> int:
        return sum(endpoint.in_flight for endpoint in self._all)

    def choose(self, now: float, avoid: Endpoint | None) -> Endpoint | float | None:
        """Who is asked next; or after how many seconds to look again; or None while all are at their limit.

        `avoid` has just failed the request in question and is asked again only when there is no other.
        """
        if self.in_flight >= self._concurrency:
            return None
        able = [endpoint for endpoint in self._all if endpoint.in_flight < endpoint.window.size]
        if not able:
            return None
        waits = [endpoint.wait(now) for endpoint in able]
        ready = [endpoint for endpoint, wait in zip(able, waits, strict=True) if wait <= 0]
        if not ready:
            return min(waits)
        return min(ready, key=lambda endpoint: (endpoint is avoid, endpoint.in_flight))

    def failed(self, endpoint: Endpoint, fault: Fault, sent: float, now: float) -> bool:
        """Note a failure. True if this endpoint takes nothing for a while and another is well, where the
        request can go at once."""
        endpoint.failed(fault, sent, now)
        others = any(other.well for other in self._all if other is not endpoint)
        if len(self._all) > 1 and endpoint.tired(fault):
            endpoint.rest(now)
        return others and (fault.wait_s > 0 or not endpoint.well)
