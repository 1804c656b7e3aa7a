"""What every audit hands back: sentences, a table, and the raw numbers behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from understudy.store import write_text

FILE = "sections.json"


@dataclass(frozen=True, slots=True)
class Section:
    """One part of an audit, drawn alike in the terminal, in Markdown and in HTML."""

    name: str
    """The key in report.json: "leak"."""
    title: str
    sentences: tuple[str, ...]
    """What was found, in plain words, every share with its n; the first one is the finding."""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    """Cells as they are shown. Text of models and data sets stands here unescaped."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The same as plain JSON: raw counts and fractions."""


def save_sections(folder: Path, sections: Sequence[Section]) -> None:
    write_text(folder / FILE, json.dumps([asdict(section) for section in sections], indent=1))


def load_sections(folder: Path) -> tuple[Section, ...]:
    """What `save_sections` wrote."""
    return tuple(
        Section(
            name=fields["name"],
            title=fields["title"],
            sentences=tuple(fields["sentences"]),
            columns=tuple(fields["columns"]),
            rows=tuple(tuple(row) for row in fields["rows"]),
            numbers=fields["numbers"],
        )
        for fields in json.loads((folder / FILE).read_text(encoding="utf-8"))
    )
