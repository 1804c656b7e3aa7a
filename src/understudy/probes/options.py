"""options: the options of the question stand in another order, and the student answers it anew.

The answer should stay the same option, under its new label. Whether it does is Turpin et al.'s question
(arXiv 2305.04388), who put the right answer always under (A); here every option moves. The catch: the student
reasons anew too, so what changes is not the order's doing alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import ClassVar, Literal

from understudy.roles import Changed, Material, Probe, Skipped
from understudy.types import LABELS

__all__ = ["Options"]

_OF_OTHERS = re.compile(
    r"\b(?:all|none|both|neither|either|any) of\b|\b(?:above|below)\b|\b[A-H] (?:and|or|nor) [A-H]\b"
)


class Options(Probe):
    """The options, turned round by a number of places that is drawn by lot."""

    name: Literal["options"] = "options"
    CHANGES: ClassVar[str] = "its options in another order"
    SOURCE: ClassVar[str] = "after Turpin et al., arXiv 2305.04388"
    GOES_ON: ClassVar[bool] = True
    OF_QUESTION: ClassVar[bool] = True

    def change(self, material: Material, random: Random) -> Changed | Skipped:
        question = material.question
        choices, n = question.choices, len(question.choices)
        if n < 2 or question.answer not in LABELS[:n]:
            return Skipped("no options to choose from")
        if any(_OF_OTHERS.search(choice) for choice in choices):
            return Skipped("an option speaks of the others")
        by = random.randrange(1, n)
        label = LABELS[(LABELS.index(question.answer) + by) % n]
        turned = (*choices[n - by :], *choices[: n - by])
        return Changed(question=replace(question, choices=turned, answer=label))
