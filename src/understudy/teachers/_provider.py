"""The few calls of a provider's file and batch service, each tried again while that may help.

Creating a batch is the one call that must not simply be repeated: its reply may be lost although the batch
was made, and is paid for. So every attempt first looks for a batch that already works on the same file.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from understudy.errors import TeacherError
from understudy.roles import Identity
from understudy.teachers._faults import PASSING, Fault, fault
from understudy.teachers._refusals import refusal
from understudy.teachers._secret import cutter

T = TypeVar("T")
Json = dict[str, Any]

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
LONGEST_RETRY_AFTER_S = 900.0
_CONNECT_S = 15.0
_CHUNK = 1 << 20
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Provider:
    """Where the service is, and how patient to be with it."""

    identity: Identity
    base_url: str
    key: str = field(repr=False)
    key_env: str
    timeout_s: float
    max_retries: int

    def upload(self, requests: BinaryIO) -> Json:
        """Send a file of requests; the provider's description of it."""

        def attempt() -> Json | Fault:
            requests.seek(0)
            with os.fdopen(os.dup(requests.fileno()), "rb") as file:  # aiohttp closes what it has sent
                form = aiohttp.FormData({"purpose": "batch"})
                form.add_field("file", file, filename="requests.jsonl", content_type="application/jsonl")
                return _whole(self._json("POST", "/files", data=form))

        return self._patiently(attempt)

    def create(self, file: str, created: int, endpoint: str) -> Json:
        """The batch of an uploaded file: the one that is there already, else a new one."""

        def attempt() -> Json | Fault:
            found = self._batch_of(file, created)
            if found is not None:
                return found
            body = {"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"}
            return _whole(self._json("POST", "/batches", json=body))

        return self._patiently(attempt)

    def batch(self, identifier: str) -> Json | None:
        """How a batch is doing; None when the provider does not know it."""
        return self._patiently(lambda: _absent(self._json("GET", f"/batches/{quote(identifier, safe='')}")))

    def lines(self, identifier: str) -> Iterator[Json]:
        """The lines of a result file that are JSON objects; none when the provider no longer has it."""
        path, cut = f"/files/{quote(identifier, safe='')}/content", cutter(self.key)
        with tempfile.TemporaryFile() as file:
            if self._patiently(lambda: _absent(self._download(path, file))) is None:
                return
            file.seek(0)
            for raw in file:
                line = _parsed(cut(raw.decode("utf-8", "replace")))
                if isinstance(line, dict):
                    yield line

    def _batch_of(self, file: str, created: int) -> Json | Fault | None:
        """Batches are listed newest first, and none is older than its file."""
        after: Json = {}
        while True:
            page = self._json("GET", f"/batches?{urlencode({'limit': 100, **after})}")
            if isinstance(page, Fault):
                return page
            batches = page.get("data") or []
            found = next((batch for batch in batches if batch.get("input_file_id") == file), None)
            if found is not None or not batches or not page.get("has_more"):
                return found
            if batches[-1].get("created_at", created) < created:
                return None
            after = {"after": batches[-1]["id"]}

    def _json(self, method: str, path: str, **sent: Any) -> Json | Fault:
        """One call whose reply is a JSON object."""
        got = _run(self._send(method, path, None, **sent))
        if isinstance(got, Fault):
            return got
        reply = _parsed(got)
        return reply if isinstance(reply, dict) else Fault("retry", "the reply is not a JSON object")

    def _download(self, path: str, to: BinaryIO) -> str | Fault:
        return _run(self._send("GET", path, to))

    async def _send(self, method: str, path: str, to: BinaryIO | None, **sent: Any) -> str | Fault:
        """The text of a good reply, or nothing when it was written to the file `to`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self.timeout_s)
        url = f"{self.base_url}{path}"
        try:
            async with (
                aiohttp.ClientSession(
                    headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
                    timeout=timeout,
                    trust_env=urlsplit(url).hostname not in _LOCAL,
                ) as http,
                http.request(method, url, allow_redirects=False, **sent) as response,
            ):
                if to is not None and response.status == 200:
                    await _save(response, to)
                    return ""
                text = cutter(self.key)((await response.read()).decode("utf-8", "replace"))
                return text if response.status == 200 else fault(response.status, response.headers, text)
        except (TimeoutError, aiohttp.ClientError) as error:
            return Fault("retry", f"{type(error).__name__}: {error}".rstrip(": "))

    def _patiently(self, attempt: Callable[[], T | Fault]) -> T:
        """Attempt until it succeeds. Raises TeacherError for what waiting does not mend."""
        tries = 0
        while isinstance(got := attempt(), Fault):
            tries += 1
            if got.kind not in PASSING or tries > self.max_retries:
                raise self._refused(got)
            longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tries - 1))
            delay = longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
            time.sleep(max(delay, min(got.wait_s, LONGEST_RETRY_AFTER_S)))
        return got

    def refusal(self, fault: Fault) -> TeacherError | None:
        """The error for a fault that every other call would meet too."""
        return refusal(fault, self.identity, self.key_env, bool(self.key))

    def _refused(self, fault: Fault) -> TeacherError:
        return self.refusal(fault) or TeacherError(
            f"the batch service at {self.base_url} does not do what it is asked ({fault.detail}); batches "
            "that run there go on, so check teacher.base_url and run again to collect them"
        )


def _whole(got: Json | Fault) -> Json | Fault:
    """A thing that was made and cannot be named was not made for us."""
    if isinstance(got, Fault) or isinstance(got.get("id"), str):
        return got
    return Fault("retry", "the reply holds no id")


def _absent(got: T | Fault) -> T | Fault | None:
    """What the provider does not know is no fault."""
    return None if isinstance(got, Fault) and got.kind == "missing" else got


async def _save(response: aiohttp.ClientResponse, to: BinaryIO) -> None:
    """Write a body to disk as it comes: a result file may be larger than memory."""
    to.seek(0)
    to.truncate()
    async for chunk in response.content.iter_chunked(_CHUNK):
        to.write(chunk)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: a notebook's thread has a loop already, and an interrupt need not wait."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(work))
        except BaseException as error:  # raised again in the caller's thread
            outcome.set_exception(error)

    threading.Thread(target=run, name="understudy-batch", daemon=True).start()
    return outcome.result()
