"""Anthropic's Messages API over the wire: what is sent, and what is made of a reply. No network in this file.

    {"content": [{"type": "thinking", "thinking": "2 + 2 ..."}, {"type": "text", "text": "4"}],
     "stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 5}}

The API takes no seed and draws one sample per request. The catch is temperature: newer models refuse any,
so a value that is the API's own default is not sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.teachers._faults import Fault, fault, unreadable
from understudy.teachers._wire import usage
from understudy.types import Completion, FinishReason, Request, Sampling

VERSION = "2023-06-01"
"""The version of the API in which older models still take a temperature."""
_DEFAULT = 1.0
"""The API's own temperature and top_p."""
_STORED, _CACHED = "cache_creation_input_tokens", "cache_read_input_tokens"
_SPENT = ("enforced_spend_limit_reached", "specified api usage limits")
_FINISH: Mapping[object, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


@dataclass(frozen=True, slots=True)
class MessagesDialect:
    """/messages. See `_wire.Dialect`."""

    model: str
    extra: Mapping[str, Any]
    several: bool = False

    def headers(self, key: str) -> Mapping[str, str]:
        return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})

    def body(self, request: Request, samples: Sequence[int], sampling: Sampling) -> dict[str, Any]:
        """A null in `extra` removes a field."""
        del samples
        system = [message.content for message in request.messages if message.role == "system"]
        said = [{"role": m.role, "content": m.content} for m in request.messages if m.role != "system"]
        fields: dict[str, Any] = {"model": self.model, "max_tokens": sampling.max_tokens, "messages": said}
        if system:
            fields["system"] = "\n\n".join(system)
        if sampling.temperature != _DEFAULT:
            fields["temperature"] = sampling.temperature
        if sampling.top_p != _DEFAULT:
            fields["top_p"] = sampling.top_p
        if sampling.stop:
            fields["stop_sequences"] = list(sampling.stop)
        return {name: value for name, value in (fields | dict(self.extra)).items() if value is not None}

    def read(
        self, status: int, headers: Mapping[str, str], text: str, request: Request, samples: Sequence[int]
    ) -> list[Completion] | Fault:
        if not 200 <= status < 300:
            return _fault(status, headers, text)
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError):
            return unreadable("is not JSON", text)
        blocks = reply.get("content") if isinstance(reply, dict) else None
        if not isinstance(blocks, list):
            return unreadable("holds no content", text)
        prompt, completion = usage(reply.get("usage"), "input_tokens", "output_tokens")
        stored, cached = usage(reply.get("usage"), _STORED, _CACHED)
        return [
            Completion(
                question_id=request.question.id,
                sample=samples[0],
                text="".join(_parts(blocks, "text")),
                finish_reason=_FINISH.get(reply.get("stop_reason"), "stop"),
                prompt_tokens=prompt + stored + cached,
                completion_tokens=completion,
                reasoning="\n\n".join(_parts(blocks, "thinking")),
                raw=text,
                cached_tokens=cached,
            )
        ]


def _parts(blocks: Sequence[object], kind: str) -> list[str]:
    """The texts of the blocks of one kind, which hold them under that kind's name."""
    found = [block.get(kind) for block in blocks if isinstance(block, dict) and block.get("type") == kind]
    return [text for text in found if isinstance(text, str)]


def _fault(status: int, headers: Mapping[str, str], text: str) -> Fault:
    """A spent allowance looks like a moment's limit or like a bad request, but no retry mends it today."""
    found = fault(status, headers, text)
    if any(words in text.lower() for words in _SPENT):
        return replace(found, kind="credit")
    if status == 413:
        return replace(found, kind="too_long")
    return found
