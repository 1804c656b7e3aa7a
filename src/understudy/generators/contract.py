"""The contract of an engine, and of the writer that it makes of a student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from understudy.roles import Generated
from understudy.types import Sampling

EngineName = Literal["auto", "transformers", "ctranslate2", "vllm", "static"]
ComputeType = Literal["float32", "bfloat16", "int8"]

REFERENCE = "transformers"
EXACT = "float32"
"""The format that students are trained and saved in: every engine must write the same tokens in it."""

CAN: dict[str, tuple[str, ...]] = {
    "transformers": ("float32", "bfloat16"),
    "ctranslate2": ("float32", "bfloat16", "int8"),
    "vllm": ("float32", "bfloat16"),
    "static": ("float32", "bfloat16"),
}
"""Engine -> the number formats that it can compute in, on some device."""

MEANT: dict[str, tuple[str, ...]] = {"bfloat16": ("static", "transformers"), "int8": ("ctranslate2",)}
"""Format -> what "auto" means in it: the first that knows the student's architecture. Whether one does must
hang on the student alone, so that it is the same on every machine."""


def settled(engine: str, compute_type: str) -> str:
    """The engine that a recipe means. "auto" stays open in float32, where it decides nothing but the time;
    in another format it decides the answers, and is one engine for a student on every machine, which is named
    here unless the student has to be seen."""
    if engine != "auto" or compute_type == EXACT or len(MEANT[compute_type]) > 1:
        return engine
    return MEANT[compute_type][0]


class Writer(Protocol):
    """What writes for a student. A LiveStudent is one."""

    def source_tokens(self, texts: Sequence[str]) -> list[int]: ...

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]: ...

    def close(self) -> None:
        """End what it holds open, such as a server. It writes nothing afterwards."""
        ...


@runtime_checkable
class Refilling(Writer, Protocol):
    """A writer that keeps its batch full: it wants many sources at once, and tells texts as they are over."""

    def stream(
        self,
        sources: Sequence[str],
        sampling: Sampling,
        prefixes: Sequence[str],
        seeds: Sequence[int],
        slots: int,
    ) -> Iterator[list[tuple[int, Generated]]]:
        """Every source's position and text, in any order; at most `slots` are written at a time. What is
        drawn for a source hangs on its own seed alone."""
        ...


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


def at_once(
    writer: Refilling, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None
) -> list[Generated]:
    """`generate` of a writer that streams, in the order of `sources`. Draws hang on torch's seed."""
    import torch

    seeds = [0] * len(sources)
    if sampling.temperature > 0:
        seeds = torch.randint(2**31 - 1, (len(sources),)).tolist()
    landed = writer.stream(sources, sampling, prefixes or [""] * len(sources), seeds, len(sources))
    found = dict(one for group in landed for one in group)
    return [found[at] for at in range(len(sources))]
