"""causal: decoder-only students (Llama, Qwen, GPT families), from a checkpoint or from scratch.

The source is the prompt and the target its continuation; only target tokens carry loss. From scratch
it is the Llama architecture with rotary positions and a tokenizer trained on the training text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from understudy.roles import Generated
from understudy.students import _encoding, _live
from understudy.students._shapes import CAUSAL, ROPE_THETA
from understudy.students._spec import Origin
from understudy.students._tokenizers import Continued, make_tokenizer
from understudy.types import Example, Sampling

__all__ = ["Causal"]


class Causal(Origin):
    """Give either `checkpoint` (a hub id or folder) or `config` (a named small shape)."""

    name: Literal["causal"] = "causal"

    @classmethod
    def shapes(cls) -> Collection[str]:
        return CAUSAL

    def create(self, texts: Sequence[str], seed: int) -> LiveCausal:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        if self.checkpoint is not None:
            model = _live.load_model(AutoModelForCausalLM, self.checkpoint, self.revision)
            return LiveCausal(model, _live.load_pretrained(AutoTokenizer, self.checkpoint, self.revision))
        shape = CAUSAL[str(self.config)]
        tokenizer = make_tokenizer(self.tokenizer, texts, self.vocabulary)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape["hidden_size"],
            intermediate_size=shape["intermediate_size"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            num_key_value_heads=shape["heads"],
            max_position_embeddings=2048,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            # On CPUs the backward pass of fused attention is slower than eager on short sequences.
            attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
        )
        return LiveCausal(LlamaForCausalLM(config), tokenizer)

    def load(self, folder: Path) -> LiveCausal:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = _live.load_model(AutoModelForCausalLM, str(folder), None)
        return LiveCausal(model, _live.load_pretrained(AutoTokenizer, str(folder), None))


class LiveCausal:
    """A decoder and its tokenizer in memory."""

    kind = "causal"

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.codec = Continued(tokenizer)
        self.pad = _live.pad_id(tokenizer)
        self.ends = _live.end_ids(model, tokenizer)
        model.generation_config = _live.plain_generation(model, self.ends, self.pad)

    def encode(self, examples: Sequence[Example]) -> list[Mapping[str, Any]]:
        return _encoding.encode(self.codec, examples)

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`input_ids` and `labels` of shape (rows, longest - 1): labels are shifted already.

        Padding is on the right, where causal attention never looks, so no mask is needed.
        """
        inputs = [[*row["source"], *row["target"]][:-1] for row in encoded]
        labels = [[_live.IGNORED] * (len(row["source"]) - 1) + _encoding.labels(row) for row in encoded]
        return {"input_ids": _live.pad(inputs, self.pad), "labels": _live.pad(labels, _live.IGNORED)}

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(row) for row in self.codec.sources(texts)]

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        """Continue every source, and its prefix, in one batch, padded on the left."""
        from understudy.students._writing import write

        begun = self.codec.begun(prefixes or [""] * len(sources))
        pairs = zip(self.codec.sources(sources), begun, strict=True)
        rows = [[*source, *prefix] or [self.pad] for source, prefix in pairs]
        ids = _live.pad(rows, self.pad, left=True)
        mask = _live.pad([[1] * len(row) for row in rows], 0, left=True)
        inputs = {"input_ids": ids, "attention_mask": mask}
        return write(self, inputs, ids.shape[1], [len(row) for row in rows], sampling)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def close(self) -> None:
        """Nothing is held open."""
