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
from understudy.students import _encoding, _escape, _live
from understudy.students._shapes import SEQ2SEQ
from understudy.students._spec import Origin
from understudy.students._tokenizers import Closed, closing, given_tokenizer, make_tokenizer
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
            own = closing(make_tokenizer(self.tokenizer, [t.lstrip() for t in texts], self.vocabulary))
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
        return _encoding.encode(self.codec, examples)

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
            "labels": _live.pad([_encoding.labels(row) for row in encoded], _live.IGNORED),
        }

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(row) for row in self.codec.sources(texts)]

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        """Answer every source in one batch, or, where prefixes need it, in one for each of their lengths."""
        rows = self.codec.sources(sources)
        begun = self.codec.begun(prefixes or [""] * len(sources))
        answers: dict[int, Generated] = {}
        for together in self._together([len(prefix) for prefix in begun]):
            written = self._write([rows[at] for at in together], [begun[at] for at in together], sampling)
            answers |= zip(together, written, strict=True)
        return [answers[at] for at in range(len(rows))]

    def _together(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows that may share a batch. Where positions are relative, as T5's are, a shorter prefix can be
        moved to the right by padding; elsewhere that would change what it means."""
        everyone = list(range(len(lengths)))
        relative = "relative_attention_num_buckets" in self.model.config.to_dict()
        if relative or len(set(lengths)) == 1:
            return [everyone]
        return [[at for at in everyone if lengths[at] == length] for length in sorted(set(lengths))]

    def _write(
        self, rows: Sequence[list[int]], begun: Sequence[list[int]], sampling: Sampling
    ) -> list[Generated]:
        from understudy.students._writing import write

        start = self.model.config.decoder_start_token_id
        # Padded with the start token: `generate` would put one before a row that begins with anything else.
        decoder = _live.pad([[start, *prefix] for prefix in begun], start, left=True)
        inputs = {
            "input_ids": _live.pad(rows, self.pad),
            "attention_mask": _live.pad([[1] * len(row) for row in rows], 0),
            "decoder_input_ids": decoder,
        }
        if any(len(prefix) + 1 < decoder.shape[1] for prefix in begun):
            ones = [[1] * (len(prefix) + 1) for prefix in begun]
            inputs["decoder_attention_mask"] = _live.pad(ones, 0, left=True)
        read = [len(row) + len(prefix) for row, prefix in zip(rows, begun, strict=True)]
        return write(self, inputs, decoder.shape[1], read, sampling)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        _escape.save(folder, self.codec.escapes)

    def close(self) -> None:
        """Nothing is held open."""
