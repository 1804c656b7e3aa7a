"""Arithmetic word problems, generated: the demo's task, small enough for a student trained from scratch.

    Ann has 5 apples. Ann buys 3 more apples. Ben has 2 times as many apples as Ann. How many apples does
    Ben have now?    ->    5 + 3 = 8. 8 * 2 = 16.    ->    16

Two to four operations; five in the out-of-distribution split "ood". Starts are 2 to 16, operands 2 to 9,
every intermediate result is an integer from 0 to 16, so each number can be one token and a small model can
learn the few hundred sums: they, not the reading, are what it learns last.

The catch: two stories with other names may hide the same chain of numbers (about half of all short test
items would), and a student could remember it. So a chain belongs to one split: a hash of the chain, which is
kept in `Question.source` and is read from left to right, decides which. No chain and no text is shared by two
splits, whatever the seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from understudy.roles import Source, Task
from understudy.tasks._generated import bucket, check, stream
from understudy.types import Exemplar, Question

__all__ = ["arithmetic"]

LARGEST = 16
OPERANDS = range(2, 10)
COUNTS = {"teacher": 8000, "train": 8000, "dev": 400, "test": 600, "ood": 400}
OPERATIONS = {split: (5,) if split == "ood" else (2, 3, 4) for split in COUNTS}

# Of 20 buckets of chains; "ood" needs none, for no other split has chains of its length.
BUCKETS = {
    "dev": range(1),
    "test": range(1, 3),
    "teacher": range(3, 11),
    "train": range(11, 20),
    "ood": range(20),
}

PEOPLE = ("Ann", "Ben", "Cara", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ida", "Jon", "Kim", "Leo")
THINGS = (
    "apples",
    "beads",
    "books",
    "cards",
    "coins",
    "cups",
    "eggs",
    "keys",
    "nuts",
    "pens",
    "shells",
    "stamps",
)

OPENINGS = ("{who} has {n} {things}.", "{who} starts with {n} {things}.", "At first {who} owns {n} {things}.")
ENDINGS = (
    "How many {things} does {who} have now?",
    "How many {things} does {who} have in the end?",
    "What number of {things} is left with {who}?",
)
CHANGES = {
    "+": (
        "{who} buys {n} more {things}.",
        "{who} finds {n} {things}.",
        "{other} gives {who} {n} {things}.",
        "Then {who} gets {n} more from {other}.",
    ),
    "-": (
        "{who} loses {n} {things}.",
        "{who} sells {n} of the {things}.",
        "{who} gives {n} {things} to {other}.",
        "Then {who} hands {n} of them to {other}.",
    ),
    "*": (
        "Soon {who} has {n} times as many {things}.",
        "{who} makes the pile of {things} {n} times as big.",
    ),
    "/": (
        "{who} splits the {things} equally into {n} bags and keeps one bag.",
        "{who} puts the {things} into {n} equal boxes and keeps one box.",
    ),
}
BY_TWO = {"*": "{who} doubles the {things}.", "/": "{who} keeps just half of the {things}."}
COMPARISONS = {
    "+": "{next} has {n} more {things} than {who}.",
    "-": "{next} has {n} fewer {things} than {who}.",
    "*": "{next} has {n} times as many {things} as {who}.",
}

WORDS = {"+": "Add", "-": "Take away", "*": "Multiply by", "/": "Divide by"}
STEPS = (
    "{left} {op} {n} = {right}.",
    "Then {left} {op} {n} = {right}.",
    "{word} {n}: {left} {op} {n} = {right}.",
)
STARTS = ("{who} starts with {n} {things}.", "At first there are {n} {things}.", "Start with {n}.")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a chain: `left` `op` `operand` = `right`."""

    left: int
    op: str
    operand: int
    right: int


@cache
def _options(value: int, op: str) -> tuple[Step, ...]:
    """Every step of one kind from `value` that stays whole and within 0 to LARGEST."""
    if op == "+":
        return tuple(Step(value, op, n, value + n) for n in OPERANDS if value + n <= LARGEST)
    if op == "-":
        return tuple(Step(value, op, n, value - n) for n in OPERANDS if value - n >= 0)
    if value == 0:
        return ()
    if op == "*":
        return tuple(Step(value, op, n, value * n) for n in range(2, 6) if value * n <= LARGEST)
    return tuple(Step(value, op, n, value // n) for n in range(2, 7) if value % n == 0)


def _chain(numbers: random.Random, length: int) -> list[Step]:
    steps: list[Step] = []
    value = numbers.randint(2, LARGEST)
    while len(steps) < length:
        options = _options(value, numbers.choice("++--*/"))
        if options:
            steps.append(numbers.choice(options))
            value = steps[-1].right
    return steps


def _sentence(numbers: random.Random, step: Step, cast: list[str], things: str) -> str:
    """One sentence of the story. A comparison moves it on: `cast[0]` leaves, the next one is asked about."""
    who, other = cast[0], numbers.choice(cast[1:])
    if len(cast) > 2 and step.op in COMPARISONS and numbers.random() < 0.2:
        cast.pop(0)
        pattern = COMPARISONS[step.op]
    elif step.operand == 2 and step.op in BY_TWO and numbers.random() < 0.5:
        pattern = BY_TWO[step.op]
    else:
        pattern = numbers.choice(CHANGES[step.op])
    return pattern.format(who=who, other=other, next=cast[0], n=step.operand, things=things)


def _story(numbers: random.Random, chain: list[Step]) -> tuple[str, str]:
    """The question's text and its rationale, each in one of several wordings."""
    cast, things = numbers.sample(PEOPLE, 4), numbers.choice(THINGS)
    opening = {"who": cast[0], "n": chain[0].left, "things": things}
    wording = numbers.randrange(len(STEPS))
    rationale = [STARTS[wording].format(**opening)]
    text = [numbers.choice(OPENINGS).format(**opening)]
    for step in chain:
        text.append(_sentence(numbers, step, cast, things))
        rationale.append(
            STEPS[wording].format(
                left=step.left, op=step.op, n=step.operand, right=step.right, word=WORDS[step.op]
            )
        )
    text.append(numbers.choice(ENDINGS).format(who=cast[0], things=things))
    return " ".join(text), " ".join(rationale)


def _load(split: str, source: Source) -> list[Question]:
    check("arithmetic", split, COUNTS, source)
    numbers = stream("arithmetic", split, source.seed)
    questions: dict[str, Question] = {}
    lengths = OPERATIONS[split]
    while len(questions) < COUNTS[split]:
        length = lengths[len(questions) % len(lengths)]
        chain = _chain(numbers, length)
        name = " ".join([str(chain[0].left), *(f"{step.op} {step.operand}" for step in chain)])
        if bucket(name, 20) not in BUCKETS[split]:
            continue
        text, rationale = _story(numbers, chain)
        answer = str(chain[-1].right)
        questions[text] = Question(text, answer, rationale=rationale, source=name, steps=length)
    return list(questions.values())


_EXEMPLARS = (
    Exemplar(
        "Ida has 6 shells. Ida finds 5 shells. Ida gives 3 shells to Leo. How many shells does Ida have now?",
        "Ida starts with 6 shells. 6 + 5 = 11. 11 - 3 = 8.",
        "8",
    ),
    Exemplar(
        "Dan starts with 4 pens. Dan doubles the pens. How many pens does Dan have in the end?",
        "Dan starts with 4 pens. 4 * 2 = 8.",
        "8",
    ),
    Exemplar(
        "At first Eva owns 18 cards. Eva splits the cards equally into 3 bags and keeps one bag. "
        "Jon gives Eva 7 cards. What number of cards is left with Eva?",
        "Eva starts with 18 cards. 18 / 3 = 6. 6 + 7 = 13.",
        "13",
    ),
    Exemplar(
        "Kim has 9 coins. Hugo has 4 more coins than Kim. Hugo loses 10 coins. "
        "How many coins does Hugo have now?",
        "Kim starts with 9 coins. 9 + 4 = 13. 13 - 10 = 3.",
        "3",
    ),
    Exemplar(
        "Finn has 10 nuts. Finn keeps just half of the nuts. Soon Finn has 4 times as many nuts. "
        "Finn sells 12 of the nuts. How many nuts does Finn have now?",
        "Finn starts with 10 nuts. 10 / 2 = 5. 5 * 4 = 20. 20 - 12 = 8.",
        "8",
    ),
    Exemplar(
        "Cara starts with 15 eggs. Then Cara hands 9 of them to Ben. Ben has 3 times as many eggs as Cara. "
        "Then Ben gets 2 more from Ann. How many eggs does Ben have in the end?",
        "Cara starts with 15 eggs. 15 - 9 = 6. 6 * 3 = 18. 18 + 2 = 20.",
        "20",
    ),
)

arithmetic = Task(
    name="arithmetic",
    title="Arithmetic word problems (generated)",
    form="number",
    splits=tuple(COUNTS),
    load=_load,
    exemplars=_EXEMPLARS,
    licence="Apache-2.0",
    homepage="",
    counts=COUNTS,
    generated=True,
)
