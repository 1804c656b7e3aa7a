"""Tokenizers: those of from-scratch students, which are trained here, and how students use any.

`word` gives one token to each word, number or mark (numbers that were never seen become <unk>), `char`
one to each character, `bpe` byte-level pieces: they are trained on the training text with the `tokenizers`
library. All three decode to exactly the text they encoded, but for <unk>: a leading space belongs to its
token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from understudy.students import _escape
from understudy.students._live import closing_id, load_pretrained
from understudy.students._spec import Origin

TokenizerKind = Literal["word", "char", "bpe"]
KINDS: tuple[TokenizerKind, ...] = ("word", "char", "bpe")
SPECIAL = ("<pad>", "<eos>", "<unk>")


def make_tokenizer(name: str, texts: Sequence[str], vocabulary: int) -> Any:
    """Train a tokenizer of the named kind on `texts`, or load a trained one from a folder or hub id."""
    for kind in KINDS:
        if name == kind:
            return _train(kind, texts, vocabulary)
    return _load(name, None)


def given_tokenizer(student: Origin) -> Any | None:
    """The trained tokenizer that a spec names, or that its checkpoint brings; None if one is trained here."""
    if student.checkpoint is not None:
        return _load(student.checkpoint, student.revision)
    return None if student.tokenizer in KINDS else _load(student.tokenizer, None)


def _load(name: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    return load_pretrained(AutoTokenizer, name, revision)


def _train(kind: TokenizerKind, texts: Sequence[str], vocabulary: int) -> Any:
    """A transformers tokenizer with at most `vocabulary` entries, trained on `texts`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = list(SPECIAL)
    trainer: Any
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        pattern = r" ?\w+| ?[^\w\s]|\s" if kind == "word" else r"[\s\S]"
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))  # noqa: S106
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
        trainer = trainers.WordLevelTrainer(
            vocab_size=vocabulary, special_tokens=special, show_progress=False
        )
    # A trainer breaks ties by first sight, so the text is given in a fixed order.
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        eos_token="<eos>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        clean_up_tokenization_spaces=False,
    )


def closing(tokenizer: Any) -> Any:
    """The tokenizer, trained here, which from now on closes every text itself: so that other tools, which
    know nothing of `Closed`, give an encoder the ids that it learnt to read."""
    from tokenizers.processors import TemplateProcessing

    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, closing_id(tokenizer))]
    )
    return tokenizer


class Codec(Protocol):
    """Texts <-> token ids, as a student of one architecture reads and writes them."""

    def sources(self, texts: Sequence[str]) -> list[list[int]]: ...

    def targets(self, texts: Sequence[str]) -> list[list[int]]: ...

    def begun(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids that targets which begin so begin with, without an end of text. Spaces at the end of a text
        are left out, for they belong to the token that comes next; an empty text has no ids."""
        ...

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str: ...


@dataclass(frozen=True, slots=True)
class Closed:
    """For encoder-decoders: sources and targets are texts of their own, escaped or not."""

    tokenizer: Any
    escapes: bool

    def sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with exactly one end of text, whether or not the tokenizer adds it (T5's does)."""
        end = closing_id(self.tokenizer)
        plain = [_escape.escape(text) for text in texts] if self.escapes else list(texts)
        rows: list[list[int]] = self.tokenizer(plain)["input_ids"]
        return [row if row and row[-1] == end else [*row, end] for row in rows]

    targets = sources

    def begun(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self.targets([text.rstrip(" ") for text in texts])
        return [row[:-1] if text.strip(" ") else [] for text, row in zip(texts, rows, strict=True)]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Some checkpoints ask for " ," to become "," when decoded, which no text means."""
        text: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
        return _escape.unescape(text) if self.escapes else text


@dataclass(frozen=True, slots=True)
class Continued:
    """For decoders: a target goes on from its source."""

    tokenizer: Any

    def sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids. Some tokenizers close every text; a prompt that is already closed is opened again."""
        end = self.tokenizer.eos_token_id
        rows: list[list[int]] = self.tokenizer(list(texts))["input_ids"]
        return [row[:-1] if row and row[-1] == end else row for row in rows]

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        end = closing_id(self.tokenizer)
        rows = self.tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
        return [[*row, end] for row in rows]

    def begun(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self.targets([text.rstrip(" ") for text in texts])
        return [row[:-1] if text.strip(" ") else [] for text, row in zip(texts, rows, strict=True)]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text
