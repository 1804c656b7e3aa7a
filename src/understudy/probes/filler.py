"""filler: as many "..." as the rationale has words, and the student must answer at once.

Whether a rationale helps by its length alone (Lanham et al., arXiv 2307.13702). The paper counts tokens; here
it is words, since probes know no tokenizer.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from understudy.roles import Changed, Material, Probe, Skipped

__all__ = ["Filler"]


class Filler(Probe):
    """Every word becomes "..."."""

    name: Literal["filler"] = "filler"
    CHANGES: ClassVar[str] = "as many dots as its rationale has words"
    SOURCE: ClassVar[str] = "Lanham et al., arXiv 2307.13702"

    def change(self, material: Material, random: Random) -> Changed | Skipped:
        del random
        return Changed(" ".join("..." for _ in material.rationale.split()))
