"""A step is a name, a hash and a folder; the done-mark is written last.

A step's hash covers its kind, the version of that kind's code, its settings and the hashes of the
steps it needs, so the same recipe again finds everything done and one changed field re-runs only what
depends on it. A killed step leaves a folder without a mark: it is entered again and continues there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from understudy.errors import StoreError

MARK = "step.json"


def canonical(value: Any) -> str:
    """The one JSON text of a plain value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """64 hex digits of SHA-256 over `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: a temporary file beside it, synced, then renamed."""
    write_pieces(path, (text,))


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """The same for a text that comes in pieces, of which only one is held at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogatepass") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Step:
    """One unit of work. `settings` are plain JSON and hold everything that decides its outcome."""

    name: str
    """Unique within a run and readable: "train/small/single_stage/seed0/rationale"."""
    kind: str
    settings: Mapping[str, Any]
    needs: Mapping[str, Step] = field(default_factory=dict)
    """The steps it reads, by the role they play for it: {"data": ..., "rationales": ...}."""
    title: str = ""
    cost: float = 1.0
    """Estimated work in units comparable within a run; for the time left only, not hashed."""
    how: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that say how the work is done and never what comes out of it: budgets, prices, pace; not
    hashed."""
    alone: bool = False
    """Runs by itself with every core, instead of beside others with its share of them; not hashed."""

    @cached_property
    def hash(self) -> str:
        needs = {role: step.hash for role, step in self.needs.items()}
        return digest({"kind": self.kind, "settings": self.settings, "needs": needs})[:16]


class Store:
    """The folder of a run: `steps/<kind>-<hash>/` for each step and one ledger for all."""

    def __init__(self, root: Path, create: bool = True) -> None:
        self.root = root
        if not create:
            return
        try:
            (root / "steps").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create the run folder {root}: {error.strerror}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder: two runs never write into one at the same time."""
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=2)
        except Timeout:
            raise StoreError(
                f"another run is working in {self.root}: wait for it, or give another --out"
            ) from None
        try:
            yield
        finally:
            lock.release()

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    def folder(self, step: Step) -> Path:
        return self.root / "steps" / f"{step.kind}-{step.hash}"

    def done(self, step: Step) -> bool:
        return (self.folder(step) / MARK).is_file()

    def outcome(self, step: Step) -> dict[str, Any]:
        """What a finished step reported: `result`, `seconds`, `started`, versions."""
        path = self.folder(step) / MARK
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"the step {step.name} is not done: run the recipe again") from None
        except ValueError as error:
            raise StoreError(f"{path} is not readable ({error}): delete it and run again") from error
        return record

    def finish(self, step: Step, record: Mapping[str, Any]) -> None:
        """Write the done-mark: everything else of the step must already be on disk."""
        body = {
            "name": step.name,
            "kind": step.kind,
            "hash": step.hash,
            "settings": step.settings,
            "needs": {role: other.hash for role, other in step.needs.items()},
            **record,
        }
        write_text(self.folder(step) / MARK, json.dumps(body, indent=1, ensure_ascii=False))


def hash_files(paths: tuple[Path, ...]) -> dict[str, str]:
    """File name -> SHA-256 of its content. A missing file is a StoreError that names it."""
    hashes: dict[str, str] = {}
    for path in paths:
        try:
            with path.open("rb") as stream:
                hashes[path.name if path.name not in hashes else str(path)] = hashlib.file_digest(
                    stream, "sha256"
                ).hexdigest()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return hashes
