"""The folders from which a training goes on."""

from __future__ import annotations

from pathlib import Path

COMPLETE = "complete"


def last_complete(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; a half-written one is passed over."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if found else None
