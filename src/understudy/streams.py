"""Streams that are read only as far as they are worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")

WINDOW = 8192
"""Requests that a model on this machine sorts by length at a time: little padding, and little memory."""


def windows(items: Iterable[Item], size: int = WINDOW) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter; nothing is read before its window is asked for."""
    stream = iter(items)
    while window := list(islice(stream, size)):
        yield window
