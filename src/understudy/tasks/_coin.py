"""What the coin-flip tasks share: the story, its reasoning, and splits by the number of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.roles import Source, Task
from understudy.tasks._generated import BUCKETS, bucket, check, stream
from understudy.tasks._names import FIRST
from understudy.types import Exemplar, Question

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


def coin_task(name: str, title: str, counts: Mapping[str, int], people: Mapping[str, Sequence[int]]) -> Task:
    """A task whose splits have as many questions as `counts` says, about as many people as `people` says:
    each number of a split equally often, in turn."""

    def load(split: str, source: Source) -> list[Question]:
        check(name, split, counts, source)
        draws = stream(name, split, source.seed)
        questions: dict[str, Question] = {}
        while len(questions) < counts[split]:
            many = people[split][len(questions) % len(people[split])]
            turns = [(who, draws.random() < 0.5) for who in draws.sample(FIRST, many)]
            text = _text(turns)
            if bucket(text, 20) in BUCKETS.get(split, range(20)):
                questions[text] = Question(text, _answer(turns), rationale=_rationale(turns), steps=many)
        return list(questions.values())

    return Task(
        name=name,
        title=title,
        form="boolean",
        splits=tuple(counts),
        load=load,
        exemplars=_EXEMPLARS,
        licence="Apache-2.0",
        homepage="https://arxiv.org/abs/2201.11903",
        counts=counts,
        generated=True,
    )


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
