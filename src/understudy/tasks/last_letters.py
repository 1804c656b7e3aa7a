"""Last-letter concatenation (Wei et al.), generated as Magister et al. do: train on two words, test on more.

    Take the last letters of the words in "Elena Moore" and concatenate them.    ->    ae

Splits train, dev and test have two words; test_3 and test_4 are out of distribution. `Question.rationale` is
programmatic. The catch: the splits share single names, but no question: a hash of the question decides its
split, whatever the seed.
"""

from __future__ import annotations

from understudy.tasks._letters import letters_task

__all__ = ["last_letters"]

last_letters = letters_task(
    "last_letters",
    "Last-letter concatenation (generated)",
    counts={"train": 2000, "dev": 200, "test": 500, "test_3": 500, "test_4": 500},
    words={"train": (2,), "dev": (2,), "test": (2,), "test_3": (3,), "test_4": (4,)},
)
