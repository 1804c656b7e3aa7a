"""Whether questions of one set stand in another, at four levels, each of which includes those before it.

    exact       the same text, context and options (`Question.id`)
    normalised  the same text and context but for case, punctuation and spacing; options may differ
    13-gram     a run of 13 words in common; a text of fewer words only as a whole
    near        runs of five words in common: Jaccard similarity of 0.8 or more

Runs of 13 words are what GPT-3's training data were filtered by (Brown et al., 2020). The catch: the last two
levels find too much where questions come from a template, as generated ones do, for all share its words.
Signs of arithmetic and brackets count at the second level, so that "2 + 3" is not "2 - 3".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from understudy.checks.likeness import ngrams, normal
from understudy.types import Question

Level = Literal["exact", "normalised", "13-gram", "near"]
LEVELS: tuple[Level, ...] = get_args(Level)

RUN = 13
SHINGLE = 5
NEAR = 0.8
SHORTEST_QUOTE = 8
"""Words of the shortest question that a text can be said to quote: shorter ones turn up by chance."""

# Bands and rows: a pair of similarity 0.8 is proposed with probability 0.998, one of 0.4 with 0.08.
_BANDS, _ROWS = 20, 6

_MINUS = re.compile(r"-(?= ?[\d(])")


class _Signs(dict[int, int | None]):
    """Code point -> itself if it is a sign that `normal` drops but that makes another question, else None."""

    def __missing__(self, code: int) -> int | None:
        kept = unicodedata.category(chr(code)) in ("Sm", "So") or chr(code) in "*/%^()[]{}"
        self[code] = code if kept else None
        return self[code]


_SIGNS = _Signs({ord("×"): ord("*"), ord("÷"): ord("/")})


@dataclass(frozen=True, slots=True)
class Match:
    """Where a question was found: `level` is the strictest at which the two are the same."""

    level: Level
    question: Question
    """The other one: the most similar at level "near", the first in its order at every other."""
    similarity: float
    """Jaccard similarity of the two texts' runs of five words; 1 for the same text."""


@dataclass(frozen=True, slots=True)
class Quotes:
    """Questions that texts quote."""

    questions: Mapping[str, int]
    """Question id -> position of the first text that quotes it."""
    texts: tuple[int, ...]
    """Positions of the texts that quote any."""


class Index:
    """A set of questions to look others up in. `level` is the loosest that is looked for."""

    def __init__(self, questions: Iterable[Question], level: Level) -> None:
        self._questions = tuple(questions)
        self._rank = LEVELS.index(level)
        self._ids: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._runs: dict[int, int] = {}
        words = [_words(question) for question in self._questions]
        for position, question in enumerate(self._questions):
            self._ids.setdefault(question.id, position)
            if self._rank >= LEVELS.index("normalised"):
                self._keys.setdefault(_key(question, words[position]), position)
            if self._rank >= LEVELS.index("13-gram"):
                for run in _long_runs(words[position]):
                    self._runs.setdefault(run, position)
        self._near = _Near(words) if level == "near" else None

    def find(self, question: Question) -> Match | None:
        """The strictest match of a question, or None."""
        if (position := self._ids.get(question.id)) is not None:
            return Match("exact", self._questions[position], 1.0)
        words = _words(question)
        if (position := self._keys.get(_key(question, words))) is not None:
            return Match("normalised", self._questions[position], 1.0)
        if shared := [self._runs[run] for run in _long_runs(words) if run in self._runs]:
            other = self._questions[min(shared)]
            return Match("13-gram", other, _jaccard(ngrams(words, SHINGLE), ngrams(_words(other), SHINGLE)))
        if self._near is not None and (found := self._near.find(words)):
            return Match("near", self._questions[found[1]], found[0])
        return None


class _Near:
    """Texts in their normal form, to look up by Jaccard similarity. MinHash proposes, exact sets confirm."""

    def __init__(self, texts: Sequence[str]) -> None:
        from datasketch import MinHashLSH

        self._shingles = [_shingles(text) for text in texts]
        self._lsh = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
        for position, sketch in enumerate(_sketches(self._shingles)):
            if self._shingles[position]:
                self._lsh.insert(position, sketch)

    def find(self, text: str) -> tuple[float, int] | None:
        """Similarity and position of the most similar text, the first of equals."""
        shingles = _shingles(text)
        if not shingles:
            return None
        (sketch,) = _sketches([shingles])
        alike = ((_jaccard(shingles, self._shingles[p]), -p) for p in self._lsh.query(sketch))
        similarity, position = max(alike, default=(0.0, 0))
        return (similarity, -position) if similarity >= NEAR else None


def overlaps(held_out: Iterable[Question], others: Iterable[Question], level: Level) -> dict[str, Match]:
    """The held-out questions, by id, that are found among the others at `level` or a stricter one."""
    index = Index(others, level)
    found = ((question.id, index.find(question)) for question in held_out)
    return {key: match for key, match in found if match is not None}


def counts(matches: Iterable[Match]) -> dict[Level, int]:
    """How many were found at each level, those of the stricter levels included."""
    strictest = Counter(match.level for match in matches)
    return {
        level: sum(strictest[stricter] for stricter in LEVELS[: position + 1])
        for position, level in enumerate(LEVELS)
    }


def text_overlaps(held_out: Iterable[Question], texts: Sequence[str]) -> Quotes:
    """The held-out questions of which a text repeats a run of 13 words, or all 8 to 12 words."""
    runs: dict[int, list[str]] = {}
    lengths = set()
    for question in held_out:
        words = _words(question)
        length = min(words.count(" ") + 1, RUN)
        if length >= SHORTEST_QUOTE:
            lengths.add(length)
            for run in ngrams(words, RUN):
                runs.setdefault(hash(run), []).append(question.id)
    quoted: dict[str, int] = {}
    quoting = []
    for position, text in enumerate(texts):
        words = normal(text)
        hits = {hash(run) for length in lengths for run in ngrams(words, length)} & runs.keys()
        if hits:
            quoting.append(position)
        for hit in hits:
            for key in runs[hit]:
                quoted.setdefault(key, position)
            # Whom it belongs to is known now; the run itself stays, for the texts that follow.
            runs[hit] = []
    return Quotes(quoted, tuple(quoting))


def _stem(question: Question) -> str:
    return f"{question.context} {question.text}" if question.context else question.text


def _words(question: Question) -> str:
    return normal(_stem(question))


def _key(question: Question, words: str) -> str:
    """What two questions share that are the same but for punctuation: words and signs in their order."""
    stem = _stem(question)
    signs = _MINUS.sub("−", stem).translate(_SIGNS)
    return f"{words}\n{signs}" if words or signs else stem


def _long_runs(words: str) -> set[int]:
    """Runs of 13 words, as hashes, for there are dozens to a question; none where there are fewer words."""
    return {hash(run) for run in ngrams(words, RUN)} if words.count(" ") >= RUN - 1 else set()


def _shingles(words: str) -> set[str]:
    return ngrams(words, SHINGLE) if words.count(" ") >= SHINGLE - 1 else set()


def _jaccard(one: set[str], other: set[str]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def _sketches(shingles: Iterable[set[str]]) -> Iterable[Any]:
    """A MinHash of each set: always the same for the same set."""
    from datasketch import MinHash

    encoded: Iterable[list[bytes]] = (
        [shingle.encode("utf-8", "surrogatepass") for shingle in each] for each in shingles
    )
    yield from MinHash.generator(encoded, num_perm=_BANDS * _ROWS, seed=1)
