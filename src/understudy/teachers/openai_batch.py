"""A provider's batch service as the teacher: half the price of `openai`, and an answer within a day.

It is the same model behind the same address, so the ledger is shared with `openai`: what one has bought, the
other does not buy again. A killed run finds its batches again by the notes in `state`. The catch: nothing
comes back for minutes or hours, and another machine or user does not know of batches on their way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from understudy.roles import Apprenticeship, Completer, Identity, Teacher
from understudy.teachers._checks import checked, key_from
from understudy.teachers.openai import OpenAI

__all__ = ["OpenAIBatch"]


class OpenAIBatch(Teacher):
    """A model behind /files and /batches, as OpenAI has them."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: Literal["openai_batch"] = "openai_batch"
    PACE = frozenset(
        {
            "requests_per_file",
            "bytes_per_file",
            "concurrency",
            "poll_s",
            "timeout_s",
            "max_retries",
            "state",
            "api_key_env",
        }
    )
    model: str = Field(min_length=1)
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; the key itself has no place in a recipe."""
    chat: bool = True
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further body fields, as for `openai`."""
    requests_per_file: int = Field(50_000, gt=0)
    """The provider's limits for one file: OpenAI's as of 2026."""
    bytes_per_file: int = Field(200_000_000, gt=0)
    concurrency: int = Field(16, gt=0)
    """Batches that run at once. A provider may limit the tokens that wait in all of them."""
    poll_s: float = Field(30, gt=0)
    """Seconds between two looks at first; they become longer while nothing changes."""
    timeout_s: float = Field(120, gt=0)
    """Seconds of silence after which a call has failed."""
    max_retries: int = Field(8, ge=0)
    state: Path | None = None
    """The folder for notes of batches on their way; when absent, one in the user's cache folder."""

    @model_validator(mode="after")
    def _as_openai(self) -> OpenAIBatch:
        checked(self._live)
        return self

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        """That of the `openai` teacher with the same fields."""
        return self._live().identity()

    def build(self, model: Path | None) -> Completer:
        del model
        from understudy.store import digest
        from understudy.teachers._batch import BatchClient, Plan
        from understudy.teachers._notes import Notes
        from understudy.teachers._provider import Provider
        from understudy.teachers._wire import OpenAIDialect

        identity = self.identity()
        provider = Provider(
            identity=identity,
            base_url=self.base_url.rstrip("/"),
            key=key_from(self.api_key_env),
            key_env=self.api_key_env,
            timeout_s=self.timeout_s,
            max_retries=self.max_retries,
        )
        plan = Plan(
            OpenAIDialect(self.model, self.chat, self.extra),
            self.requests_per_file,
            self.bytes_per_file,
            self.concurrency,
            self.poll_s,
        )
        folder = self.state or _cache() / "batches"
        return BatchClient(provider, Notes(folder / digest(identity.endpoint)[:16]), plan)

    def _live(self) -> OpenAI:
        return OpenAI(
            model=self.model,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            chat=self.chat,
            extra=self.extra,
        )


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"
