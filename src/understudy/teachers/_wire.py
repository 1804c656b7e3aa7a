"""What goes over the wire to an OpenAI-compatible server, and what comes back: no network in this file.

Servers differ in more than their documents say: choices without content, content in parts, reasoning in its
own field or between marks, an HTML page from a proxy, an error under status 200. All that can be read is
read; the rest becomes a `Fault` that says whether trying again may help.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.teachers._faults import Fault, fault, unreadable
from understudy.teachers._reasoning import apart
from understudy.types import Completion, FinishReason, Request, Sampling

RESERVED = frozenset({"model", "messages", "prompt", "n", "stream"})
"""Body fields that a recipe cannot set: they decide what is asked, or how the answer is framed."""

_LARGEST_COUNT = 2**53
_CUT_OFF = ("length", "max_tokens", "model_length")


class Dialect(Protocol):
    """How one kind of server is spoken to. A value without state: one serves all requests."""

    @property
    def several(self) -> bool:
        """Whether one request may ask for several samples."""
        ...

    def headers(self, key: str) -> Mapping[str, str]:
        """What goes with every request. The key is empty where there is none."""
        ...

    def body(self, request: Request, samples: Sequence[int], sampling: Sampling) -> Mapping[str, Any]: ...

    def read(
        self, status: int, headers: Mapping[str, str], text: str, request: Request, samples: Sequence[int]
    ) -> list[Completion] | Fault:
        """The completions in a reply, at most one for each of `samples` but perhaps fewer; or a fault.

        `raw` of each is the whole text: samples that were drawn together share it.
        """
        ...


@dataclass(frozen=True, slots=True)
class OpenAIDialect:
    """/chat/completions, or /completions with `chat` false."""

    model: str
    chat: bool
    extra: Mapping[str, Any]
    several: bool = True

    def headers(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, request: Request, samples: Sequence[int], sampling: Sampling) -> dict[str, Any]:
        return body(self.model, request, samples, sampling, self.chat, self.extra)

    def read(
        self, status: int, headers: Mapping[str, str], text: str, request: Request, samples: Sequence[int]
    ) -> list[Completion] | Fault:
        return read(status, headers, text, request, samples)


def body(
    model: str,
    request: Request,
    samples: Sequence[int],
    sampling: Sampling,
    chat: bool,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON body. A null in `extra` removes a field, for servers that refuse one of ours.

    A seed is moved on by the first sample's index: without that, samples 4 to 7, bought later, would
    repeat samples 0 to 3.
    """
    fields: dict[str, Any] = {"model": model}
    if chat:
        fields["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    else:
        fields["prompt"] = "\n\n".join(message.content for message in request.messages)
    fields["temperature"] = sampling.temperature
    fields["top_p"] = sampling.top_p
    fields["max_tokens"] = sampling.max_tokens
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        fields["seed"] = sampling.seed + samples[0]
    if len(samples) > 1:
        fields["n"] = len(samples)
    if not extra:
        return fields
    return {name: value for name, value in {**fields, **extra}.items() if value is not None}


def read(
    status: int, headers: Mapping[str, str], text: str, request: Request, samples: Sequence[int]
) -> list[Completion] | Fault:
    """The completions in a reply, at most one for each of `samples` but perhaps fewer; or a fault."""
    if not 200 <= status < 300:
        return fault(status, headers, text)
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return unreadable("is not JSON", text)
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices:
        return _without_choices(reply, headers, text)
    asked = [choice for choice in choices[: len(samples)] if isinstance(choice, dict)]
    if len(asked) < min(len(choices), len(samples)):
        return unreadable("holds a malformed choice", text)
    if any(choice.get("finish_reason") == "error" for choice in asked):
        return unreadable("holds a choice that failed", text)
    prompt_tokens, completion_tokens = usage(reply.get("usage"), "prompt_tokens", "completion_tokens")
    share, left = divmod(completion_tokens, len(asked))
    completions = []
    for at, choice in enumerate(asked):
        thought, said = _said(choice)
        completions.append(
            Completion(
                question_id=request.question.id,
                sample=samples[at],
                text=said,
                finish_reason=_finish(choice.get("finish_reason")),
                # A server counts the prompt once, however many samples it draws from it.
                prompt_tokens=prompt_tokens if at == 0 else 0,
                completion_tokens=share + (at < left),
                reasoning=thought,
                raw=text,
                cached_tokens=min(_cached(reply.get("usage")), prompt_tokens) if at == 0 else 0,
            )
        )
    return completions


def usage(counts: object, prompt: str, completion: str) -> tuple[int, int]:
    """Tokens of prompt and completion under the names a server gives them; 0 where it gives no number."""
    if not isinstance(counts, dict):
        return 0, 0
    numbers = (counts.get(prompt), counts.get(completion))
    one, other = (n if isinstance(n, int) and 0 < n < _LARGEST_COUNT else 0 for n in numbers)
    return int(one), int(other)


def _cached(counts: object) -> int:
    """Tokens of the prompt that the server had in its cache, as OpenAI and those after it say it."""
    details = counts.get("prompt_tokens_details") if isinstance(counts, dict) else None
    return usage(details, "cached_tokens", "")[0]


def _said(choice: Mapping[str, Any]) -> tuple[str, str]:
    """(reasoning, answer) of a choice."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return apart(_text(choice.get("text")))
    content = message.get("content")
    thought, text = apart(_text(content) or _text(message.get("refusal")))
    given = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or _thinking(content)
    return given or thought, text


def _text(content: object) -> str:
    """Content as text: servers send a string, null, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return ""


def _thinking(content: object) -> str:
    """The parts of type "thinking" that Mistral sends beside the text."""
    if not isinstance(content, list):
        return ""
    return "".join(_text(part.get("thinking")) for part in content if isinstance(part, dict))


def _finish(reason: object) -> FinishReason:
    if reason in _CUT_OFF:
        return "length"
    return "content_filter" if isinstance(reason, str) and "content_filter" in reason else "stop"


def _without_choices(reply: object, headers: Mapping[str, str], text: str) -> Fault:
    """An error under status 200, as routers send it, has the status in its code; else it may pass."""
    error = reply.get("error") if isinstance(reply, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:
        return fault(code, headers, text)
    return unreadable("holds no choices", text)
