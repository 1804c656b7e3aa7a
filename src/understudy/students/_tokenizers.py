"""Tokenizers for from-scratch students, trained on the training text with the `tokenizers` library.

`word` gives one token to each word, number or mark (numbers that were never seen become <unk>), `char`
one to each character, `bpe` byte-level pieces. All three decode to exactly the text they encoded, but
for <unk>: a leading space belongs to its token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from understudy.students._live import load_pretrained

TokenizerKind = Literal["word", "char", "bpe"]
KINDS: tuple[TokenizerKind, ...] = ("word", "char", "bpe")
SPECIAL = ("<pad>", "<eos>", "<unk>")


def make_tokenizer(name: str, texts: Sequence[str], vocabulary: int) -> Any:
    """Train a tokenizer of the named kind on `texts`, or load a trained one from a folder or hub id."""
    for kind in KINDS:
        if name == kind:
            return _train(kind, texts, vocabulary)
    from transformers import AutoTokenizer

    return load_pretrained(AutoTokenizer, name, None)


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
