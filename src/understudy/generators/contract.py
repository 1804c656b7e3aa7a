"""The contract of an engine, and of the writer that it makes of a student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from understudy.roles import Generated
from understudy.types import Sampling

EngineName = Literal["auto", "transformers", "ctranslate2"]
ComputeType = Literal["float32", "bfloat16", "int8"]

REFERENCE = "transformers"
EXACT = "float32"
"""The format that students are trained and saved in: every engine must write the same tokens in it."""

CAN: dict[str, tuple[str, ...]] = {
    "transformers": ("float32", "bfloat16"),
    "ctranslate2": ("float32", "bfloat16", "int8"),
}
"""Engine -> the number formats that it can compute in, on some device."""


def settled(engine: str, compute_type: str) -> str:
    """The engine that a recipe means. "auto" stays open in float32, where it decides nothing but the time;
    in another format it is one engine on every machine, because there it decides the answers."""
    if engine != "auto" or compute_type == EXACT:
        return engine
    return next(name for name, formats in CAN.items() if compute_type in formats)


class Writer(Protocol):
    """What writes for a student. A LiveStudent is one."""

    def source_tokens(self, texts: Sequence[str]) -> list[int]: ...

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]: ...


class Engine(Protocol):
    """One way of running a student's weights."""

    name: str

    def version(self) -> str:
        """Of the library; empty where it is not installed."""
        ...

    def refusal(self, live: Any, compute_type: str, device: str) -> str:
        """Why it cannot write for this student, as the end of a sentence; empty where it can."""
        ...

    def build(self, live: Any, compute_type: str, device: str, cache: Path) -> Writer:
        """A writer with the student's weights. `cache` is a folder for what is made of exactly these weights
        by exactly this version, and may be there already."""
        ...
