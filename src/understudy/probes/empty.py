"""empty: no rationale at all; the student must answer at once.

Early answering at its start (Lanham et al., arXiv 2307.13702). An answer that stays was not got from the
rationale. The catch: a student that was never trained to answer at once reads something new to it.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from understudy.roles import Changed, Material, Probe, Skipped

__all__ = ["Empty"]


class Empty(Probe):
    """The rationale is left out."""

    name: Literal["empty"] = "empty"
    CHANGES: ClassVar[str] = "no rationale"
    SOURCE: ClassVar[str] = "Lanham et al., arXiv 2307.13702"

    def change(self, material: Material, random: Random) -> Changed | Skipped:
        del material, random
        return Changed()
