"""How a live student writes: one batch through `generate`, each token's log-probability on the side.

`generate` could return the scores of every step, which is steps x rows x vocabulary in memory. Here each step
keeps one number a row. Imports torch: reached only from a student's `generate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from understudy.roles import Generated
from understudy.students import _live
from understudy.students._stops import Stops
from understudy.types import Sampling


def write(
    live: Any, inputs: Mapping[str, torch.Tensor], width: int, read: Sequence[int], sampling: Sampling
) -> list[Generated]:
    """What `live.model` writes for `inputs`. The first `width` positions of its output were given to it;
    `read` are the tokens that each row had to read.

    Log-probabilities are the model's own, at temperature 1 and over its whole vocabulary, however the tokens
    were drawn. A row whose stop string has come writes no further.
    """
    device = next(live.model.parameters()).device
    scores = _Scores()
    chosen = _Chosen(scores, live.codec, sampling.stop, width)
    with _live.inference(live.model):
        out = live.model.generate(
            **{name: tensor.to(device) for name, tensor in inputs.items()},
            pad_token_id=live.pad,
            eos_token_id=sorted(live.ends),
            logits_processor=LogitsProcessorList([scores]),
            stopping_criteria=StoppingCriteriaList([chosen]),
            **_live.generation_settings(sampling.temperature, sampling.top_p, sampling.max_tokens),
        )
    written = out[:, width:].tolist()
    return [
        _live.read_back(live.codec, new, live.ends, tokens, sampling.stop, logprobs)
        for new, tokens, logprobs in zip(written, read, chosen.rows(), strict=True)
    ]


class _Scores:
    """A logits processor that changes nothing. It stands before temperature and nucleus, so it sees the
    model's own logits (rows, vocabulary), and holds on to those of the latest step."""

    def __init__(self) -> None:
        self.latest: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        del input_ids
        self.latest = scores
        return scores


class _Chosen:
    """A stopping criterion, which is what `generate` calls when the tokens of a step are chosen."""

    def __init__(self, scores: _Scores, codec: Any, stops: Sequence[str], width: int) -> None:
        self.scores = scores
        self.stops = Stops(codec, stops)
        self.width = width
        self.logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        del scores
        latest = self.scores.latest
        assert latest is not None
        # Twice as fast as the logarithm of a sum, for it is one kernel; it lives for this step alone.
        self.logprobs.append(latest.log_softmax(-1).gather(1, input_ids[:, -1:]).squeeze(1))
        if not self.stops.texts:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        rows = input_ids[:, self.width :].tolist()
        return torch.tensor([self.stops.came(row) for row in rows], device=input_ids.device)

    def rows(self) -> list[list[float]]:
        """Of each row, the log-probability of every token, padding after its end included."""
        table: list[list[float]] = torch.stack(self.logprobs, 1).tolist()
        return table
