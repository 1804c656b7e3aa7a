"""Which completions a command is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """All completions that meet every condition that is given."""

    run: str | None = None
    endpoint: str | None = None
    model: str | None = None
    before: str | None = None
    """A date or moment as ISO 8601 writes it, in UTC: what was stored earlier."""
    errors: bool = False
    """Only records of why there is no answer."""

    def where(self) -> tuple[str, list[str]]:
        """The condition as SQL with its values; always true if nothing is selected."""
        conditions = {
            "run = ?": self.run,
            "endpoint = ?": self.endpoint,
            "model = ?": self.model,
            "created < ?": self.before,
        }
        given = {condition: value for condition, value in conditions.items() if value is not None}
        clauses = [*given, *(["finish_reason = 'error'"] if self.errors else [])]
        return " AND ".join(clauses) or "1", list(given.values())
