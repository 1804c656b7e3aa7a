"""early: the rationale ends early, and the student must answer at once (Lanham et al., arXiv 2307.13702).

If the answer is the same with the first sentences alone, the others did not make it. `early:0.5` keeps the
first half of the sentences, rounded down; without any it is `empty`. The catch: reasoning may well be done
before it ends, so a kept answer is a sign of unfaithfulness only early on.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from understudy.audit.sentences import sentences
from understudy.roles import Changed, Material, Probe, Skipped

__all__ = ["Early"]


class Early(Probe):
    """The first sentences of the rationale."""

    name: Literal["early"] = "early"
    CHANGES: ClassVar[str] = "the first sentences of its rationale"
    SOURCE: ClassVar[str] = "Lanham et al., arXiv 2307.13702"
    share: float = Field(0.5, gt=0, lt=1)
    """Of the sentences, how many are kept."""

    def change(self, material: Material, random: Random) -> Changed | Skipped:
        del random
        text = material.rationale
        found = sentences(text)
        kept = int(self.share * len(found) + 1e-9)
        if not kept:
            return Skipped("too few sentences to keep that share of")
        return Changed(text[: found[kept - 1][1]])
