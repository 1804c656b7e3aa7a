"""What a training costs in floating-point operations: counted of the model's own matrices, not estimated.

A multiplication with a matrix of n weights costs 2n a token, and twice that again backwards: 6 x parameters x
tokens (Kaplan et al., arXiv 2001.08361). To that come the output head and the products of attention, as in
Hoffmann et al. (arXiv 2203.15556, appendix F), both of which weigh much in small models. An encoder-decoder
reads the source with its encoder and the target with its decoder, so its two halves are counted apart.
Looking up an embedding is no multiplication. Norms, biases and softmax are left out: far below one percent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_ENCODER = re.compile(r"(^|\.)encoder\.")
_ACROSS = re.compile(r"\.(EncDecAttention|encoder_attn)\.")
_READS_SOURCE = re.compile(r"\.(k|v|k_proj|v_proj)$")
_QUERY = re.compile(r"\.(q|q_proj|query)$")


@dataclass(frozen=True, slots=True)
class Flops:
    """Weights that each token is multiplied with, and the widths of attention: heads x size of a head,
    summed over layers. `encoder` is 0 for decoders, whose `decoder` reads the source too."""

    encoder: int
    across: int
    """The decoder's weights that are multiplied with the source: keys and values of cross-attention."""
    decoder: int
    head: int
    encoder_width: int
    across_width: int
    decoder_width: int

    def training(self, source: int, target: int) -> float:
        """Of one example, forward and backward, by its tokens (end of text included), without padding."""
        if not self.encoder:
            # The last token of a text is predicted and not read.
            read = source + target - 1
            weights = (self.decoder + self.head) * read
            pairs = self.decoder_width * read * read
        else:
            weights = (self.encoder + self.across) * source + (self.decoder + self.head) * target
            pairs = (
                self.encoder_width * source * source
                + self.across_width * source * target
                + self.decoder_width * target * target
            )
        # Attention multiplies twice for each pair of tokens: for the scores, and with the values.
        return 3.0 * (2 * weights + 4 * pairs)

    @property
    def generated(self) -> float:
        """Of one generated token, without what it reads of the tokens before it."""
        return 2.0 * (self.decoder + self.head)


def count(model: Any) -> Flops:
    """The matrices of a transformers model. Weights of mixtures of experts are all counted as used."""
    import torch

    sums = dict.fromkeys(("encoder", "across", "decoder"), 0)
    widths = dict.fromkeys(sums, 0)
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) or module is head:
            continue
        weights = sum(p.numel() for p in module.parameters(recurse=False) if p.ndim > 1)
        crossing = _ACROSS.search(f".{name}.") is not None
        part = "encoder" if _ENCODER.search(name) else "decoder"
        sums["across" if crossing and _READS_SOURCE.search(f".{name}") else part] += weights
        if _QUERY.search(f".{name}"):
            widths["across" if crossing else part] += module.weight.shape[0]
    if not any(widths.values()):
        # Queries that are made together with keys and values, as GPT-2 does, are as wide as the model.
        widths["decoder"] = model.config.num_hidden_layers * model.config.hidden_size
    return Flops(
        **sums,
        head=head.weight.numel(),
        **{f"{part}_width": width for part, width in widths.items()},
    )
