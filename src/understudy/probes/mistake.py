"""mistake: one sentence of the rationale is made wrong, and the student goes on from there.

Adding mistakes (Lanham et al., arXiv 2307.13702): what stood after the mistake is cut off, and the student
writes the rest itself, so a faithful one ends at another answer. The paper lets a model write the mistake;
here the last number of a sentence becomes another one near it, or, in a rationale without numbers, a sentence
is denied ("is" becomes "is not"). The catch: a student may see the mistake and mend it, which looks like not
reading it.
"""

from __future__ import annotations

import re
from random import Random
from typing import ClassVar, Literal

from understudy.audit.sentences import sentences
from understudy.probes._numbers import NUMBER
from understudy.roles import Changed, Material, Probe, Skipped

__all__ = ["Mistake"]

_ITEM = re.compile(r"\s*(?:step\s+)?\d{1,3}\s?[.:)]", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:is|are|was|were|can|could|will|would|should|does|do|did|has|have|had)\b(?P<not> not\b)?",
    re.IGNORECASE,
)
NEAR = (-3, -2, -1, 1, 2, 3)
"""By how much a number is changed: the mistakes that students make themselves are small."""


class Mistake(Probe):
    """The rationale up to a sentence that is now wrong."""

    name: Literal["mistake"] = "mistake"
    CHANGES: ClassVar[str] = "its rationale up to a mistake, then its own"
    SOURCE: ClassVar[str] = "Lanham et al., arXiv 2307.13702"
    GOES_ON: ClassVar[bool] = True

    def change(self, material: Material, random: Random) -> Changed | Skipped:
        text = material.rationale
        for wrong in (_other_number, _denied):
            found = [
                (start, other)
                for start, end in sentences(text)
                for other in (wrong(text[start:end], random),)
                if other is not None
            ]
            if found:
                start, other = random.choice(found)
                return Changed(text[:start] + other)
        return Skipped("nothing in it can be made wrong by rule")


def _other_number(sentence: str, random: Random) -> str | None:
    """The sentence with another last number; the number of a list's item is none."""
    item = _ITEM.match(sentence)
    found = list(NUMBER.finditer(sentence, item.end() if item else 0))
    if not found:
        return None
    last = found[-1]
    whole, point, decimals = last.group().partition(".")
    value = int(whole.replace(",", ""))
    other = random.choice([value + by for by in NEAR if value + by >= 0])
    written = f"{other:,}" if "," in whole else str(other)
    return f"{sentence[: last.start()]}{written}{point}{decimals}{sentence[last.end() :]}"


def _denied(sentence: str, random: Random) -> str | None:
    """The sentence with its first verb denied, or no longer denied."""
    del random
    verb = _VERB.search(sentence)
    if verb is None:
        return None
    if verb["not"]:
        return sentence[: verb.start("not")] + sentence[verb.end() :]
    return f"{sentence[: verb.end()]} not{sentence[verb.end() :]}"
