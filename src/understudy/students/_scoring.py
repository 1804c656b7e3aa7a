"""How probable a student finds each option of a question, and what its options share computed once.

Read once for a question: the source, the words of the target that come before its options, and the words
that all its options begin with: the trunk. Its keys and values are handed to the options, which go on from
there in one batch, each with its own last words. A model whose cache is not known to allow that gets whole
rows instead: an encoder-decoder then still encodes a source once, a decoder reads it again for each option.
Both are exact.

What is summed are natural log-probabilities of the option's tokens, in float32 whatever the model computes
in, and without an end of text, as lm-evaluation-harness sums them. Imports torch: reached only when there is
work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch

from understudy.students._live import inference, pad

SHARES = ("t5", "gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3")
"""Kinds of models whose options go on from one trunk: those for which tests show it to be exact."""
LOGITS = 2**27
"""Largest number of logits that one batch may give: half a gigabyte in float32."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """The options of one question, in a student's own words."""

    source: str
    prefix: str
    """What the target begins with: read, and not scored."""
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """The same as token ids."""

    place: int
    source: list[int]
    """What an encoder reads; empty for a decoder, whose trunk begins with it."""
    trunk: list[int]
    scored: int
    """How many of the trunk's last tokens belong to every option."""
    branches: tuple[list[int], ...]
    """Of each option, what follows the trunk; never empty."""

    @property
    def longest(self) -> int:
        return max(map(len, self.branches))

    @property
    def width(self) -> int:
        return len(self.source) + len(self.trunk) + self.longest


def score(live: Any, asked: Sequence[Choosing], batch_tokens: int) -> list[tuple[float, ...]]:
    """Of each question, the summed log-probability of every option; nothing for a question whose options
    have no tokens. `batch_tokens` bounds options x tokens of a batch, padding included."""
    rows = _rows(live, asked)
    found: list[tuple[float, ...]] = [()] * len(asked)
    shares = live.model.config.model_type in SHARES
    one = (_branched if shares else _encoded_once) if live.kind == "seq2seq" else _continued
    one = one if shares or live.kind == "seq2seq" else _whole
    with inference(live.model):
        for batch in _batches(rows, batch_tokens, live.model.config.vocab_size, shares):
            sums = iter(one(live, batch).tolist())
            for row in batch:
                found[row.place] = tuple(next(sums) for _ in row.branches)
    return found


def _rows(live: Any, asked: Sequence[Choosing]) -> list[_Row]:
    texts = [f"{one.prefix} {option}".lstrip(" ") for one in asked for option in one.options]
    ended = iter(live.codec.targets(texts) if texts else ())
    sources = live.codec.sources([one.source for one in asked]) if asked else []
    heads = live.codec.begun([one.prefix for one in asked]) if asked else []
    found = []
    for place, (one, source, head) in enumerate(zip(asked, sources, heads, strict=True)):
        targets = [next(ended)[:-1] for _ in one.options]
        if not targets or not all(targets):
            continue
        shared = min(_alike(targets), min(map(len, targets)) - 1)
        begun = min(_alike([head, *targets]), shared)
        first = [live.model.config.decoder_start_token_id] if live.kind == "seq2seq" else source or [live.pad]
        found.append(
            _Row(
                place,
                source if live.kind == "seq2seq" else [],
                [*first, *targets[0][:shared]],
                shared - begun,
                tuple(target[shared:] for target in targets),
            )
        )
    return found


def _alike(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens they all begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))


def _batches(rows: Sequence[_Row], tokens: int, vocabulary: int, shares: bool) -> Iterator[list[_Row]]:
    """Rows of like length together, the longest first: what does not fit into memory fails at once."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: (-row.width, row.place)):
        group = [*batch, row]
        options = sum(len(one.branches) for one in group)
        # Logits come of the branches, and before them of as much of each trunk as is scored.
        positions = options * max(one.longest for one in group)
        positions += len(group) * (1 + max(one.scored for one in group))
        if not shares:
            positions = options * max(one.width - len(one.source) for one in group)
        if batch and (options * batch[0].width > tokens or positions * vocabulary > LOGITS):
            yield batch
            group = [row]
        batch = group
    if batch:
        yield batch


# ---------------------------------------------------------------- from one trunk


def _branched(live: Any, batch: Sequence[_Row]) -> torch.Tensor:
    """An encoder-decoder: encoder, cross-attention and trunk once for a question. Positions are relative, so
    trunks are padded on the left."""
    model, device = live.model, next(live.model.parameters()).device
    mask, hidden = _encoded(live, batch)
    start = model.config.decoder_start_token_id
    trunk = pad([row.trunk for row in batch], start, left=True).to(device)
    seen = pad([[1] * len(row.trunk) for row in batch], 0, left=True).to(device)
    kept = 1 + max(row.scored for row in batch)
    cache = None
    if kept < trunk.shape[1]:
        # What comes before is read without the costly step to the vocabulary.
        cache = model.get_decoder()(
            input_ids=trunk[:, :-kept],
            attention_mask=seen[:, :-kept],
            encoder_hidden_states=hidden,
            encoder_attention_mask=mask,
            use_cache=True,
        ).past_key_values
    out = model(
        encoder_outputs=(hidden,),
        attention_mask=mask,
        decoder_input_ids=trunk[:, -kept:],
        decoder_attention_mask=seen,
        past_key_values=cache,
        use_cache=True,
    )
    sums, owner, options = _from_trunk(batch, out.logits)
    if (inputs := _inputs(live, options)) is not None:
        cache = out.past_key_values
        cache.batch_select_indices(owner)
        after = model(
            encoder_outputs=(hidden[owner],),
            attention_mask=mask[owner],
            decoder_input_ids=inputs,
            decoder_attention_mask=torch.cat([seen[owner], torch.ones_like(inputs)], 1),
            past_key_values=cache,
            use_cache=True,
        )
        sums = sums + _sums(after.logits, [option[1:] for option in options])
    return sums


def _continued(live: Any, batch: Sequence[_Row]) -> torch.Tensor:
    """A decoder: the prompt and what the options share once for a question, padded on the left."""
    model, device = live.model, next(live.model.parameters()).device
    trunk = pad([row.trunk for row in batch], live.pad, left=True).to(device)
    seen = pad([[1] * len(row.trunk) for row in batch], 0, left=True).to(device)
    out = model(
        input_ids=trunk,
        attention_mask=seen,
        position_ids=(seen.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1 + max(row.scored for row in batch),
    )
    sums, owner, options = _from_trunk(batch, out.logits)
    if (inputs := _inputs(live, options)) is not None:
        cache = out.past_key_values
        cache.batch_select_indices(owner)
        after = model(
            input_ids=inputs,
            attention_mask=torch.cat([seen[owner], torch.ones_like(inputs)], 1),
            position_ids=seen[owner].sum(1, keepdim=True) + torch.arange(inputs.shape[1], device=device),
            past_key_values=cache,
            use_cache=True,
        )
        sums = sums + _sums(after.logits, [option[1:] for option in options])
    return sums


def _from_trunk(
    batch: Sequence[_Row], logits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, list[list[int]]]:
    """What the trunk's last logits (rows, positions, vocabulary) say of all options: of the tokens that they
    share and of the first that they do not. With it, the row of each option, and its own tokens."""
    options = [branch for row in batch for branch in row.branches]
    owner = torch.tensor(
        [at for at, row in enumerate(batch) for _ in row.branches], dtype=torch.long, device=logits.device
    )
    last = logits[:, -1].float().log_softmax(-1)
    first = torch.tensor([option[0] for option in options], dtype=torch.long, device=logits.device)
    shared = [row.trunk[len(row.trunk) - row.scored :] for row in batch]
    common = _sums(logits[:, :-1], shared, left=True) if logits.shape[1] > 1 else torch.zeros(len(batch))
    return common.to(last.device)[owner] + last[owner, first], owner, options


def _inputs(live: Any, options: Sequence[Sequence[int]]) -> torch.Tensor | None:
    """What the options' own tokens are predicted from after the first; None where there is no other."""
    if max(map(len, options)) == 1:
        return None
    # The last token predicts nothing that is scored; a row of none reads a filler for its padding.
    return pad([option[:-1] for option in options], live.pad).to(next(live.model.parameters()).device)


# ---------------------------------------------------------------- in whole rows


def _encoded_once(live: Any, batch: Sequence[_Row]) -> torch.Tensor:
    """An encoder-decoder without a shared trunk: the encoder once, then a row for each option."""
    model = live.model
    mask, hidden = _encoded(live, batch)
    owner = [at for at, row in enumerate(batch) for _ in row.branches]
    whole = [[*row.trunk, *branch] for row in batch for branch in row.branches]
    out = model(
        encoder_outputs=(hidden[owner],),
        attention_mask=mask[owner],
        decoder_input_ids=pad([row[:-1] for row in whole], live.pad).to(hidden.device),
        use_cache=False,
    )
    return _sums(out.logits, *_tails(batch))


def _whole(live: Any, batch: Sequence[_Row]) -> torch.Tensor:
    """A decoder without a shared trunk: a row for each option, padded on the right, where it never looks."""
    device = next(live.model.parameters()).device
    whole = [[*row.trunk, *branch] for row in batch for branch in row.branches]
    out = live.model(input_ids=pad([row[:-1] for row in whole], live.pad).to(device), use_cache=False)
    return _sums(out.logits, *_tails(batch))


def _tails(batch: Sequence[_Row]) -> tuple[list[list[int]], bool, list[int]]:
    """Of each option the tokens that are scored, and the position of the logits that predict the first."""
    tails, starts = [], []
    for row in batch:
        begun = len(row.trunk) - row.scored
        for branch in row.branches:
            tails.append([*row.trunk[begun:], *branch])
            starts.append(begun - 1)
    return tails, False, starts


def _encoded(live: Any, batch: Sequence[_Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask (rows, longest source) and last hidden states of the encoder, with an axis more."""
    device = next(live.model.parameters()).device
    ids = pad([row.source for row in batch], live.pad).to(device)
    mask = pad([[1] * len(row.source) for row in batch], 0).to(device)
    return mask, live.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state


def _sums(
    logits: torch.Tensor, tokens: Sequence[Sequence[int]], left: bool = False, starts: Sequence[int] = ()
) -> torch.Tensor:
    """Of each row, the log-probability of its tokens together: the logits (rows, positions, vocabulary) from
    `starts` on predict them, or the last ones where rows are padded on the `left`."""
    rows = []
    for at, ids in enumerate(tokens):
        start = logits.shape[1] - len(ids) if left else starts[at] if starts else 0
        part = logits[at, start : start + len(ids)].float()
        chosen = torch.tensor(ids, dtype=torch.long, device=logits.device).unsqueeze(1)
        rows.append((part.gather(1, chosen).squeeze(1) - part.logsumexp(1)).sum())
    return torch.stack(rows)
