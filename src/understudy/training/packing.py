"""Several examples in one row, each of which sees itself alone.

A row of a packed batch is a pack: whole groups of examples, laid one after the other. A decoder's positions
begin anew with each example, from which transformers makes the mask of its attention, whatever computes it.
An encoder-decoder's sources share a row of the encoder and their targets one of the decoder; the masks are
ours, and positions that are relative, as T5's are, need nothing else. Packing as in Krell et al. (arXiv
2107.02027): groups go, largest first, into the first row that has room.

The plan decides which packs share a batch, and the collator lays them again. First fit gives the same packs
for any set of whole packs in the same order, so the plan need not remember them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from understudy.batches import Batch, Size
from understudy.errors import TrainingError
from understudy.roles import LiveStudent
from understudy.training.devices import ALONE, Place
from understudy.training.objective import token_weights
from understudy.training.tokens import Tokens

if TYPE_CHECKING:
    from understudy.roles import TrainSpec
    from understudy.training.encode import Group

Rows = Sequence[Mapping[str, Any]]
Extent = tuple[int, int]
"""What a group takes of a row: tokens that the encoder reads, and those of the decoder; a decoder alone has
its tokens in the first."""
AVERAGE_GROUPS = 4
"""A row that is chosen here has room for so many groups of the average size, and for the largest one."""
CLOSE = 1e-3
"""How far logits of packed examples may be from those alone, as a share of the largest: fp32 and TF32 stay
below, and any look at a neighbour or wrong position is far above."""
CLASSES = 16
"""Sizes that are told apart, for a group that fills a row."""
_HIDDEN = -1e9
"""Added to the scores of what must not be seen. Its exponential is zero in every precision, and unlike
infinity it leaves padding, which sees nothing at all, with finite numbers."""


# ---------------------------------------------------------------- which groups share a row


def extent(group: Group, kind: str) -> Extent:
    if kind == "causal":
        # As `encode.size` counts them. The last token of a text is predicted and not read.
        return sum(len(row["source"]) + len(row["target"]) for row in group), 0
    return sum(len(row["source"]) for row in group), sum(len(row["target"]) for row in group)


def extents_of(groups: Sequence[Group], kind: str) -> list[Extent]:
    """Of every group."""
    if not isinstance(groups, Tokens):
        return [extent(group, kind) for group in groups]
    table = groups.extents()
    if kind == "causal":
        table = np.stack([table.sum(1), np.zeros(len(table), table.dtype)], 1)
    return [(source, target) for source, target in table.tolist()]


def room(extents: Sequence[Extent], batch_tokens: int, pack_tokens: int | None) -> Extent:
    """What a row holds. An encoder-decoder's row is divided as the sources and targets of all groups are."""
    table = np.asarray(extents)
    share = float(table[:, 0].sum() / table.sum())
    if pack_tokens is None:
        largest = max(table[:, 0].max() / share, table[:, 1].max() / (1 - share) if share < 1 else 0)
        wanted = max(largest, AVERAGE_GROUPS * table.sum(1).mean())
        pack_tokens = batch_tokens // max(1, int(batch_tokens // wanted))
    source = round(pack_tokens * share)
    return source, pack_tokens - source


def first_fit(extents: Sequence[Extent], room: Extent) -> list[list[int]]:
    """Packs of indices, in the order in which they were begun. What is larger than a row has one alone.

    Sizes are compared in classes, within which the given order holds: it is by lot, so neighbours change.
    """
    table = np.asarray(extents)
    filled = (table / np.maximum(room, 1)).sum(1)
    left = np.empty((len(table), 2), dtype=np.int64)
    packs: list[list[int]] = []
    for index in np.argsort(-np.floor(filled * CLASSES), kind="stable").tolist():
        fits = (left[: len(packs)] >= table[index]).all(1)
        place = int(fits.argmax()) if fits.any() else len(packs)
        if place == len(packs):
            packs.append([])
            left[place] = room
        packs[place].append(index)
        left[place] -= table[index]
    return packs


class Packer:
    """How the plan cuts batches of packs: see `batches.Cutting`."""

    def __init__(self, extents: Sequence[Extent], room: Extent, seed: int) -> None:
        self.extents = extents
        self.room = room
        self._lot = np.random.default_rng([seed, 1])

    def cut(self, window: Sequence[int], sizes: Sequence[Size], batch_tokens: int) -> list[Batch]:
        """Packs in an order by lot, as many to a batch as it holds with their padding."""
        del sizes
        window = [window[place] for place in self._lot.permutation(len(window)).tolist()]
        extents = [self.extents[index] for index in window]
        packs = first_fit(extents, self.room)
        batches: list[list[int]] = []
        rows, wide = 0, (0, 0)
        for place in self._lot.permutation(len(packs)).tolist():
            pack = packs[place]
            now = _wider(wide, _sum(extents[index] for index in pack))
            if not batches or (rows + 1) * sum(now) > batch_tokens:
                batches.append([])
                rows, now = 0, _sum(extents[index] for index in pack)
            batches[-1] += pack
            rows, wide = rows + 1, now
        # In the order of the lot, which decides between equals when the batch is packed again.
        return [tuple(window[index] for index in sorted(batch)) for batch in batches]

    def padded(self, batch: Batch, sizes: Sequence[Size]) -> int:
        del sizes
        extents = [self.extents[index] for index in batch]
        packs = [_sum(extents[index] for index in pack) for pack in first_fit(extents, self.room)]
        sources, targets = zip(*packs, strict=True)
        width: int = max(sources) + max(targets)
        return len(packs) * width


def packer(live: LiveStudent, groups: Sequence[Group], spec: TrainSpec, seed: int) -> Packer:
    """Raises TrainingError where the model cannot be trained so."""
    prove(live, groups)
    extents = extents_of(groups, live.kind)
    return Packer(extents, room(extents, spec.batch_tokens, spec.pack_tokens), seed)


def _sum(extents: Any) -> Extent:
    sources, targets = zip(*extents, strict=True)
    return sum(sources), sum(targets)


def _wider(one: Extent, two: Extent) -> Extent:
    return max(one[0], two[0]), max(one[1], two[1])


# ---------------------------------------------------------------- rows of tensors


@dataclass(frozen=True, slots=True)
class PackedCollator:
    """Groups -> inputs of packed rows, labels and token weights, all (packs, widest pack).

    Decoders get `position_ids` that begin anew with each example. Encoder-decoders get `source_segments` and
    `target_segments`, the number of the example that a token belongs to, -1 for padding; `attending` makes
    masks of them. Token weights are those of the same groups unpacked.
    """

    live: LiveStudent
    room: Extent
    place: Place = ALONE

    def __call__(self, groups: Sequence[Group]) -> dict[str, torch.Tensor]:
        if self.place.ranks == 1:
            return self._laid(groups)
        # As `Collator._share` has it.
        own = self.place.own(groups)
        inputs = self._laid(own or [min(groups, key=len)], [row for group in groups for row in group])
        inputs["token_weights"] *= self.place.ranks if own else 0
        return inputs

    def _laid(self, groups: Sequence[Group], whole: Rows | None = None) -> dict[str, torch.Tensor]:
        rows = [row for group in groups for row in group]
        alone = [_alone(self.live, row) for row in rows]
        labels = torch.nn.utils.rnn.pad_sequence([one["labels"] for one in alone], True, -100)
        for one, weights in zip(alone, token_weights(labels, rows, whole), strict=True):
            one["token_weights"] = weights[: len(one["labels"])]
        begins = np.cumsum([0, *map(len, groups)]).tolist()
        packs = first_fit([extent(group, self.live.kind) for group in groups], self.room)
        return laid([[alone[i] for g in pack for i in range(begins[g], begins[g + 1])] for pack in packs])


def collator(live: LiveStudent, groups: Sequence[Group], spec: TrainSpec, place: Place) -> PackedCollator:
    """Of the same rows that `packer` plans with."""
    extents = extents_of(groups, live.kind)
    return PackedCollator(live, room(extents, spec.batch_tokens, spec.pack_tokens), place)


def laid(packs: Sequence[Sequence[Mapping[str, torch.Tensor]]]) -> dict[str, torch.Tensor]:
    """One row for each pack of examples, each of which has its tensors (positions,), padded on the right."""
    fillers = {"labels": -100, "token_weights": 0.0, "source_segments": -1, "target_segments": -1}
    table = {
        name: torch.nn.utils.rnn.pad_sequence(
            [torch.cat([example[name] for example in pack]) for pack in packs], True, fillers.get(name, 0)
        )
        for name in packs[0][0]
    }
    if "position_ids" in table:
        # Padding is a text of its own, or it would pass for a part of the last one.
        for row, pack in enumerate(packs):
            used = sum(len(example["labels"]) for example in pack)
            table["position_ids"][row, used:] = torch.arange(table["labels"].shape[1] - used)
        return table
    for side, name in (("source_segments", "input_ids"), ("target_segments", "labels")):
        for row, pack in enumerate(packs):
            lengths = torch.tensor([len(example[name]) for example in pack])
            table[side][row, : int(lengths.sum())] = torch.arange(len(pack)).repeat_interleave(lengths)
    return table


def _alone(live: LiveStudent, row: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What the student's own collate makes of one example, without the axis of rows."""
    tensors = {name: value[0] for name, value in live.collate([row]).items() if name != "attention_mask"}
    if live.kind == "causal":
        return {**tensors, "position_ids": torch.arange(len(tensors["labels"]))}
    segments = {"source_segments": tensors["input_ids"], "target_segments": tensors["labels"]}
    return {**tensors, **{name: torch.zeros_like(like) for name, like in segments.items()}}


# ---------------------------------------------------------------- who sees whom


@contextmanager
def attending(model: Any, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The inputs that `model` is to be called with, inside the block: segments become masks.

    An encoder-decoder of transformers takes one mask for the encoder and for what the decoder sees of it, and
    here they differ. So the encoder's own is put in by a hook, which also serves where the model is wrapped.
    """
    if "source_segments" not in inputs:
        yield inputs
        return
    given = dict(inputs)
    source, target = given.pop("source_segments"), given.pop("target_segments")
    own = mask(source, source)

    def swap(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        del module
        return args, {**kwargs, "attention_mask": own}

    from accelerate.utils import extract_model_from_parallel

    encoder = extract_model_from_parallel(model).get_encoder()
    hook = encoder.register_forward_pre_hook(swap, with_kwargs=True)
    try:
        yield {
            **given,
            "attention_mask": mask(target, source),
            "decoder_attention_mask": mask(target, target, causal=True),
        }
    finally:
        hook.remove()


def mask(queries: torch.Tensor, keys: torch.Tensor, causal: bool = False) -> torch.Tensor:
    """What is added to attention's scores, (rows, 1, queries, keys): 0 within a segment, else hidden."""
    seen = queries[:, None, :, None] == keys[:, None, None, :]
    if causal:
        seen = seen.tril()
    return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, _HIDDEN)


@contextmanager
def attention(live: LiveStudent) -> Iterator[None]:
    """On CUDA a decoder's mask stays a rule, not a table of every pair: flex attention skips the blocks that
    it hides. Elsewhere, and for encoder-decoders, whose position bias is such a table anyway, the model's own
    attention stays. Dropout in attention is what flex attention does not have."""
    model: Any = live.model
    config = model.config
    drops = max(float(getattr(config, name, 0) or 0) for name in ("attention_dropout", "attn_pdrop"))
    before = config._attn_implementation
    fits = torch.cuda.is_available() and live.kind == "causal" and model._supports_flex_attn and not drops
    if fits:
        model.set_attn_implementation("flex_attention")
    try:
        yield
    finally:
        if fits:
            model.set_attn_implementation(before)


def prove(live: LiveStudent, groups: Sequence[Group]) -> None:
    """Raises TrainingError unless the logits of two examples in one row are those that each has alone.

    No list of models is kept: one that has positions of its own mind, or attention that takes no mask, shows
    itself here.
    """
    every = groups.shortest(2) if isinstance(groups, Tokens) else [row for group in groups for row in group]
    rows = sorted(every, key=lambda r: len(r["source"] + r["target"]))
    first, second = rows[0], rows[min(1, len(rows) - 1)]
    model: Any = live.model
    why = ""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = [_logits(model, laid([[_alone(live, row)]])) for row in (first, second)]
            both = _logits(model, laid([[_alone(live, row) for row in (first, second)]]))
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    else:
        wanted = torch.cat(alone, 1)
        apart = float((both - wanted).abs().max() / wanted.abs().max())
        # Written so that a number that is none is refused too.
        if not apart <= CLOSE:
            why = f"the logits of an example change by {apart:.1e} of the largest when another is beside it"
    finally:
        model.train(training)
    if why:
        raise TrainingError(
            f"this student ({type(model).__name__}) cannot be trained on packed rows: {why}; "
            "set train.packing to false"
        )


def _logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    device = next(model.parameters()).device
    given = {name: value.to(device) for name, value in inputs.items()}
    given.pop("labels")
    with attending(model, given) as seen:
        logits: torch.Tensor = model(**seen, use_cache=False).logits.float()
    return logits
