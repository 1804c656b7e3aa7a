"""Any of the hundred providers that the library litellm knows, as the teacher (extra: `understudy[litellm]`).

The model is named as litellm names it, such as `gemini/gemini-2.5-flash`, and litellm finds the key in the
environment. The catch is speed: it takes several times longer for a request than `openai`, so use that for
every server that speaks OpenAI's language, and `anthropic` for Claude.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from understudy.errors import TeacherError
from understudy.roles import Apprenticeship, Completer, Identity, Teacher
from understudy.teachers._checks import checked, key_from
from understudy.teachers._wire import OpenAIDialect
from understudy.teachers.openai import OpenAI

__all__ = ["LiteLLM"]

_RESERVED = ("api_base", "base_url", "custom_llm_provider", "mock_response", "num_retries", "timeout")


class LiteLLM(Teacher):
    """A model behind `litellm.acompletion`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: Literal["litellm"] = "litellm"
    PACE = frozenset({"concurrency", "timeout_s", "max_retries", "api_key_env"})
    model: str = Field(min_length=1)
    """Provider and model, such as gemini/gemini-2.5-flash."""
    base_url: str | None = None
    """Another address than the provider's own."""
    api_key_env: str | None = None
    """The environment variable that holds the key, where it is not the one that litellm looks for."""
    concurrency: int = Field(64, gt=0, le=4096)
    """Requests in flight at once."""
    timeout_s: float = Field(120, gt=0)
    """Seconds for one attempt of one request."""
    max_retries: int = Field(6, ge=0)
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further arguments, such as {"reasoning_effort": "low"}; null removes one of ours. They enter the
    ledger's key."""

    @model_validator(mode="after")
    def _as_openai(self) -> LiteLLM:
        """The address, the variable and the body are held to the rules of `openai`."""
        given = {"base_url": self.base_url, "api_key_env": self.api_key_env}
        named = {name: value for name, value in given.items() if value is not None}
        checked(lambda: OpenAI.model_validate({"model": self.model, "extra": self.extra, **named}))
        taken = sorted(self.extra.keys() & set(_RESERVED))
        if taken:
            raise ValueError(f"extra cannot set {', '.join(taken)}")
        return self

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        """The address or litellm, the model, and any extra arguments: they change what it says."""
        extra = json.dumps(self.extra, sort_keys=True) if self.extra else ""
        return Identity((self.base_url or "litellm").rstrip("/"), self.model, extra)

    def build(self, model: Path | None) -> Completer:
        """Raises TeacherError when litellm is not installed."""
        del model
        from understudy.teachers._litellm import LiteLLMClient, Provider

        # Prices are not ours to look up, so that importing it needs no network.
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        try:
            library = importlib.import_module("litellm")
        except ModuleNotFoundError as error:
            raise TeacherError(
                f"the teacher litellm needs the module '{error.name}', which is not installed; "
                "pip install 'understudy[litellm]'"
            ) from error
        library.suppress_debug_info = True  # type: ignore[attr-defined]  # it prints advice for every error
        settings: dict[str, Any] = {"timeout": self.timeout_s, "num_retries": 0, "max_retries": 0}
        if self.base_url:
            settings["api_base"] = self.base_url.rstrip("/")
        if self.api_key_env:
            settings["api_key"] = self._key(self.api_key_env)
        return LiteLLMClient(
            Provider(
                identity=self.identity(),
                ask=library.acompletion,
                settings=settings,
                key_env=self.api_key_env or "of its provider",
                dialect=OpenAIDialect(self.model, chat=True, extra=self.extra),
                concurrency=self.concurrency,
                max_retries=self.max_retries,
            )
        )

    def _key(self, variable: str) -> str:
        key = key_from(variable)
        if not key:
            raise TeacherError(
                f"the teacher {self.model} needs a key: set the environment variable {variable}"
            )
        return key
