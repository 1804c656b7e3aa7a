"""Last-letter concatenation (Wei et al.): two to four words in train, five to eight out of distribution.

    Take the last letters of the words in "Elena Moore" and concatenate them.    ->    ae

Splits train, dev and test have two, three and four words in turn; test_5 to test_8 are longer than anything
that was trained on. The rest is as in `last_letters`, whose questions are drawn by themselves.
"""

from __future__ import annotations

from understudy.tasks._letters import letters_task

__all__ = ["last_letters_long"]

SEEN = (2, 3, 4)
UNSEEN = {f"test_{words}": (words,) for words in (5, 6, 7, 8)}

last_letters_long = letters_task(
    "last_letters_long",
    "Last-letter concatenation, two to four words (generated)",
    counts={"train": 2001, "dev": 201, "test": 501, **dict.fromkeys(UNSEEN, 500)},
    words={"train": SEEN, "dev": SEEN, "test": SEEN, **UNSEEN},
)
