"""Last-letter concatenation (Wei et al.), generated as Magister et al. do: train on two words, test on more.

    Take the last letters of the words in "Elena Moore" and concatenate them.    ->    ae

Splits train, dev and test have two words; test_3 and test_4 are out of distribution. `Question.rationale` is
programmatic. The catch: the splits share single names, but no question: a hash of the question decides its
split, whatever the seed.
"""

from __future__ import annotations

from understudy.roles import Source, Task
from understudy.tasks._generated import bucket, check, stream
from understudy.tasks._names import FIRST, LAST
from understudy.types import Exemplar, Question

__all__ = ["last_letters"]

COUNTS = {"train": 2000, "dev": 200, "test": 500, "test_3": 500, "test_4": 500}
WORDS = {"train": 2, "dev": 2, "test": 2, "test_3": 3, "test_4": 4}

# Of 20 buckets of questions; splits of other lengths cannot meet.
BUCKETS = {"dev": range(2), "test": range(2, 6), "train": range(6, 20)}


def _rationale(words: list[str]) -> str:
    letters = [f'The last letter of "{word}" is "{word[-1].lower()}".' for word in words]
    return " ".join([*letters, f'Concatenating them is "{_answer(words)}".'])


def _answer(words: list[str]) -> str:
    return "".join(word[-1].lower() for word in words)


def _load(split: str, source: Source) -> list[Question]:
    check("last_letters", split, COUNTS, source)
    draws = stream("last_letters", split, source.seed)
    questions: dict[str, Question] = {}
    while len(questions) < COUNTS[split]:
        words = [draws.choice(LAST if position % 2 else FIRST) for position in range(WORDS[split])]
        text = f'Take the last letters of the words in "{" ".join(words)}" and concatenate them.'
        if bucket(text, 20) in BUCKETS.get(split, range(20)):
            questions[text] = Question(text, _answer(words), rationale=_rationale(words), steps=len(words))
    return list(questions.values())


_EXEMPLARS = tuple(
    Exemplar(
        f'Take the last letters of the words in "{name}" and concatenate them.',
        _rationale(name.split()),
        _answer(name.split()),
    )
    for name in (
        "Bertha Quimby",
        "Tobias Sorrel",
        "Winona Peck",
        "Cedric Vaughn",
        "Odette Finch",
        "Magnus Lark",
        "Petra Stubbs",
        "Silas Rowe",
    )
)

last_letters = Task(
    name="last_letters",
    title="Last-letter concatenation (generated)",
    form="text",
    splits=tuple(COUNTS),
    load=_load,
    exemplars=_EXEMPLARS,
    licence="Apache-2.0",
    homepage="https://arxiv.org/abs/2201.11903",
    counts=COUNTS,
    generated=True,
)
