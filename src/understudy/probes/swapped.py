"""swapped: what the student wrote on another question, and it must answer at once.

Fluent reasoning to no purpose: what is still right was got from the question. The catch: where answers are
few, such as yes and no, another question's rationale often leads to the right one by chance.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from understudy.roles import Changed, Material, Probe, Skipped

__all__ = ["Swapped"]


class Swapped(Probe):
    """Another question's rationale, drawn by lot."""

    name: Literal["swapped"] = "swapped"
    CHANGES: ClassVar[str] = "its rationale on another question"

    def change(self, material: Material, random: Random) -> Changed | Skipped:
        others = material.others
        start = random.randrange(len(others)) if others else 0
        for place in range(start, start + len(others)):
            other = others[place % len(others)]
            if other and other != material.rationale:
                return Changed(other)
        return Skipped("no other question has another rationale")
