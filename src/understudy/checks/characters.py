"""What T5's vocabulary cannot write: such characters become <unk>, in training and in what the student says.

Found by asking the real tokenizer for each character between two letters, and held against it for the first
12,288 characters of Unicode by tests/test_checks_characters.py. A text is read in its composed, compatible
form as the tokenizer reads it, so "½" is "1", a fraction stroke that is lacking, and "2". ASCII control
characters and zero-width ones vanish and newlines become spaces: they are lost, but not missing.
"""

from __future__ import annotations

import re
import unicodedata

_LACKING = "`{}\\^~<"
_WRITABLE = frozenset(map(chr, range(32, 127))) - frozenset(_LACKING) | frozenset(
    "£«\u00ad®°»ÉÎÜßàáâäçèéêîóôöùûüăşţșțавдеиклмнорсту–—‘’“”„•′€▁"
)
_VANISHING = frozenset(map(chr, [*range(1, 32), 0x7F, 0x8F, 0x9F, *range(0x200B, 0x2010), 0xFEFF]))
_PIECE = re.compile(r"\S{1,200}")


def t5_missing(text: str) -> str:
    """The characters of `text` that cannot be written, each once, in the order in which they come."""
    if text.isascii():
        return "".join(sorted(filter(text.__contains__, _LACKING), key=text.index))
    # By pieces, for the composition of a long run of accents costs its length squared.
    composed = (unicodedata.normalize("NFC", piece) for piece in _PIECE.findall(text))
    found = dict.fromkeys(character for piece in composed for character in piece)
    return "".join(character for character in found if not _can_write(character))


def _can_write(character: str) -> bool:
    if character in _WRITABLE or character in _VANISHING:
        return True
    return all(part in _WRITABLE for part in unicodedata.normalize("NFKC", character))
