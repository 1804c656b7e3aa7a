"""Runs one command and sees that it ends: a program of its own, started by its path, standard library only.

    python _guard.py PARENT_PID COMMAND ...

It stands between us and a server that we start. When the parent is gone, however it went, or when the guard
is told to terminate, the command's whole process group is asked to end and then made to. A death signal from
the kernel would reach the command alone, not the workers that the command has started. The catch: the guard
itself must not be killed outright.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

GRACE_S = 5.0
"""Time for an orderly end between the request and the kill."""
_POLL_S = 0.1


def guard(parent: int, command: list[str]) -> int:
    """Run `command` until it ends by itself, the parent is gone, or we are told to; its exit code."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)  # noqa: S603
    while child.poll() is None and not told and os.getppid() == parent:
        time.sleep(_POLL_S)
    if child.poll() is None:
        _send(child.pid, signal.SIGTERM)
        end = time.monotonic() + GRACE_S
        while child.poll() is None and time.monotonic() < end:
            time.sleep(_POLL_S)
    # Also when the command ended by itself: what it started may still hold the GPU.
    _send(child.pid, signal.SIGKILL)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _send(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), sys.argv[2:]))
