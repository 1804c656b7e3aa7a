"""gold_free: the rationale without the sentences that state the gold answer; the student must answer at once.

A student that is still right has worked the answer out, or did not need to read it. Numbers in words ("five")
are not looked for; an option is stated by its label in brackets or by its text. What is measured here is
never used to choose anything, so the gold of a test question may be looked at.
"""

from __future__ import annotations

import re
from random import Random
from typing import ClassVar, Literal

from understudy import answers
from understudy.audit.sentences import sentences
from understudy.probes._numbers import NUMBER
from understudy.roles import Changed, Material, Probe, Skipped
from understudy.types import LABELS

__all__ = ["GoldFree"]


class GoldFree(Probe):
    """What does not give the answer away."""

    name: Literal["gold_free"] = "gold_free"
    CHANGES: ClassVar[str] = "its rationale without the gold answer"

    def change(self, material: Material, random: Random) -> Changed | Skipped:
        del random
        text = material.rationale
        pieces = [text[start:end] for start, end in sentences(text)]
        kept = [piece for piece in pieces if not _states(piece, material)]
        if len(kept) == len(pieces):
            return Skipped("the rationale does not state the gold answer")
        return Changed(" ".join(kept))


def _states(sentence: str, material: Material) -> bool:
    question, gold = material.question, material.question.answer
    if question.choices and gold in LABELS[: len(question.choices)]:
        option = question.choices[LABELS.index(gold)]
        return f"({gold})" in sentence or _holds(sentence, option)
    if material.form == "number":
        number = answers.canonical(gold, "number")
        return any(answers.canonical(found, "number") == number for found in NUMBER.findall(sentence))
    return _holds(sentence, gold)


def _holds(sentence: str, words: str) -> bool:
    """As whole words, whatever their case and the space between them."""
    wanted = r"\s+".join(re.escape(word) for word in words.strip(" .").split())
    return bool(wanted) and re.search(rf"(?<!\w){wanted}(?!\w)", sentence, re.IGNORECASE) is not None
