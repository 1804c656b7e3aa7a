"""Coin flip (Wei et al.), generated as Magister et al. do: train on two people, test on three and four.

    A coin is heads up. Omar flips the coin. Greta does not flip the coin. Is the coin still heads up?  ->  no

Splits train, dev and test have two people; test_3 and test_4 are out of distribution. `Question.rationale` is
programmatic and follows the coin. The catch: half of the answers are "yes", so guessing scores 50 %. A hash
of the question decides its split, so no question is shared by two splits, whatever the seed.
"""

from __future__ import annotations

from understudy.tasks._coin import coin_task

__all__ = ["coin_flip"]

coin_flip = coin_task(
    "coin_flip",
    "Coin flip (generated)",
    counts={"train": 2000, "dev": 200, "test": 500, "test_3": 500, "test_4": 500},
    people={"train": (2,), "dev": (2,), "test": (2,), "test_3": (3,), "test_4": (4,)},
)
