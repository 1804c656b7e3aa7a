"""Claude behind Anthropic's Messages API as the teacher, by the same client as `openai`.

Thinking comes apart from the text and is never trained on by default. The catch is sampling: newer models
refuse any temperature or top_p, so the recipe's are sent only where they differ from the API's own (1); with
such a model write `temperature: 1`. Several samples are several requests, and a seed is not sent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from understudy.errors import TeacherError
from understudy.roles import Apprenticeship, Completer, Identity, Teacher
from understudy.teachers._checks import checked, key_from
from understudy.teachers.openai import OpenAI

__all__ = ["Anthropic"]

_OFFICIAL = "https://api.anthropic.com/v1"


class Anthropic(Teacher):
    """A model behind /messages."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: Literal["anthropic"] = "anthropic"
    PACE = frozenset(
        {
            "concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "timeout_s",
            "total_timeout_s",
            "max_retries",
            "api_key_env",
        }
    )
    model: str = Field(min_length=1)
    base_url: str = _OFFICIAL
    api_key_env: str = "ANTHROPIC_API_KEY"
    """The environment variable that holds the key; the key itself has no place in a recipe."""
    concurrency: int = Field(64, gt=0, le=4096)
    """Requests in flight at once, at most."""
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    """Of prompts and answers together; what the server's headers say counts as well."""
    timeout_s: float = Field(600, gt=0)
    """Seconds for one attempt of one request."""
    total_timeout_s: float = Field(3600, gt=0)
    """Seconds for one request with all its attempts."""
    max_retries: int = Field(6, ge=0)
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further body fields, such as {"thinking": {"type": "adaptive"}}; null removes one of ours. They enter
    the ledger's key."""

    @model_validator(mode="after")
    def _as_openai(self) -> Anthropic:
        """The address, the variable and the body are held to the rules of `openai`."""
        if "system" in self.extra:
            raise ValueError("extra cannot set system; the recipe's prompt does")
        checked(
            lambda: OpenAI(
                model=self.model, base_url=self.base_url, api_key_env=self.api_key_env, extra=self.extra
            )
        )
        return self

    @property
    def url(self) -> str:
        return f"{self.base_url.rstrip('/')}/messages"

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        """The address asked, the model, and any extra body fields: they change what it says."""
        return Identity(self.url, self.model, json.dumps(self.extra, sort_keys=True) if self.extra else "")

    def build(self, model: Path | None) -> Completer:
        """Raises TeacherError when the official server is named and there is no key for it."""
        del model
        from understudy.teachers._client import Client
        from understudy.teachers._messages import MessagesDialect
        from understudy.teachers._server import Server

        key = key_from(self.api_key_env)
        if not key and self.base_url == _OFFICIAL:
            raise TeacherError(
                f"the teacher at {self.base_url} needs a key: set the environment variable {self.api_key_env}"
            )
        return Client(
            Server(
                identity=self.identity(),
                urls=(self.url,),
                key=key,
                key_env=self.api_key_env,
                dialect=MessagesDialect(self.model, self.extra),
                concurrency=self.concurrency,
                timeout_s=self.timeout_s,
                total_timeout_s=self.total_timeout_s,
                max_retries=self.max_retries,
                requests_per_minute=self.requests_per_minute,
                tokens_per_minute=self.tokens_per_minute,
            )
        )
