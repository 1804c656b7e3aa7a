"""ctranslate2: CTranslate2's kernels for encoder-decoders and decoders, in float32, bfloat16 or int8.

Needs the package `ctranslate2`. Text goes in and out through the student's own codec, so prefixes, stop
strings, counts and reasons to finish mean what they mean elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from understudy.generators._conversion import converted, no_conversion
from understudy.generators.contract import Writer
from understudy.roles import Generated
from understudy.types import Sampling

__all__ = ["CTranslate2"]


class CTranslate2:
    """An engine of its own, with no Python between two tokens but what watches for the end."""

    name = "ctranslate2"

    def version(self) -> str:
        return metadata.version("ctranslate2") if find_spec("ctranslate2") else ""

    def refusal(self, live: Any, compute_type: str, device: str) -> str:
        if not self.version():
            return "the package ctranslate2 is not installed (pip install ctranslate2)"
        why = no_conversion(live.model)
        can = import_module("ctranslate2").get_supported_compute_types(device) if not why else ()
        if not why and compute_type not in can:
            why = f"it does not compute in {compute_type} on this {device}"
        return why and f"ctranslate2 cannot run this student: {why}"

    def build(self, live: Any, compute_type: str, device: str, cache: Path) -> Writer:
        return Converted(live, converted(live, cache), compute_type, device)


class Converted:
    """A converted student in memory."""

    def __init__(self, live: Any, folder: Path, compute_type: str, device: str) -> None:
        self._live = live
        self._folder = folder
        self._compute_type = compute_type
        self._device = device
        self._engine = self._load()

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = self._live.source_tokens(texts)
        return counts

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        """As a live student does, but that prefixes of all lengths share a batch."""
        from understudy.students._live import read_back

        live = self._live
        rows = live.codec.sources(sources)
        begun = live.codec.begun(prefixes or [""] * len(sources))
        watch = _Watch(live.codec, sampling, [len(prefix) if self._reads_apart else 0 for prefix in begun])
        self._run(rows, begun, sampling, watch)
        return [
            read_back(live.codec, ids, live.ends, len(row) + len(prefix), sampling.stop, logprobs)
            for row, prefix, ids, logprobs in zip(rows, begun, watch.ids, watch.logprobs, strict=True)
        ]

    def close(self) -> None:
        """Nothing is held open."""

    @property
    def _reads_apart(self) -> bool:
        """Whether sources are read by an encoder, so that prefixes begin the decoder's own text."""
        return bool(self._live.kind == "seq2seq")

    def _run(
        self, rows: Sequence[list[int]], begun: Sequence[list[int]], sampling: Sampling, watch: _Watch
    ) -> None:
        engine = self._engine
        how: dict[str, Any] = {
            "beam_size": 1,
            "end_token": [str(end) for end in sorted(self._live.ends)],
            "return_end_token": True,
            "return_scores": True,
            "callback": watch.step,
        }
        if sampling.temperature > 0:
            engine = self._drawing()
            how |= {
                "sampling_topk": 0,
                "sampling_topp": sampling.top_p,
                "sampling_temperature": sampling.temperature,
            }
        if self._reads_apart:
            engine.translate_batch(
                _tokens(rows),
                target_prefix=_tokens(begun),
                max_input_length=0,
                # Prefixes count here; the watch ends each row where its own part is long enough.
                max_decoding_length=sampling.max_tokens + max(map(len, begun)),
                min_decoding_length=0,
                **how,
            )
        else:
            pad = self._live.pad
            read = [[*row, *prefix] or [pad] for row, prefix in zip(rows, begun, strict=True)]
            engine.generate_batch(
                _tokens(read),
                include_prompt_in_result=False,
                max_length=sampling.max_tokens,
                min_length=0,
                **how,
            )

    def _drawing(self) -> Any:
        """A model that draws the same whenever torch's seed is the same. A worker takes its seed when it
        begins, so every drawn batch gets a worker of its own; loading one is quick beside a batch."""
        import torch

        import_module("ctranslate2").set_random_seed(int(torch.randint(2**31 - 1, (1,)).item()))
        return self._load()

    def _load(self) -> Any:
        import torch

        library = import_module("ctranslate2")
        kind = library.Translator if self._reads_apart else library.Generator
        return kind(
            str(self._folder),
            device=self._device,
            compute_type=self._compute_type,
            inter_threads=1,
            intra_threads=torch.get_num_threads(),
        )


class _Watch:
    """Sees every token as it is chosen: collects it with its log-probability, and says where a row ends.

    The log-probabilities are the model's own, at temperature 1, however the token was drawn. Of an
    encoder-decoder the tokens of its prefix come by too, and are not collected.
    """

    def __init__(self, codec: Any, sampling: Sampling, given: Sequence[int]) -> None:
        from understudy.students._stops import Stops

        self.ids: list[list[int]] = [[] for _ in given]
        self.logprobs: list[list[float]] = [[] for _ in given]
        self._given = given
        self._longest = sampling.max_tokens
        self._stops = Stops(codec, sampling.stop)

    def step(self, result: Any) -> bool:
        row = result.batch_id
        if result.step < self._given[row]:
            return False
        ids = self.ids[row]
        ids.append(result.token_id)
        self.logprobs[row].append(result.log_prob)
        return len(ids) >= self._longest or self._stops.came(ids)


def _tokens(rows: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[str(number) for number in row] for row in rows]
