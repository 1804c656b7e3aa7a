"""Who wrote what is curated: one teacher, or several of whom each was asked about its own questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.types import Completion

COUNTED = ("annotated", "n", "correct", "kept", "questions_kept")


class Authors:
    """The teacher of every question; of several, also what became of what each has written."""

    def __init__(self, teacher: str | Mapping[str, str]) -> None:
        self._teacher = teacher
        self._counts: dict[str, dict[str, int]] = {}
        if not isinstance(teacher, str):
            self._counts = {name: dict.fromkeys(COUNTED, 0) for name in sorted(set(teacher.values()))}

    def name(self, question_id: str) -> str:
        return self._teacher if isinstance(self._teacher, str) else self._teacher[question_id]

    def count(self, question_id: str, **counts: int) -> None:
        """Add to what is counted of whoever answered the question; nothing where there is one teacher."""
        if self._counts:
            mine = self._counts[self.name(question_id)]
            for what, number in counts.items():
                mine[what] += number

    def counts(self) -> dict[str, dict[str, int]]:
        return self._counts


def authors(annotated: Mapping[str, Sequence[Completion]]) -> dict[str, str]:
    """Question id -> the label of the teacher that answered it."""
    return {said.question_id: label for label, completions in annotated.items() for said in completions}
