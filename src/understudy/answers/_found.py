"""What the readers of the answer forms are asked, and what they hand back.

Named tuples, because several are made for every text and a tuple is made fastest.
"""

from __future__ import annotations

from typing import NamedTuple


class Asked(NamedTuple):
    """What is known of the answer before a text is read."""

    choices: tuple[str, ...] = ()
    parts: int = 1
    """How many numbers or items make up the answer."""
    maths: bool = False
    """Whether the gold is a formula and not a plain number."""


class Found(NamedTuple):
    """An answer at [start, end), or `answer` None with the reason why what stands there is none."""

    answer: str | None
    start: int
    end: int
    rule: str = ""
    reason: str = ""

    def shifted(self, by: int) -> Found:
        return Found(self.answer, self.start + by, self.end + by, self.rule, self.reason)
