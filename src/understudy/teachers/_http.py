"""One request and its reply: HTTP by aiohttp, every accident told as a `Fault`.

The key is cut out of whatever a server says before anyone else sees it. Redirects are not followed, for they
would carry the key to another server. The catch: aiohttp's `trust_env` reads the environment and ~/.netrc
for every request, so it is on only where the environment names a proxy for one of the addresses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from understudy.teachers._faults import Fault
from understudy.teachers._secret import cutter
from understudy.teachers._server import Server
from understudy.types import Completion, Request, Sampling

CONNECT_S = 15.0
LARGEST_REPLY = 64 * 2**20
"""Bytes. A larger reply is no answer, whatever it is, and need not fit into memory."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class TooLarge(aiohttp.ClientError):
    """A reply beyond LARGEST_REPLY."""


class Http:
    """The connections of one call, shared by all endpoints. Made inside its event loop."""

    def __init__(self, server: Server, sampling: Sampling) -> None:
        self._server = server
        self._sampling = sampling
        self._cut = cutter(server.key)
        self._urls = {url: URL(url) for url in server.urls}
        self._timeout = _timeout(server.timeout_s)
        self._session = aiohttp.ClientSession(
            headers={**server.dialect.headers(server.key), "Content-Type": "application/json"},
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=0),  # how many are in flight is decided elsewhere
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=any(_proxied(url) for url in server.urls),
        )

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()

    async def post(
        self, url: str, request: Request, samples: Sequence[int], left_s: float
    ) -> tuple[list[Completion] | Fault, Mapping[str, str]]:
        """The answer, and the headers it came with. The request has `left_s` seconds left in all."""
        dialect = self._server.dialect
        body = _encode(dialect.body(request, samples, self._sampling)).encode("ascii")
        timeout = self._timeout if left_s >= self._server.timeout_s else _timeout(left_s)
        try:
            async with self._session.post(
                self._urls[url], data=body, allow_redirects=False, timeout=timeout
            ) as response:
                text = self._cut((await _read(response)).decode("utf-8", "replace"))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Fault("refused", self._cut(str(error))), {}
        except TimeoutError:
            return Fault("busy", f"no reply within {timeout.total:g} s"), {}
        except aiohttp.ClientError as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return Fault("retry", f"the connection broke ({self._cut(said)})"), {}
        reply = dialect.read(response.status, response.headers, text, request, samples)
        if isinstance(reply, Fault):  # which may quote a header
            reply = replace(reply, detail=self._cut(reply.detail))
        return reply, response.headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Where its size is known beforehand and allowed, in one step."""
    size = response.content_length
    if size is not None and size <= LARGEST_REPLY and "Content-Encoding" not in response.headers:
        return await response.read()
    parts, read = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        read += len(part)
        if read > LARGEST_REPLY:
            raise TooLarge(f"the reply is larger than {LARGEST_REPLY} bytes")
    return b"".join(parts)


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_S)


def _proxied(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return host not in _LOCAL and parts.scheme in getproxies() and not proxy_bypass(host)
