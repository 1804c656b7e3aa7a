"""One step at a time in this process: for debugging, tests, and notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.engines.running import execute, finish, start
from understudy.events import Listener
from understudy.store import Step, Store

__all__ = ["run"]


def run(steps: Sequence[Step], store: Store, listen: Listener, workers: int) -> None:
    """Run `steps`, which come after everything they need, in order."""
    del workers
    for step in steps:
        start(step, store, listen)
        record = execute(step, store.root, listen)
        finish(step, store, record, listen)
