"""A study -> report.json (every number), report.md (its tables) and report.html (one page to read)."""

from __future__ import annotations

import json
from pathlib import Path

from understudy.errors import StoreError
from understudy.report.assemble import assemble
from understudy.report.html import html
from understudy.report.markdown import markdown
from understudy.report.study import Arm, Study

__all__ = ["Arm", "Study", "assemble", "html", "markdown", "write"]


def write(study: Study, folder: Path) -> Path:
    """Write the three files into `folder` and return the page's path.

    All three are made before the first is written, and each appears whole or not at all. Raises
    StoreError when the folder cannot be written, DataError when the study is not fit to report.
    """
    report = assemble(study)
    files = {
        "report.json": json.dumps(report, indent=2, allow_nan=False) + "\n",
        "report.md": markdown(report),
        "report.html": html(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _replace(folder / name, text)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(
            f"the report cannot be written to {folder} ({reason}): make room there or choose another folder"
        ) from error
    return folder / "report.html"


def _replace(path: Path, text: str) -> None:
    """Write beside `path`, then rename over it. Lone surrogates of a model's output become "?"."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_bytes(text.encode("utf-8", "replace"))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
