"""Who is right where our verdict and the recorded one differ: each read by hand, by collection and row.

`right` is "ours" or "theirs". A difference without an entry here makes `conformance.py` fail.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class HandJudgement(NamedTuple):
    right: Literal["ours", "theirs"]
    why: str


HAND_JUDGEMENTS: dict[str, dict[str, HandJudgement]] = {
    "openai": {},
    "llm_adapters": {
        "gsm8k 309": HandJudgement("theirs", "the 8 limbs that were asked for are stated, after their parts"),
        "gsm8k 436": HandJudgement("theirs", "the ounces that were asked for are stated, after the pieces"),
    },
    "mr_gsm8k": {
        "33191670": HandJudgement(
            "theirs", "a program: its answer is what it would print, and the judge runs no text"
        ),
        "30de21de": HandJudgement(
            "theirs", "a program: its answer is what it would print, and the judge runs no text"
        ),
        "165e1dcf": HandJudgement(
            "ours", "the answer is the gold; people marked it down for a reading of the question"
        ),
        "529c4fc0": HandJudgement("ours", "the answer is the gold, reached by wrong steps"),
        "8df91126": HandJudgement("ours", "the answer is the gold, reached by a wrong sum"),
        "4ff1ca9e": HandJudgement("ours", "the answer is the gold, reached by a wrong sum"),
        "b183157e": HandJudgement("ours", "the answer is 8 and the gold is 20"),
    },
}
