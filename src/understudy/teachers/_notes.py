"""What was sent to a provider's batch service and has not come back: one small file for each batch.

A note is on disk before the batch exists, so a killed process finds its batches again and pays for nothing
twice. It holds identifiers only: no prompt, no answer, no key.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from understudy.errors import StoreError
from understudy.store import digest, write_text


@dataclass(frozen=True, slots=True)
class Note:
    """An input file at the provider and, once it is known to exist, the batch that works on it."""

    file: str
    created: int
    """When the provider received the file, by its own clock."""
    rows: tuple[str, ...]
    """The custom ids of its requests."""
    batch: str = ""


class Notes:
    """A folder of notes. Several processes may share it: each writes only files that it made or adopted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, note: Note) -> Path:
        """Named by a digest: an identifier comes from a server and is no file name."""
        return self._folder / f"{digest(note.file)[:16]}.json"

    def all(self) -> list[Note]:
        """Every note. Raises StoreError for one that cannot be read."""
        notes: list[Note] = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                fields = json.loads(path.read_text(encoding="utf-8"))
                notes.append(Note(fields["file"], fields["created"], tuple(fields["rows"]), fields["batch"]))
            except FileNotFoundError:  # another process has just finished with it
                continue
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise StoreError(
                    f"the note of a batch {path} cannot be read ({error}); delete it to send that batch's "
                    "requests again"
                ) from error
        return notes

    def write(self, note: Note) -> None:
        try:
            write_text(self.path(note), json.dumps(asdict(note)))
        except OSError as error:
            raise StoreError(
                f"cannot write down a batch in {self._folder} ({error.strerror}); give another folder as "
                "teacher.state and run again"
            ) from error

    def forget(self, note: Note) -> None:
        self.path(note).unlink(missing_ok=True)
