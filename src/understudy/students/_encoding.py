"""Examples -> rows of token ids, the same for both architectures, and which of their tokens bear loss.

An answer part begins at a character and must begin at a token. A target is always tokenized as a whole, so
that a cut changes no id: what a student reads and writes is the same with it and without. The text before
the cut is tokenized once more by itself, without spaces at its end, and the answer part begins where the two
rows part ways. Between words that is exact, and a space there goes with the answer. Inside a word a tokenizer
may have merged across the cut, or spelled the word otherwise: then the answer part begins so much earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.students._live import IGNORED
from understudy.students._tokenizers import Codec
from understudy.types import Example


def encode(codec: Codec, examples: Sequence[Example]) -> list[Mapping[str, Any]]:
    """Of each: `source` and `target` ids, `objective`, `weight`, `cut` (a token of the target), `silent`."""
    sources = codec.sources([example.source for example in examples])
    targets = codec.targets([example.target for example in examples])
    return [
        {
            "source": source,
            "target": target,
            "objective": example.objective,
            "weight": example.weight,
            "cut": cut,
            "silent": example.silent,
        }
        for example, source, target, cut in zip(
            examples, sources, targets, _cuts(codec, examples, targets), strict=True
        )
    ]


def labels(row: Mapping[str, Any]) -> list[int]:
    """The target's ids, and -100 in place of those that are silent."""
    silent: int = row["cut"] if row["silent"] else 0
    return [IGNORED] * silent + list(row["target"][silent:])


def _cuts(codec: Codec, examples: Sequence[Example], targets: Sequence[Sequence[int]]) -> list[int]:
    """Of each, the token where its answer part begins; 0 where nobody asks."""
    cut = [at for at, example in enumerate(examples) if example.cut]
    cuts = [0] * len(examples)
    if cut:
        heads = codec.begun([examples[at].target[: examples[at].cut] for at in cut])
        for at, head in zip(cut, heads, strict=True):
            cuts[at] = _common(head, targets[at])
    return cuts


def _common(one: Sequence[int], two: Sequence[int]) -> int:
    """How many tokens two rows begin with alike."""
    for at, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return at
    return min(len(one), len(two))
