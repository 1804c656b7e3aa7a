"""What every engine does with one step: enter its folder, work, leave the done-mark last."""

from __future__ import annotations

import errno
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from understudy.errors import StoreError
from understudy.events import Event, Listener
from understudy.steps import perform
from understudy.store import Step, Store
from understudy.work import Work

PACKAGES = (
    "understudy",
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "datasets",
    "numpy",
    "scipy",
    "ctranslate2",
)


@cache
def versions() -> Mapping[str, str]:
    """Python's version and that of every package that may change a result; absent ones left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def start(step: Step, store: Store, listen: Listener) -> None:
    """Announce the step and make its folder."""
    folder = store.folder(step)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create the folder {folder}: {error.strerror}") from error
    listen(Event("started", step.name, step.title))


def execute(step: Step, root: Path, listen: Listener) -> dict[str, Any]:
    """Do the work; returns the record for the done-mark. A full disk becomes a StoreError."""
    store = Store(root)

    def progress(fraction: float, detail: str) -> None:
        listen(Event("progress", step.name, step.title, fraction=fraction, detail=detail))

    work = Work(
        folder=store.folder(step),
        needs={role: store.folder(need) for role, need in step.needs.items()},
        ledger=store.ledger,
        how=step.how,
        progress=progress,
    )
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        result = perform(step.kind, step.settings, work)
    except Exception as error:
        if _disk_full(error):
            raise _full(root) from error
        raise
    return {
        "result": result,
        "seconds": round(time.monotonic() - clock, 3),
        "started": started.isoformat(timespec="seconds"),
        "versions": dict(versions()),
    }


def _disk_full(error: BaseException) -> bool:
    """Whether a full disk is behind it: libraries that write weights wrap the operating system's error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left on device" in str(error)


def _full(root: Path) -> StoreError:
    return StoreError(f"the disk that holds {root} is full: free some space and run the same command again")


def finish(step: Step, store: Store, record: Mapping[str, Any], listen: Listener) -> None:
    """Write the done-mark, after which the step is never run again."""
    try:
        store.finish(step, record)
    except OSError as error:
        if _disk_full(error):
            raise _full(store.root) from error
        raise StoreError(f"cannot write into {store.folder(step)}: {error.strerror}") from error
    listen(Event("done", step.name, step.title, fraction=1.0, detail=f"{record['seconds']:.0f} s"))
