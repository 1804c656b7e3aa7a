"""What the last-letter tasks share: the question, its reasoning, and splits by the number of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.roles import Source, Task
from understudy.tasks._generated import BUCKETS, bucket, check, stream
from understudy.tasks._names import FIRST, LAST
from understudy.types import Exemplar, Question


def _rationale(words: list[str]) -> str:
    letters = [f'The last letter of "{word}" is "{word[-1].lower()}".' for word in words]
    return " ".join([*letters, f'Concatenating them is "{_answer(words)}".'])


def _answer(words: list[str]) -> str:
    return "".join(word[-1].lower() for word in words)


def letters_task(
    name: str, title: str, counts: Mapping[str, int], words: Mapping[str, Sequence[int]]
) -> Task:
    """A task whose splits have as many questions as `counts` says, about as many words as `words` says: each
    number of a split equally often, in turn."""

    def load(split: str, source: Source) -> list[Question]:
        check(name, split, counts, source)
        draws = stream(name, split, source.seed)
        questions: dict[str, Question] = {}
        while len(questions) < counts[split]:
            many = words[split][len(questions) % len(words[split])]
            drawn = [draws.choice(LAST if position % 2 else FIRST) for position in range(many)]
            text = f'Take the last letters of the words in "{" ".join(drawn)}" and concatenate them.'
            if bucket(text, 20) in BUCKETS.get(split, range(20)):
                questions[text] = Question(text, _answer(drawn), rationale=_rationale(drawn), steps=many)
        return list(questions.values())

    return Task(
        name=name,
        title=title,
        form="text",
        splits=tuple(counts),
        load=load,
        exemplars=_EXEMPLARS,
        licence="Apache-2.0",
        homepage="https://arxiv.org/abs/2201.11903",
        counts=counts,
        generated=True,
    )


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
