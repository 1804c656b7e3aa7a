"""Any OpenAI-compatible server as the teacher: OpenAI, vLLM, llama.cpp, Ollama, and most others.

Requests run side by side and answers stream out as they land. The key is read from the environment
variable that the recipe names and is cut out of everything a server says. The catch: whatever
`api_key_env` names is sent to `base_url`, so name another variable for another server.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from understudy.errors import TeacherError
from understudy.roles import Apprenticeship, Completer, Identity, Teacher
from understudy.teachers._wire import RESERVED

__all__ = ["OpenAI"]

_OFFICIAL = "api.openai.com"
_SECRET = re.compile(r"api[-_]?key|authorization|secret|password|bearer|\bsk-", re.IGNORECASE)


class OpenAI(Teacher):
    """A model behind /chat/completions, or behind /completions with `chat: false`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: Literal["openai"] = "openai"
    model: str = Field(min_length=1)
    base_url: str = f"https://{_OFFICIAL}/v1"
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; the key itself has no place in a recipe."""
    concurrency: int = Field(64, gt=0, le=4096)
    """Requests in flight at once."""
    timeout_s: float = Field(120, gt=0)
    """Seconds for one attempt of one request."""
    max_retries: int = Field(6, ge=0)
    chat: bool = True
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further body fields, such as {"top_k": 20}; null removes one that the server does not take, such
    as {"max_tokens": null, "max_completion_tokens": 512}. They enter the ledger's key."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must look like https://host/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("base_url must not carry a key; put it into the variable that api_key_env names")
        return value.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _variable(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", value):
            raise ValueError(
                "api_key_env takes the name of an environment variable in capitals, such as OPENAI_API_KEY, "
                "never the key itself"
            )
        return value

    @field_validator("extra")
    @classmethod
    def _body(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(RESERVED & value.keys())
        if taken:
            raise ValueError(f"extra cannot set {', '.join(taken)}")
        if _SECRET.search(json.dumps(value)):
            raise ValueError("extra must not carry a key; put it into the variable that api_key_env names")
        return value

    @property
    def url(self) -> str:
        return f"{self.base_url}/chat/completions" if self.chat else f"{self.base_url}/completions"

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
        from understudy.teachers._client import Client, Server

        key = _key_from(os.environ, self.api_key_env)
        if not key and urlsplit(self.base_url).hostname == _OFFICIAL:
            raise TeacherError(
                f"the teacher at {self.base_url} needs a key: set the environment variable {self.api_key_env}"
            )
        return Client(
            Server(
                identity=self.identity(),
                key=key,
                key_env=self.api_key_env,
                chat=self.chat,
                extra=self.extra,
                concurrency=self.concurrency,
                timeout_s=self.timeout_s,
                max_retries=self.max_retries,
            )
        )


def _key_from(environment: Mapping[str, str], name: str) -> str:
    """The key without the newline that `export KEY=$(cat file)` or a Windows editor may have left."""
    return environment.get(name, "").strip()
