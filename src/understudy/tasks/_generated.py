"""What the generated tasks share: randomness that a split's name decides, and buckets that keep splits apart.

The catch: Python's own `hash` differs from process to process, so it decides nothing here.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

from understudy.errors import DataError
from understudy.roles import Source
from understudy.rows import NoSplitError


def check(task: str, split: str, splits: Iterable[str], source: Source) -> None:
    """Raise DataError for a split that is not there, or for a file: there is none to read."""
    if split not in splits:
        raise NoSplitError(f"the task '{task}' has no split '{split}'; there are {', '.join(splits)}")
    if source.path is not None or source.columns or source.form:
        raise DataError(
            f"the task '{task}' is generated; leave task.path, task.columns and task.form out, "
            "or use the task 'jsonl'"
        )


def stream(task: str, split: str, seed: int) -> random.Random:
    """The random numbers of one split: the same on every machine, whatever else was loaded before."""
    return random.Random(f"{task}/{split}/{seed}")  # noqa: S311 - not for secrets


def bucket(key: str, of: int) -> int:
    """A number in [0, of) that only `key` decides: who shares no bucket shares no key."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") % of


BUCKETS = {"dev": range(2), "test": range(2, 6), "train": range(6, 20)}
"""Of 20 buckets of questions, those of each split whose questions are alike. Splits of other lengths cannot
meet them."""
