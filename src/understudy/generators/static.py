"""static: T5's decoder with memory of fixed size, whose rows are replaced one by one as they end.

`generate` of transformers runs every batch until its longest row is over, in caches that grow with every
token. Here a row that is over gives its slot to the next source, and a step is a few large products. On a GPU
steps are CUDA graphs; nobody has run that part yet. Needs no further package. What a row draws hangs on its
own seed alone, not on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from understudy.generators.contract import Refilling, at_once
from understudy.roles import Generated
from understudy.types import Sampling

__all__ = ["Static"]

VERSION = 1
"""Raised when what is written, or its last digits, may change."""


class Static:
    """T5 and its descendants that keep its decoder, in float32 or bfloat16."""

    name = "static"

    def version(self) -> str:
        return f"{VERSION}+torch{metadata.version('torch')}"

    def refusal(self, live: Any, compute_type: str, device: str) -> str:
        del device
        kind = type(live.model).__name__
        why = "" if kind == "T5ForConditionalGeneration" else f"it is a {kind}, and T5 is all that it knows"
        if not why and (others := _not_plain(live.model)):
            why = f"its weights are wrapped ({', '.join(others)}), and are read as they stand"
        if not why and compute_type not in ("float32", "bfloat16"):
            why = f"it does not compute in {compute_type}"
        return why and f"static cannot run this student: {why}"

    def build(self, live: Any, compute_type: str, device: str, cache: Path) -> Refilling:
        """The student's own weights where they fit, copies where they are joined or in another format."""
        import torch

        del cache
        writer = Refilled(live, getattr(torch, compute_type), device)
        if device != "cpu":
            # What a GPU cannot do shows here, where `auto` can still take another engine.
            writer.generate([""], Sampling(max_tokens=1))
        return writer


def _not_plain(model: Any) -> list[str]:
    """What stands where T5 has a plain matrix, such as an adapter or a quantised layer."""
    matrices = ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo", "lm_head")
    kinds = {type(module) for name, module in model.named_modules() if name.rpartition(".")[2] in matrices}
    plain = ("torch.nn.modules.linear", "Linear")
    return sorted(kind.__name__ for kind in kinds if (kind.__module__, kind.__name__) != plain)


class Refilled:
    """A student on memory of fixed size."""

    def __init__(self, live: Any, dtype: Any, device: str) -> None:
        from understudy.generators._refill import Refill
        from understudy.generators._t5 import Decoder

        self._live = live
        self._refill = Refill(Decoder(live.model, dtype, device), live.ends)

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = self._live.source_tokens(texts)
        return counts

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        """All at once. Draws hang on torch's seed."""
        return at_once(self, sources, sampling, prefixes)

    def stream(
        self,
        sources: Sequence[str],
        sampling: Sampling,
        prefixes: Sequence[str],
        seeds: Sequence[int],
        slots: int,
    ) -> Iterator[list[tuple[int, Generated]]]:
        from understudy.generators._refill import Line
        from understudy.students._live import read_back
        from understudy.students._stops import Stops

        live = self._live
        rows, begun = live.codec.sources(sources), live.codec.begun(prefixes)
        lines = [Line(at, *line) for at, line in enumerate(zip(rows, begun, seeds, strict=True))]
        for over in self._refill.run(lines, slots, sampling, Stops(live.codec, sampling.stop)):
            yield [
                (
                    line.number,
                    read_back(
                        live.codec,
                        line.ids,
                        live.ends,
                        len(line.source) + len(line.begun),
                        sampling.stop,
                        line.logprobs,
                    ),
                )
                for line in over
            ]

    def close(self) -> None:
        """Nothing is held open."""
