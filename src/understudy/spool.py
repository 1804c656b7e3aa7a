"""Completions on disk until all have landed, to be read in the order of their questions and samples.

The file has no name and goes with the process. Memory holds two numbers for each completion.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from understudy.types import Completion

_SAMPLES = 1_000_000
"""More than the number of any sample."""
_FIELDS = tuple(field.name for field in fields(Completion))


class Spool:
    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - close() closes it
        self._places = array("q")
        self._starts = array("q")

    def add(self, position: int, completion: Completion) -> None:
        """Keep what answers the question at `position`."""
        self._places.append(position * _SAMPLES + completion.sample)
        self._starts.append(self._file.tell())
        self._file.write(json.dumps([getattr(completion, name) for name in _FIELDS]).encode() + b"\n")

    def read(self) -> Iterator[Completion]:
        """All that was kept, in order."""
        import numpy

        for row in numpy.argsort(numpy.asarray(self._places), kind="stable"):
            self._file.seek(self._starts[row])
            yield Completion(*json.loads(self._file.readline()))

    def close(self) -> None:
        self._file.close()
