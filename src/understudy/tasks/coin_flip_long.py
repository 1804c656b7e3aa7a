"""Coin flip (Wei et al.) with two to four people in train, and five to eight out of distribution.

    A coin is heads up. Omar flips the coin. Greta does not flip the coin. Is the coin still heads up?  ->  no

Splits train, dev and test have two, three and four people in turn; test_5 to test_8 are longer than anything
that was trained on. The rest is as in `coin_flip`, whose questions are drawn by themselves.
"""

from __future__ import annotations

from understudy.tasks._coin import coin_task

__all__ = ["coin_flip_long"]

SEEN = (2, 3, 4)
UNSEEN = {f"test_{people}": (people,) for people in (5, 6, 7, 8)}

coin_flip_long = coin_task(
    "coin_flip_long",
    "Coin flip, two to four people (generated)",
    counts={"train": 2001, "dev": 201, "test": 501, **dict.fromkeys(UNSEEN, 500)},
    people={"train": SEEN, "dev": SEEN, "test": SEEN, **UNSEEN},
)
