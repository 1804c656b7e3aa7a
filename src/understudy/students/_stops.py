"""Whether a stop string has come in what is being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Stops:
    """The stop strings of one asking. Empty ones are none."""

    def __init__(self, codec: Any, stops: Sequence[str]) -> None:
        self.texts = [stop for stop in stops if stop]
        self._codec = codec
        # A character can take several tokens, and no stop string is longer than this.
        self._window = 8 + 4 * max(map(len, self.texts), default=0)

    def came(self, new: Sequence[int]) -> bool:
        """Whether one is in the text of these ids. The end is looked at first, for that is quick."""
        return bool(self.texts) and self._in(new[-self._window :]) and self._in(new)

    def _in(self, ids: Sequence[int]) -> bool:
        text = self._codec.decode(ids)
        return any(stop in text for stop in self.texts)
