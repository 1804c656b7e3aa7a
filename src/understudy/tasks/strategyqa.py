"""StrategyQA: yes/no questions whose steps are implicit. https://github.com/eladsegal/strategyqa, MIT.

    {"qid": "..", "question": "Are more people today related to ..", "answer": true, "facts": [..], ..}

The catch: the official test has no public answers, so papers test on 207, 229, 290 or 687 questions; always
print n. Here train, dev and test are 80/10/10 of the authors' train.json of 2,061, unshuffled (Magister et
al.); "dev_229" is the authors' dev.json; "all" is train.json whole. The pinned Hub copy is cut into 1,603 and
687 instead, so the counts differ there. `Question.rationale` is the annotators' facts.
"""

from __future__ import annotations

from understudy.roles import Hub, Task
from understudy.rows import Row
from understudy.tasks._original import Original, gold, tenths, text_of
from understudy.types import Exemplar, Question

__all__ = ["strategyqa"]

_LABELLED = ("train.json", "data/strategyqa/train.json", "strategyqa_train.json")


def _parse(row: Row) -> Question:
    facts = row.fields.get("facts", [])
    parts = [facts] if isinstance(facts, str) else facts
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise row.wrong("'facts' must be a list of sentences")
    plan = row.fields.get("decomposition")
    return Question(
        text_of(row, "question"),
        gold(row, text_of(row, "answer"), "boolean"),
        rationale=" ".join(" ".join(part.split()) for part in parts),
        source=str(row.fields.get("qid") or f"line {row.line}"),
        steps=len(plan) if isinstance(plan, list) and plan else None,
    )


_EXEMPLARS = (
    Exemplar(
        "Could a giraffe stand upright in a normal living room?",
        "A grown giraffe is more than four meters tall. The ceiling of a normal living room is about two and "
        "a half meters high, which is lower than the giraffe.",
        "no",
    ),
    Exemplar(
        "Would a person with a peanut allergy be safe eating plain steamed rice?",
        "A peanut allergy is caused by peanuts. Plain steamed rice is rice and water, without peanuts.",
        "yes",
    ),
    Exemplar(
        "Did Julius Caesar ever travel by train?",
        "Julius Caesar died in 44 BC. Trains were invented in the nineteenth century, long after his death.",
        "no",
    ),
    Exemplar(
        "Can a blue whale weigh more than ten elephants?",
        "A large blue whale weighs more than 100 tonnes. An elephant weighs about 6 tonnes, so ten of them "
        "weigh about 60 tonnes, which is less than 100.",
        "yes",
    ),
    Exemplar(
        "Are there more squares on a chess board than players in a football match?",
        "Two football teams have 11 players each, which makes 22. A chess board has 8 * 8 = 64 "
        "squares, which is more than 22.",
        "yes",
    ),
    Exemplar(
        "Would snow stay frozen on a beach in Singapore in July?",
        "Singapore lies near the equator and has about 30 degrees Celsius in July. Snow melts above zero.",
        "no",
    ),
)

_original = Original(
    name="strategyqa",
    files={
        "train": _LABELLED,
        "dev": _LABELLED,
        "test": _LABELLED,
        "dev_229": ("dev.json", "data/strategyqa/dev.json"),
        "all": _LABELLED,
    },
    parse=_parse,
    hub=Hub("ChilleD/StrategyQA", "705562638fe1d8ca6bb98c66fc8f94d45fda8c83"),
    hub_splits={"train": "train", "test": "test"},
    select=tenths,
)

strategyqa = Task(
    name="strategyqa",
    title="StrategyQA",
    form="boolean",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=_EXEMPLARS,
    licence="MIT",
    homepage="https://github.com/eladsegal/strategyqa",
    hub=_original.hub,
    counts={"train": 1648, "dev": 206, "test": 207, "dev_229": 229, "all": 2061},
    files=_original.paths,
)
