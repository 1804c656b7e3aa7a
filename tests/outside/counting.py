"""A decoder that notes every text it has written in a file, on disk before anybody gets the text.

So whoever kills it can count what was written, beside what was kept. Asked to, it dies by itself, once.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from understudy.roles import Generated, Student
from understudy.students.causal import Causal, LiveCausal
from understudy.types import Sampling

__all__ = ["Counting"]


class Counting(Student):
    """The smallest decoder, from random weights."""

    name: Literal["outside.counting"] = "outside.counting"
    notes: Path = Path("written.jsonl")
    """Where it notes [folder of its weights, source, text, process] of each text, relative to where a run
    begins."""
    pause_s: float = 0.0
    """How long a batch takes at least."""
    dies_at: int | None = None
    """Kill the process, once, when so many texts have been noted, with a batch in hand that is not."""

    def describe(self) -> str:
        return "a decoder that counts"

    def files(self) -> tuple[Path, ...]:
        return ()

    def create(self, texts: Sequence[str], seed: int) -> LiveCausal:
        return Causal(config="tiny").create(texts, seed)

    def load(self, folder: Path) -> LiveCausal:
        live = Causal(config="tiny").load(folder)
        return _Noted(live, self, folder.parent.name)


class _Noted(LiveCausal):
    def __init__(self, live: LiveCausal, spec: Counting, who: str) -> None:
        super().__init__(live.model, live.tokenizer)
        self._spec = spec
        self._who = who

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        started = time.monotonic()
        said = super().generate(sources, sampling, prefixes)
        time.sleep(max(0.0, self._spec.pause_s - (time.monotonic() - started)))
        self._die_once()
        texts = (one.text for one in said)
        lines = [json.dumps([self._who, *pair, os.getpid()]) for pair in zip(sources, texts, strict=True)]
        with self._spec.notes.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()
            os.fsync(stream.fileno())
        return said

    def _die_once(self) -> None:
        dead = self._spec.notes.with_suffix(".dead")
        if self._spec.dies_at is None or dead.exists():
            return
        if self._spec.notes.exists() and len(noted(self._spec.notes)) >= self._spec.dies_at:
            dead.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def noted(path: Path) -> list[list[Any]]:
    """[folder of the weights, source, text, process] of every text, but for a line that a kill cut short."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
