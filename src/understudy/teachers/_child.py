"""A server that we start ourselves: a child process with a log, a port and an end.

It is run under `_guard.py`, so it goes when this process goes, even when that is killed outright. What it
prints goes to a file in a temporary folder; the file is kept when the server fails, and removed otherwise.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from understudy.errors import TeacherError
from understudy.teachers import _guard

_POLL_S = 0.2
_SHOWN = 800
_NOTICE_S = 1.0
"""How long after a connection broke the guard may need to see that the server has ended."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Child:
    """A running server on 127.0.0.1:`port`, named `what` in errors."""

    def __init__(self, what: str, command: Sequence[str], port: int, patience: str = "") -> None:
        """Start it. It is not ready before `wait_until_healthy` has returned. `patience` says how to give it
        more time, where a user can."""
        self.port = port
        self._what = what
        self._patience = patience
        self._log = Path(tempfile.mkdtemp(prefix=f"understudy-{what}-")) / "log.txt"
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", _guard.__file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_healthy(self, seconds: float) -> None:
        """Raises TeacherError when it ends first, or is not healthy in time; it is then stopped."""
        end = time.monotonic() + seconds
        while not self._healthy():
            if self._guard.poll() is not None:
                raise self._ended("ended before it was ready")
            if time.monotonic() > end:
                self._end()
                raise TeacherError(
                    f"{self._what} was not ready after {seconds:g} s; {self._patience}read {self._log} "
                    f"(its end: {self._tail()})"
                )
            time.sleep(_POLL_S)

    def death(self) -> TeacherError | None:
        """Why it ended although nobody stopped it; None while it runs."""
        try:
            self._guard.wait(_NOTICE_S)
        except subprocess.TimeoutExpired:
            return None
        return self._ended("ended while it was asked; what it has answered is kept")

    def stop(self) -> None:
        """End it and everything it started, and remove its log unless it had ended by itself."""
        if self._guard.poll() is None:
            self._end()
            shutil.rmtree(self._log.parent, ignore_errors=True)

    def _end(self) -> None:
        self._guard.terminate()
        self._guard.wait()

    def _ended(self, when: str) -> TeacherError:
        return TeacherError(
            f"{self._what} {when} (exit code {self._guard.returncode}); read {self._log}, mend what it says "
            f"and run again (its end: {self._tail()})"
        )

    def _tail(self) -> str:
        """The last words of the log on one line."""
        words = " ".join(self._log.read_text(encoding="utf-8", errors="replace").split())
        return words if len(words) <= _SHOWN else f"... {words[-_SHOWN:]}"

    def _healthy(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
