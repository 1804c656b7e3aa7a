"""What goes over the wire to an OpenAI-compatible server, and what comes back: no network in this file.

Servers differ in more than their documents say: choices without content, content in parts, reasoning
in its own field or between <think> marks, an HTML page from a proxy, an error under status 200. All
that can be read is read; the rest becomes a `Fault` that says whether trying again may help.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from understudy.types import Completion, FinishReason, Request, Sampling

RESERVED = frozenset({"model", "messages", "prompt", "n", "stream"})
"""Body fields that a recipe cannot set: they decide what is asked, or how the answer is framed."""

_RETRIED = frozenset({408, 409, 425, 429})
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no answer. `wait_s` is what the server asked for by Retry-After, in seconds."""

    kind: Literal["retry", "refused", "key", "missing", "credit", "too_long", "content_filter", "rejected"]
    detail: str
    wait_s: float = 0.0


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
    fields |= {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        fields["seed"] = sampling.seed + samples[0]
    if len(samples) > 1:
        fields["n"] = len(samples)
    fields |= extra
    return {name: value for name, value in fields.items() if value is not None}


def read(
    status: int, headers: Mapping[str, str], text: str, request: Request, samples: Sequence[int]
) -> list[Completion] | Fault:
    """The completions in a reply, at most one for each of `samples` but perhaps fewer; or a fault."""
    if status != 200:
        return _fault(status, headers, text)
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return Fault("retry", f"the reply is not JSON: {_short(text)}")
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices:
        return Fault("retry", f"the reply holds no choices: {_short(text)}")
    asked = [choice for choice in choices[: len(samples)] if isinstance(choice, dict)]
    if len(asked) < min(len(choices), len(samples)):
        return Fault("retry", f"the reply holds a malformed choice: {_short(text)}")
    prompt_tokens, completion_tokens = _usage(reply.get("usage"))
    share, left = divmod(completion_tokens, len(asked))
    return [
        _completion(
            choice,
            request,
            samples[at],
            # A server counts the prompt once, however many samples it draws from it.
            prompt_tokens if at == 0 else 0,
            share + (at < left),
        )
        for at, choice in enumerate(asked)
    ]


def _completion(
    choice: Mapping[str, Any], request: Request, sample: int, prompt_tokens: int, completion_tokens: int
) -> Completion:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice.get("text")}
    content = _text(message.get("content")) or _text(message.get("refusal"))
    thought, text = _thought(content)
    reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or thought
    return Completion(
        question_id=request.question.id,
        sample=sample,
        text=text,
        finish_reason=_finish(choice.get("finish_reason")),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        reasoning=reasoning,
    )


def _text(content: object) -> str:
    """Content as text: servers send a string, null, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return ""


def _thought(content: str) -> tuple[str, str]:
    """Split "<think>a</think>b" into a and b. The opening mark may be missing (chat templates write
    it themselves), and so may the closing one (the answer was cut off while thinking)."""
    before, closed, after = content.partition("</think>")
    if closed:
        return before.strip().removeprefix("<think>").strip(), after.lstrip()
    if content.lstrip().startswith("<think>"):
        return content.lstrip().removeprefix("<think>").strip(), ""
    return "", content


def _finish(reason: object) -> FinishReason:
    if reason in ("length", "max_tokens"):
        return "length"
    return "content_filter" if reason == "content_filter" else "stop"


def _usage(usage: object) -> tuple[int, int]:
    if not isinstance(usage, dict):
        return 0, 0
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    return prompt, completion


def _fault(status: int, headers: Mapping[str, str], text: str) -> Fault:
    """What an HTTP error means. Codes come first: servers disagree about the status of a full context."""
    code, message = _error(text)
    detail = f"HTTP {status}: {message}"
    if "content_filter" in code or "content_policy" in code or "moderation" in code:
        return Fault("content_filter", detail)
    if status in (400, 413, 422) and _names_context(code, message):
        return Fault("too_long", detail)
    if "insufficient_quota" in code or status == 402:
        return Fault("credit", detail)
    if status in _RETRIED or status >= 500:
        return Fault("retry", detail, _retry_after(headers.get("Retry-After", "")))
    if status in (401, 403):
        return Fault("key", f"HTTP {status}")
    if status == 404:
        return Fault("missing", detail)
    return Fault("rejected", detail)


def _error(text: str) -> tuple[str, str]:
    """The error's codes (lower case) and message; servers nest them, or not, or send a page."""
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return "", _short(text)
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    if not isinstance(error, dict):
        return "", _short(str(error))
    codes = " ".join(str(error.get(name) or "") for name in ("code", "type"))
    return codes.lower(), _short(str(error.get("message") or error.get("detail") or text))


def _names_context(code: str, message: str) -> bool:
    said = message.lower()
    return "context_length" in code or any(
        phrase in said
        for phrase in (
            "context length",
            "context window",
            "context size",
            "maximum context",
            "too many tokens",
        )
    )


def _retry_after(value: str) -> float:
    """Seconds to wait: the header holds seconds or a date."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN else words[:_SHOWN] + " ..."
