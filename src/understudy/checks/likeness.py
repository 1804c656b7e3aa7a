"""How alike texts are: one normal form, runs of its words, near duplicates, and what differs most.

The normal form forgives what two copies of a text differ in: case, punctuation, spacing, width. The catch is
numbers: "3.5" must not become "3 5", "1,000" is 1000, and two questions that differ in a number alone differ.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

_PIECE = re.compile(r"\S{1,200}")
_SEPARATOR = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_STRAY_POINT = re.compile(r"(?<!\d)\.|\.(?!\d)")


class _Words(dict[int, int]):
    """Code point -> itself if it belongs to a word, else a space; filled as characters turn up."""

    def __missing__(self, code: int) -> int:
        kept = unicodedata.category(chr(code))[0] in "LNM" or code == ord(".")
        self[code] = code if kept else ord(" ")
        return self[code]


_WORDS = _Words()


def normal(text: str) -> str:
    """`text` in lower case and without punctuation, its words one space apart, its numbers whole."""
    if not text.isascii():
        # By pieces, for the composition of a long run of accents costs its length squared.
        text = " ".join(unicodedata.normalize("NFKC", piece) for piece in _PIECE.findall(text))
    words = _SEPARATOR.sub("", text.casefold()).translate(_WORDS)
    return " ".join(_STRAY_POINT.sub(" ", words).split())


def ngrams(text: str, n: int) -> set[str]:
    """Every run of `n` words of a text in its normal form; one that is shorter counts as a whole."""
    words = text.split()
    if len(words) <= n:
        return {" ".join(words)} if words else set()
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


# ---------------------------------------------------------------- near duplicates

SHINGLE = 3
"""Words of a shingle: rationales of one question share their words, their order is what differs."""
FEW = 50
"""Up to so many texts every pair is compared; with more, MinHash proposes the pairs."""
PERMUTATIONS = 128


def jaccard(one: AbstractSet[str], other: AbstractSet[str]) -> float:
    """How much of both sets they share; 1 for two empty ones."""
    united = len(one | other)
    return len(one & other) / united if united else 1.0


def near_duplicates(texts: Sequence[str], threshold: float) -> list[int | None]:
    """Of each text the index of the first earlier one that it is at least as like as `threshold`.

    An earlier text that is itself a duplicate does not count, so what is kept is unlike all that is kept.
    MinHash only proposes; the exact likeness decides.
    """
    shingles = [ngrams(normal(text), SHINGLE) for text in texts]
    propose = _everyone if len(texts) <= FEW else _proposals(shingles, threshold)
    found: list[int | None] = []
    for index, own in enumerate(shingles):
        earlier = (other for other in propose(index) if found[other] is None)
        found.append(next((other for other in earlier if jaccard(own, shingles[other]) >= threshold), None))
    return found


def _everyone(index: int) -> Iterable[int]:
    return range(index)


def _proposals(shingles: Sequence[AbstractSet[str]], threshold: float) -> Callable[[int], Iterable[int]]:
    from datasketch import MinHash, MinHashLSH

    coded = ([shingle.encode("utf-8", "surrogatepass") for shingle in own] for own in shingles)
    hashes = MinHash.bulk(coded, num_perm=PERMUTATIONS, seed=1)
    # Missing a pair costs more than comparing one too many, so pairs well below the threshold are proposed.
    index = MinHashLSH(threshold=max(0.1, threshold - 0.1), num_perm=PERMUTATIONS, weights=(0.2, 0.8))
    for position, own in enumerate(hashes):
        index.insert(position, own)
    return lambda position: sorted(other for other in index.query(hashes[position]) if other < position)


def diverse(texts: Sequence[str], k: int) -> list[int]:
    """Indices of `k` texts, or of all: the first, then each time the one that is least like those chosen."""
    shingles = [ngrams(normal(text), SHINGLE) for text in texts]
    nearest = [0.0] * len(texts)
    chosen: list[int] = []
    while len(chosen) < min(k, len(texts)):
        left = [index for index in range(len(texts)) if index not in chosen]
        best = min(left, key=lambda index: nearest[index])
        chosen.append(best)
        nearest = [
            max(so_far, jaccard(own, shingles[best])) for so_far, own in zip(nearest, shingles, strict=True)
        ]
    return chosen
