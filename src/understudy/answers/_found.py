"""What a reader of one answer form hands back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """An answer at [start, end), or `answer` None with the reason why what stands there is none."""

    answer: str | None
    start: int
    end: int
    rule: str = ""
    reason: str = ""
