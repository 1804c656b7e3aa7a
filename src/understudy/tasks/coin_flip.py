"""Coin flip (Wei et al.), generated as Magister et al. do: train on two people, test on three and four.

    A coin is heads up. Omar flips the coin. Greta does not flip the coin. Is the coin still heads up?  ->  no

Splits train, dev and test have two people; test_3 and test_4 are out of distribution. `Question.rationale` is
programmatic and follows the coin. The catch: half of the answers are "yes", so guessing scores 50 %. A hash
of the question decides its split, so no question is shared by two splits, whatever the seed.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.roles import Source, Task
from understudy.tasks._generated import bucket, check, stream
from understudy.tasks._names import FIRST
from understudy.types import Exemplar, Question

__all__ = ["coin_flip"]

COUNTS = {"train": 2000, "dev": 200, "test": 500, "test_3": 500, "test_4": 500}
PEOPLE = {"train": 2, "dev": 2, "test": 2, "test_3": 3, "test_4": 4}

# Of 20 buckets of questions; splits of other lengths cannot meet.
BUCKETS = {"dev": range(2), "test": range(2, 6), "train": range(6, 20)}

Turns = Sequence[tuple[str, bool]]
"""Who had the coin, and whether they flipped it."""


def _deed(name: str, flips: bool) -> str:
    return f"{name} flips the coin" if flips else f"{name} does not flip the coin"


def _text(turns: Turns) -> str:
    story = " ".join(f"{_deed(name, flips)}." for name, flips in turns)
    return f"A coin is heads up. {story} Is the coin still heads up?"


def _rationale(turns: Turns) -> str:
    sentences, heads = ["The coin starts heads up."], True
    for name, flips in turns:
        heads ^= flips
        side = "heads" if heads else "tails"
        sentences.append(f"{_deed(name, flips)}, so it is {'' if flips else 'still '}{side} up.")
    return " ".join(sentences)


def _answer(turns: Turns) -> str:
    return "no" if sum(flips for _, flips in turns) % 2 else "yes"


def _load(split: str, source: Source) -> list[Question]:
    check("coin_flip", split, COUNTS, source)
    draws = stream("coin_flip", split, source.seed)
    questions: dict[str, Question] = {}
    while len(questions) < COUNTS[split]:
        turns = [(name, draws.random() < 0.5) for name in draws.sample(FIRST, PEOPLE[split])]
        text = _text(turns)
        if bucket(text, 20) in BUCKETS.get(split, range(20)):
            questions[text] = Question(text, _answer(turns), rationale=_rationale(turns), steps=len(turns))
    return list(questions.values())


_EXEMPLARS = tuple(
    Exemplar(_text(turns), _rationale(turns), _answer(turns))
    for turns in (
        (("Bertha", True), ("Tobias", False)),
        (("Winona", False), ("Cedric", False)),
        (("Odette", True), ("Magnus", True)),
        (("Petra", False), ("Silas", True)),
        (("Rufus", True), ("Selma", False)),
        (("Ursula", True), ("Yorick", True)),
        (("Nestor", False), ("Pia", False)),
        (("Lorcan", False), ("Zelda", True)),
    )
)

coin_flip = Task(
    name="coin_flip",
    title="Coin flip (generated)",
    form="boolean",
    splits=tuple(COUNTS),
    load=_load,
    exemplars=_EXEMPLARS,
    licence="Apache-2.0",
    homepage="https://arxiv.org/abs/2201.11903",
    counts=COUNTS,
    generated=True,
)
