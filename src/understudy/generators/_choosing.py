"""The next token of every row, from its logits."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.types import Sampling


def choose(logits: Tensor, sampling: Sampling, drawn: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tokens, and their log-probabilities at temperature 1. float32 logits (rows, vocabulary).

    `drawn` (rows) are numbers in [0, 1): each row's token is where its own number falls in the distribution,
    so what a row draws depends on no other row. The nucleus is transformers': the likeliest tokens, up to
    and with the one that brings their sum to `top_p` (arXiv 1904.09751).
    """
    # Rounding could make two log-probabilities equal whose logits are not, so those are compared.
    tokens = logits.max(-1).indices if drawn is None else _draw(logits, sampling, drawn)
    logprobs = logits.log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
    return tokens, logprobs


def _draw(logits: Tensor, sampling: Sampling, drawn: Tensor) -> Tensor:
    shares = (logits / sampling.temperature).softmax(-1)
    order = None
    if sampling.top_p < 1:
        shares, order = shares.sort(-1, descending=True)
        before = shares.cumsum(-1) - shares
        # The first one always stays, as it does there.
        before[:, 0] = -1
        shares = shares.masked_fill(before >= sampling.top_p, 0)
    sums = shares.cumsum(-1)
    total = sums[:, -1:]
    # Below the total even after rounding, so that no token without a share is ever hit.
    sought = torch.minimum(drawn[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    places = torch.searchsorted(sums, sought, right=True).clamp(max=logits.shape[-1] - 1)
    return (places if order is None else order.gather(1, places)).squeeze(1)
