"""In which language a text is written, by py3langid: a small model over byte n-grams, no network, no torch.

The catch is short texts and texts that are mostly sums: "8 + 12 = 20 apples" is anybody's language. Below a
number of letters there is no verdict, and a text counts as foreign only if the language that was asked for is
all but ruled out: of 53,000 English rationales above that number fewer than one in 10,000 is called foreign.
"""

from __future__ import annotations

from functools import cache
from typing import Any

UNDETERMINED = "und"
FEWEST_LETTERS = 60
"""Bytes of letters: 60 of an English word's, 20 Chinese characters."""
RULED_OUT = 0.01
"""A probability below which a text is not in a language."""
LONGEST = 2000
"""Characters that are looked at, from the start."""


def language(text: str) -> tuple[str, float]:
    """The ISO 639 code and its probability among all known languages; ("und", 0) for too little text."""
    text = text[:LONGEST]
    letters = "".join(filter(str.isalpha, text))
    if len(letters.encode("utf-8", "surrogatepass")) < FEWEST_LETTERS:
        return UNDETERMINED, 0.0
    code, probability = _identifier().classify(text)
    if code == "zxx":  # py3langid's word for no language at all
        return UNDETERMINED, 0.0
    return str(code), float(probability)


def foreign(text: str, code: str) -> bool:
    """Whether `text` is surely written in another language than `code`."""
    found, _ = language(text)
    if found in (UNDETERMINED, code):
        return False
    return float(dict(_identifier().rank(text[:LONGEST])).get(code, 0.0)) < RULED_OUT


def known() -> frozenset[str]:
    """The codes of all languages that can be told apart."""
    return frozenset(_identifier().labels)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
