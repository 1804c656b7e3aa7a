"""Drop what is selected, with the prompts and replies that nothing refers to any more."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import StoreError
from understudy.ledger._file import existing, sentences
from understudy.ledger.selection import Selection


@dataclass(frozen=True, slots=True)
class Dropped:
    completions: int
    prompts: int
    replies: int


def drop(path: Path, selection: Selection, *, dry_run: bool) -> Dropped:
    """Delete the selected completions and give their space back; with `dry_run`, only count them.

    Whatever is dropped will be asked for and paid for again. Raises StoreError when nothing is selected.
    """
    if selection == Selection():
        raise StoreError("say what to drop: a run, an endpoint, a model, a date, or errors")
    with sentences(path), closing(existing(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        where, values = selection.where()
        dropped = Dropped(
            db.execute(f"DELETE FROM completions WHERE {where}", values).rowcount,  # noqa: S608
            db.execute("DELETE FROM prompts WHERE hash NOT IN (SELECT prompt FROM completions)").rowcount,
            db.execute(
                "DELETE FROM replies WHERE id NOT IN (SELECT raw FROM completions WHERE raw IS NOT NULL)"
            ).rowcount,
        )
        # A dry run counts by doing it all and taking it back.
        db.execute("ROLLBACK" if dry_run else "COMMIT")
        if not dry_run:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return dropped
