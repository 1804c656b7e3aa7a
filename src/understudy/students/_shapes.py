"""Named small configurations for students trained from scratch.

They exist to prove a pipeline, to test, and to demonstrate; a real student starts from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

ROPE_THETA = 100.0
"""Base of the rotary positions of from-scratch decoders. Their texts have tens to hundreds of tokens, not
thousands; at the usual 10,000 most frequencies would barely turn, and learning takes longer."""

CAUSAL: Mapping[str, Mapping[str, int]] = {
    # parameters are without the vocabulary's embedding
    "tiny": {"hidden_size": 64, "intermediate_size": 176, "layers": 2, "heads": 2},
    "demo": {"hidden_size": 192, "intermediate_size": 512, "layers": 2, "heads": 4},
    "demo-teacher": {"hidden_size": 320, "intermediate_size": 1024, "layers": 2, "heads": 5},
    "small": {"hidden_size": 256, "intermediate_size": 704, "layers": 6, "heads": 8},
}

SEQ2SEQ: Mapping[str, Mapping[str, int]] = {
    "tiny": {"d_model": 64, "d_kv": 32, "d_ff": 176, "layers": 2, "heads": 2},
    "demo": {"d_model": 128, "d_kv": 32, "d_ff": 352, "layers": 3, "heads": 4},
    "small": {"d_model": 256, "d_kv": 32, "d_ff": 704, "layers": 4, "heads": 8},
    "t5-small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "layers": 6, "heads": 8},
    "flan-t5-small": {"d_model": 512, "d_kv": 64, "d_ff": 1024, "layers": 8, "heads": 6},
}
