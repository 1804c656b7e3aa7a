"""The folders from which a training goes on: written whole or not at all, and checked before they are used.

A checkpoint is written under another name, every file is synced, `complete` is written with the size and
SHA-256 of each, and only then does the folder get its name. So one that has its name is whole, unless the
disk has lost something since: that is found by the checksums, and the one before it is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

COMPLETE = "complete"
"""The file that is written last: {relative path: [size, SHA-256]}."""
STATE = "understudy.json"
"""What a training carries on beside the Trainer's own state."""
WRITING = ".writing"
"""Where a checkpoint is written before it gets its name."""
KEPT = 2

Tell = Callable[[str], None]


def number(folder: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(folder.name.rsplit("-", 1)[1])


def found(checkpoints: Path) -> list[Path]:
    """Every checkpoint that has its name, the newest first."""
    named = [path for path in checkpoints.glob("checkpoint-*") if path.name.rsplit("-", 1)[1].isdigit()]
    return sorted(named, key=number, reverse=True)


def last_complete(
    checkpoints: Path,
    fingerprint: Mapping[str, str],
    tell: Tell,
) -> Path | None:
    """The newest whole checkpoint of this very training; `tell` hears of each one that is passed over.

    `fingerprint` says what the training is of, part by part; a checkpoint that says otherwise is another's.
    """
    for folder in found(checkpoints):
        fault = _fault(folder) or _foreign(folder, fingerprint)
        if not fault:
            return folder
        tell(f"the checkpoint {folder.name} is passed over: {fault}")
    return None


def load_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return state


def seal(folder: Path) -> None:
    """Sync every file of a checkpoint and write `complete` beside them."""
    sums: dict[str, list[int | str]] = {}
    for path in _files(folder):
        sums[path.relative_to(folder).as_posix()] = [path.stat().st_size, checksum(path)]
        sync(path)
    mark = folder / COMPLETE
    mark.write_text(json.dumps(sums, indent=1), encoding="utf-8")
    sync(mark)
    sync(folder)


def publish(written: Path, checkpoints: Path) -> Path:
    """Give a sealed checkpoint its name, in the place of a faulty one of that name; then drop all but the
    last `KEPT` up to it. A checkpoint of a later step belongs to another training and goes too."""
    folder = checkpoints / written.name
    shutil.rmtree(folder, ignore_errors=True)
    written.rename(folder)
    sync(checkpoints)
    mine = [path for path in found(checkpoints) if number(path) <= number(folder) and not _missing(path)]
    for path in found(checkpoints):
        if path not in mine[:KEPT]:
            shutil.rmtree(path, ignore_errors=True)
    return folder


def sync(path: Path) -> None:
    """Have the system write a file or folder to the disk. Windows cannot be asked for folders."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / COMPLETE)


def _missing(folder: Path) -> bool:
    return not (folder / COMPLETE).is_file()


def _fault(folder: Path) -> str:
    """What is wrong with a checkpoint as it lies there, and with the weights beside it that it counts on."""
    if _missing(folder):
        return "it was not written to its end"
    try:
        sums: dict[str, tuple[int, str]] = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        beside = load_state(folder).get("beside", {}).items()
        for name, (size, wanted) in sums.items():
            if (folder / name).stat().st_size != size or checksum(folder / name) != wanted:
                return f"its {name} is not as it was written"
        for name, wanted in beside:
            if checksum(folder.parent / name) != wanted:
                return f"{name} beside it is not as it was written"
    except OSError as error:
        return f"{Path(error.filename).name} cannot be read" if error.filename else str(error)
    except (ValueError, TypeError, AttributeError):
        return "its list of files cannot be read"
    return ""


def _foreign(folder: Path, fingerprint: Mapping[str, str]) -> str:
    """Which part of the training it was written in is not of this one."""
    theirs = load_state(folder).get("fingerprint", {})
    parts = [part for part, value in fingerprint.items() if theirs.get(part) != value]
    return f"it is of a training with another {' and another '.join(parts)}" if parts else ""
