"""seq2seq: encoder-decoder students (T5 family), from a checkpoint or from scratch.

T5's tokenizer has no newline, braces, backslash, caret, tilde, backtick or less-than: they vanish, unless
texts are escaped. fp16 overflows on T5; training here is bf16 or fp32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from understudy.errors import TrainingError
from understudy.roles import Generated
from understudy.students import _escape, _live
from understudy.students._shapes import SEQ2SEQ
from understudy.students._spec import Origin
from understudy.students._tokenizers import Closed, given_tokenizer, make_tokenizer
from understudy.types import Example, Sampling

__all__ = ["Seq2Seq"]


class Seq2Seq(Origin):
    """Give either `checkpoint` (a hub id or folder) or `config` (a named small shape)."""

    name: Literal["seq2seq"] = "seq2seq"
    escape: bool | Literal["auto"] = "auto"
    """Whether characters that T5's tokenizer cannot write get stand-ins, in sources and targets, which are
    undone in what the student writes. "auto" is yes where a given tokenizer needs them and can write them."""

    @classmethod
    def shapes(cls) -> Collection[str]:
        return SEQ2SEQ

    def codec(self) -> Closed | None:
        """How the student will read and write, without its weights; None if its tokenizer is trained here."""
        tokenizer = given_tokenizer(self)
        if tokenizer is None:
            return None
        before = _escape.saved(Path(self.checkpoint)) if self.checkpoint is not None else None
        helps = _escape.helps(tokenizer) if before is None else before
        return self._checked(Closed(tokenizer, helps if self.escape == "auto" else self.escape))

    def _checked(self, codec: Closed) -> Closed:
        if codec.escapes and not _escape.can_carry(codec.tokenizer):
            raise TrainingError(
                f"the student '{self.name}' cannot escape its texts, for its tokenizer cannot write the "
                "stand-ins: set escape to auto or false"
            )
        return codec

    def create(self, texts: Sequence[str], seed: int) -> LiveSeq2Seq:
        import torch
        from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

        torch.manual_seed(seed)
        codec = self.codec()
        if self.checkpoint is not None and codec is not None:
            return LiveSeq2Seq(_live.load_model(AutoModelForSeq2SeqLM, self.checkpoint, self.revision), codec)
        shape = SEQ2SEQ[str(self.config)]
        if codec is None:
            # A decoder's target opens its own text, without the space that would join it to the source.
            own = make_tokenizer(self.tokenizer, [text.lstrip() for text in texts], self.vocabulary)
            codec = self._checked(Closed(own, self.escape is True))
        tokenizer = codec.tokenizer
        config = T5Config(
            vocab_size=len(tokenizer),
            d_model=shape["d_model"],
            d_kv=shape["d_kv"],
            d_ff=shape["d_ff"],
            num_layers=shape["layers"],
            num_decoder_layers=shape["layers"],
            num_heads=shape["heads"],
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            decoder_start_token_id=_live.pad_id(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=_live.pad_id(tokenizer),
            attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
        )
        return LiveSeq2Seq(T5ForConditionalGeneration(config), codec)

    def load(self, folder: Path) -> LiveSeq2Seq:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        model = _live.load_model(AutoModelForSeq2SeqLM, str(folder), None)
        tokenizer = _live.load_pretrained(AutoTokenizer, str(folder), None)
        return LiveSeq2Seq(model, Closed(tokenizer, _escape.saved(folder) or False))


class LiveSeq2Seq:
    """An encoder-decoder and its tokenizer in memory."""

    kind = "seq2seq"

    def __init__(self, model: Any, codec: Closed) -> None:
        self.model = model
        self.codec = codec
        self.tokenizer = codec.tokenizer
        self.pad = _live.pad_id(self.tokenizer)
        self.ends = _live.end_ids(model, self.tokenizer)
        model.generation_config = _live.plain_generation(model, self.ends, self.pad)

    def encode(self, examples: Sequence[Example]) -> list[Mapping[str, Any]]:
        sources = self.codec.sources([example.source for example in examples])
        targets = self.codec.targets([example.target for example in examples])
        return [
            {"source": source, "target": target, "objective": e.objective, "weight": e.weight}
            for e, source, target in zip(examples, sources, targets, strict=True)
        ]

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Inputs and mask of shape (rows, longest source); `decoder_input_ids` and `labels` of shape
        (rows, longest target), where the former are the latter moved right by one."""
        sources = [row["source"] for row in encoded]
        targets = [row["target"] for row in encoded]
        start = self.model.config.decoder_start_token_id
        return {
            "input_ids": _live.pad(sources, self.pad),
            "attention_mask": _live.pad([[1] * len(row) for row in sources], 0),
            "decoder_input_ids": _live.pad([[start, *row[:-1]] for row in targets], self.pad),
            "labels": _live.pad(targets, _live.IGNORED),
        }

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(row) for row in self.codec.sources(texts)]

    def generate(self, sources: Sequence[str], sampling: Sampling) -> list[Generated]:
        """Answer every source in one batch."""
        rows = self.codec.sources(sources)
        device = next(self.model.parameters()).device
        with _live.inference(self.model):
            out = self.model.generate(
                input_ids=_live.pad(rows, self.pad).to(device),
                attention_mask=_live.pad([[1] * len(row) for row in rows], 0).to(device),
                pad_token_id=self.pad,
                eos_token_id=sorted(self.ends),
                **_live.generation_settings(sampling.temperature, sampling.top_p, sampling.max_tokens),
            )
        # The first generated position holds the decoder's start token.
        return [
            _live.read_back(self.codec, new, self.ends, len(row), sampling.stop)
            for row, new in zip(rows, out[:, 1:].tolist(), strict=True)
        ]

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        _escape.save(folder, self.codec.escapes)
