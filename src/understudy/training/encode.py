"""Groups of examples -> token ids, and what each costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from understudy import batches
from understudy.errors import TrainingError
from understudy.roles import LiveStudent, TrainSpec
from understudy.training import tokens
from understudy.training.tokens import Group as Group
from understudy.training.tokens import Tokens
from understudy.types import Example

if TYPE_CHECKING:
    from understudy.students._flops import Flops

Progress = Callable[[float, str], None]
MANY = 20_000
"""Groups from which on it pays to keep their tokens on disk."""
AT_ONCE = 4096
"""Groups that are tokenized at a time. The tokens of two such parts are Python numbers at once."""
_PARALLEL = "TOKENIZERS_PARALLELISM"


class Texts(Sequence[str]):
    """Sources, and targets after a space, of groups, as `Student.create` wants them: made at the first look,
    for a student from a checkpoint takes none."""

    def __init__(self, *groups: Sequence[tuple[Example, ...]]) -> None:
        self._groups = groups

    @cached_property
    def _made(self) -> list[str]:
        return [
            text
            for group in chain.from_iterable(self._groups)
            for e in group
            for text in (e.source, f" {e.target}")
        ]

    def __len__(self) -> int:
        return 2 * sum(map(len, chain.from_iterable(self._groups)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._made[index]


def encode(
    live: LiveStudent, groups: Sequence[tuple[Example, ...]], spec: TrainSpec, cache: Path | None = None
) -> tuple[Tokens, Sequence[tuple[Example, ...]]]:
    """Every group that fits the limits, as token ids and as text.

    Many groups are kept in the folder `cache`, under a name by content, for whoever trains on them next.
    """
    limits = (spec.max_source_tokens, spec.max_target_tokens)
    name = tokens.name_of(live, groups, limits) if cache is not None and len(groups) >= MANY else None
    place = cache / name if cache is not None and name is not None else None
    if place is not None and place.exists():
        found = tokens.load(place)
    else:
        found = _tokenized(live, groups, limits)
        if place is not None:
            found.save(place)
            found = tokens.load(place)
    if not len(found):
        raise TrainingError(
            f"none of the {sum(map(len, groups))} training examples fits {spec.max_source_tokens} source "
            f"and {spec.max_target_tokens} target tokens: raise train.max_source_tokens or "
            "train.max_target_tokens"
        )
    if len(found) == len(groups):
        return found, groups
    return found, [groups[place] for place in found.arrays["kept"].tolist()]


def _tokenized(live: LiveStudent, groups: Sequence[tuple[Example, ...]], limits: tuple[int, int]) -> Tokens:
    writer = tokens.Writer()
    parts = [groups[start : start + AT_ONCE] for start in range(0, len(groups), AT_ONCE)]
    places = iter(range(len(groups)))
    for part, encoded in zip(parts, _in_turn(live, parts), strict=True):
        rows = iter(encoded)
        for group, place in zip(part, places, strict=False):
            own = [next(rows) for _ in group]
            if all(len(e["source"]) <= limits[0] and len(e["target"]) <= limits[1] for e in own):
                writer.add(own, place)
    return writer.done()


def _in_turn(
    live: LiveStudent, parts: Sequence[Sequence[tuple[Example, ...]]]
) -> Iterator[list[Mapping[str, Any]]]:
    """The rows of each part. While one is worked on, the next is made, by every core."""

    def rows(part: Sequence[tuple[Example, ...]]) -> list[Mapping[str, Any]]:
        return live.encode(list(chain.from_iterable(part)))

    if len(parts) < 2:
        yield from map(rows, parts)
        return
    with _cores(), ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(rows, parts[0])
        for part in parts[1:]:
            made, coming = coming, ahead.submit(rows, part)
            yield made.result()
        yield coming.result()


@contextmanager
def _cores() -> Iterator[None]:
    """Inside the block fast tokenizers use every core, which a run forbids its workers: this is done once."""
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "true"
    try:
        yield
    finally:
        # As it was, so that no later fork of a process is warned of.
        os.environ.pop(_PARALLEL)
        if before is not None:
            os.environ[_PARALLEL] = before


def check_ids(live: LiveStudent, groups: Sequence[Group]) -> None:
    """Raises TrainingError where a token has no row in the model's embeddings: the tokenizer is another's."""
    rows: int = live.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    tokenizer: Any = live.tokenizer  # type: ignore[attr-defined]
    if len(tokenizer) <= rows:
        return
    if isinstance(groups, Tokens):
        highest = int(groups.arrays["ids"].max())
    else:
        highest = max(max((*e["source"], *e["target"])) for group in groups for e in group)
    if highest >= rows:
        raise TrainingError(
            f"the tokenizer does not fit the model: it writes token {highest}, and the model has {rows} "
            "embeddings; take the tokenizer that came with the checkpoint, or one with fewer words"
        )


def longest_row(groups: Sequence[Group], kind: str) -> int:
    """Tokens of the longest sequence that the model reads: a decoder reads both sides as one."""
    if isinstance(groups, Tokens):
        return groups.longest(kind)
    join = sum if kind == "causal" else max
    return max(join((len(row["source"]), len(row["target"]))) for group in groups for row in group)


def size(group: Group, kind: str, flops: Flops | None = None) -> batches.Size:
    tokens = sum(len(e["source"]) + len(e["target"]) for e in group)
    cost = sum(flops.training(len(e["source"]), len(e["target"])) for e in group) if flops else 0.0
    if kind == "causal":
        longest = max(len(e["source"]) + len(e["target"]) for e in group)
        return batches.Size(len(group), longest, 0, tokens, cost)
    source = max(len(e["source"]) for e in group)
    return batches.Size(len(group), source, max(len(e["target"]) for e in group), tokens, cost)
