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
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

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
    PACE = frozenset(
        {
            "base_url",
            "endpoint",
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
    base_url: str | tuple[str, ...] = f"https://{_OFFICIAL}/v1"
    """The address, or several of servers that serve the same model and share the load."""
    endpoint: str | None = Field(None, min_length=1)
    """What the ledger keeps in place of `base_url`: needed for several addresses, useful for a server that
    moves. Set to the address that was asked so far, it keeps what was bought there."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; the key itself has no place in a recipe."""
    concurrency: int = Field(64, gt=0, le=4096)
    """Requests in flight at once. Over all addresses; fewer while a server is congested."""
    requests_per_minute: float | None = Field(None, gt=0)
    """A limit of the account, over all addresses."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """The same of prompt and answer together."""
    timeout_s: float = Field(120, gt=0)
    """Seconds for one attempt of one request."""
    total_timeout_s: float = Field(3600, gt=0)
    """Seconds for all attempts of one request, with the waits between them."""
    max_retries: int = Field(6, ge=0)
    chat: bool = True
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further body fields, such as {"top_k": 20}; null removes one that the server does not take, such
    as {"max_tokens": null, "max_completion_tokens": 512}. They enter the ledger's key."""

    @field_validator("base_url")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return _address(value)
        addresses = tuple(_address(address) for address in value)
        if not addresses or len(set(addresses)) < len(addresses):
            raise ValueError("base_url needs at least one address, and each only once")
        return addresses

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

    @model_validator(mode="after")
    def _named(self) -> Self:
        if len(self.urls) > 1 and self.endpoint is None:
            raise ValueError(
                "several addresses need a name for the ledger: set endpoint to any name, or to the address "
                "that was asked so far"
            )
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses that requests are posted to."""
        addresses = (self.base_url,) if isinstance(self.base_url, str) else self.base_url
        return tuple(address + self._path for address in addresses)

    @property
    def _path(self) -> str:
        return "/chat/completions" if self.chat else "/completions"

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        """The endpoint's name or else its address, the model, and any extra body fields: they change what
        it says. Which of several addresses answers, their order and their number do not matter."""
        revision = json.dumps(self.extra, sort_keys=True) if self.extra else ""
        address = self.urls[0] if self.endpoint is None else self.endpoint.rstrip("/") + self._path
        return Identity(address, self.model, revision)

    def build(self, model: Path | None) -> Completer:
        """Raises TeacherError when the official server is named and there is no key for it."""
        del model
        from understudy.teachers._client import Client
        from understudy.teachers._server import Server
        from understudy.teachers._wire import OpenAIDialect

        key = _key_from(os.environ, self.api_key_env)
        if not key and any(urlsplit(url).hostname == _OFFICIAL for url in self.urls):
            raise TeacherError(
                f"the teacher at {_OFFICIAL} needs a key: set the environment variable {self.api_key_env}"
            )
        if not key.isascii() or not key.isprintable():
            raise TeacherError(
                f"the key in {self.api_key_env} holds characters that no key has; set that variable again"
            )
        return Client(
            Server(
                identity=self.identity(),
                urls=self.urls,
                key=key,
                key_env=self.api_key_env,
                dialect=OpenAIDialect(self.model, self.chat, self.extra),
                concurrency=self.concurrency,
                timeout_s=self.timeout_s,
                total_timeout_s=self.total_timeout_s,
                max_retries=self.max_retries,
                requests_per_minute=self.requests_per_minute,
                tokens_per_minute=self.tokens_per_minute,
            )
        )


def _key_from(environment: Mapping[str, str], name: str) -> str:
    """The key without the newline that `export KEY=$(cat file)` or a Windows editor may have left."""
    return environment.get(name, "").strip()


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must look like https://host/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError("base_url must not carry a key; put it into the variable that api_key_env names")
    return value.rstrip("/")
