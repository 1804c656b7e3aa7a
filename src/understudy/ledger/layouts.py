"""Generations that others paid for, as their files hold them.

- `completion_dataset`: Fine-tune-CoT's JSON, {"metadata": {"base_model", "temperature", "max_tokens", ...},
  "data": {"0": [{"question", "prompt", "completion", "finish_reason", "reasoning_prompt",
  "reasoning_completion", "reasoning_finish_reason", ...}, ...]}}; zero-shot rows hold two completions each
  (github.com/itsnamgyu/reasoning-teacher, src/data/completion_dataset.py)
- `curator`: responses_*.jsonl, one {"response_message", "generic_request", "raw_response", ...} a line
  (github.com/bespokelabsai/curator, types/generic_response.py)
- `openai_batch`: output lines {"custom_id", "response": {"status_code", "body"}, "error"}; what was asked
  stands in the input file, {"custom_id", "url", "body"}
- `plain`: {"messages" or "prompt" or "question", "text" or "output", "model", "finish_reason", ...}, which is
  also what `understudy ledger export` writes

The catch: only `openai_batch` and exports say everything that a key is made of; for the others the importer
must be told the endpoint, and most of the sampling.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import DataError
from understudy.rows import Row, read, read_text, suffix

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """One generation; what its file does not say is None or empty. `skipped` says why it cannot be used."""

    messages: list[tuple[str, str]] = field(default_factory=list)
    text: str | None = None
    model: str | None = None
    endpoint: str | None = None
    revision: str | None = None
    sampling: Fields = field(default_factory=dict)
    sample: int | None = None
    """None: counted from 0 among the generations of one prompt."""
    rest: Fields = field(default_factory=dict)
    """Further columns of the ledger: finish_reason, reasoning, prompt_tokens, usd, raw, created, ..."""
    skipped: str = ""


class Unusable(Exception):  # noqa: N818 - a reason, not a fault of the program
    """Why one generation is left out."""


def generations(path: Path, asked: Path | None) -> Iterator[Found]:
    """Every generation in a file, whose layout is told by what it holds. `asked` is the input file that
    an `openai_batch` output needs. Raises DataError when the file cannot be read at all."""
    if suffix(path) == ".json" and (dataset := _completion_dataset(path)) is not None:
        yield from dataset
        return
    inputs = {str(row.fields.get("custom_id")): row.fields for row in read(asked)} if asked else {}
    for row in read(path):
        try:
            yield from _layout(row, inputs)(row.fields)
        except Unusable as reason:
            yield Found(skipped=str(reason))


def _layout(row: Row, inputs: Mapping[str, Fields]) -> Callable[[Fields], Iterator[Found]]:
    if "generic_request" in row.fields:
        return _curator
    if "custom_id" in row.fields and "response" in row.fields:
        if not inputs:
            raise row.wrong("this is the output of a batch; give its input file too (--requests)")
        return lambda fields: _batch(fields, inputs)
    return _plain


# ---------------------------------------------------------------- Fine-tune-CoT


def _completion_dataset(path: Path) -> Iterator[Found] | None:
    """None if the file holds something else."""
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
        return None
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        raise DataError(f"{path}: a completion dataset without metadata; is it whole?")
    return _dataset_rows(metadata, value["data"])


def _dataset_rows(metadata: Fields, data: Fields) -> Iterator[Found]:
    for rows in data.values():
        for row in rows:
            for prefix in ("reasoning_", ""):
                if f"{prefix}prompt" in row:
                    yield _dataset_row(metadata, row, prefix)


def _dataset_row(metadata: Fields, row: Fields, prefix: str) -> Found:
    text = row.get(f"{prefix}completion")
    if not isinstance(text, str):
        return Found(skipped="not generated yet")
    sampling = {name: metadata.get(f"{prefix}{name}") for name in ("temperature", "max_tokens")}
    return Found(
        messages=[("user", row[f"{prefix}prompt"])],
        text=text,
        model=metadata.get("base_model"),
        sampling=_given(sampling),
        rest={"finish_reason": row.get(f"{prefix}finish_reason")},
    )


# ---------------------------------------------------------------- curator


def _curator(row: Fields) -> Iterator[Found]:
    request = row["generic_request"]
    if row.get("response_errors"):
        raise Unusable("the request failed")
    said = row.get("response_message")
    usage = row.get("token_usage") or {}
    parameters = dict(request.get("generation_params") or {})
    yield Found(
        messages=_messages(request.get("messages")),
        text=said if said is None or isinstance(said, str) else json.dumps(said),
        model=request.get("model"),
        sampling=_sampling(parameters),
        rest={
            "finish_reason": row.get("finish_reason"),
            "prompt_tokens": usage.get("prompt_tokens", usage.get("input")),
            "completion_tokens": usage.get("completion_tokens", usage.get("output")),
            "usd": row.get("response_cost"),
            "created": row.get("finished_at"),
            "raw": json.dumps(row["raw_response"]) if row.get("raw_response") else None,
        },
    )


# ---------------------------------------------------------------- OpenAI batches

_FRAME = ("model", "messages", "prompt", "n", "stream")
_SAMPLING = ("temperature", "top_p", "max_tokens", "stop", "seed")


def _batch(row: Fields, inputs: Mapping[str, Fields]) -> Iterator[Found]:
    asked = inputs.get(str(row.get("custom_id")))
    if asked is None:
        raise Unusable("its custom_id is not in the input file")
    response = row.get("response") or {}
    reply = response.get("body")
    if row.get("error") or response.get("status_code") != 200 or not isinstance(reply, dict):
        raise Unusable("the request failed")
    body = dict(asked.get("body") or {})
    usage = reply.get("usage") or {}
    choices = reply.get("choices") or []
    for at, choice in enumerate(choices):
        yield Found(
            messages=_messages(body.get("messages", body.get("prompt"))),
            text=_content(choice),
            model=body.get("model"),
            endpoint=f"https://api.openai.com{asked.get('url', '')}",
            revision=_revision(body),
            sampling=_sampling(body),
            rest={
                "finish_reason": choice.get("finish_reason"),
                "prompt_tokens": usage.get("prompt_tokens") if at == 0 else 0,
                "completion_tokens": _share(usage.get("completion_tokens") or 0, len(choices), at),
                "raw": json.dumps(reply),
            },
        )


def _revision(body: Fields) -> str:
    """Further body fields as the `openai` teacher writes them into who answers."""
    extra = {name: value for name, value in body.items() if name not in (*_FRAME, *_SAMPLING)}
    return json.dumps(extra, sort_keys=True) if extra else ""


def _content(choice: Fields) -> str | None:
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return text if isinstance(text, str) else None


def _share(tokens: int, parts: int, at: int) -> int:
    share, left = divmod(tokens, parts)
    return share + (at < left)


# ---------------------------------------------------------------- plain


def _plain(row: Fields) -> Iterator[Found]:
    asked = next((row[name] for name in ("messages", "prompt", "question") if row.get(name)), None)
    sampling = row.get("sampling")
    yield Found(
        messages=_messages(asked),
        text=next((row[name] for name in ("text", "output") if row.get(name) is not None), None),
        model=row.get("model"),
        endpoint=row.get("endpoint"),
        revision=row.get("revision"),
        sampling=_sampling(json.loads(sampling) if isinstance(sampling, str) else sampling or row),
        sample=row.get("sample"),
        rest=row,
    )


def _messages(value: object) -> list[tuple[str, str]]:
    if isinstance(value, str) and value:
        return [("user", value)]
    if not isinstance(value, list) or not value:
        raise Unusable("it does not say what was asked")
    pairs = [(m.get("role"), m.get("content")) for m in value if isinstance(m, dict)]
    if len(pairs) < len(value) or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise Unusable("a message is not text")
    if not {role for role, _ in pairs} <= {"system", "user", "assistant"}:
        raise Unusable("a message has a role other than system, user and assistant")
    return [(str(role), str(content)) for role, content in pairs]


def _sampling(fields: Fields) -> Fields:
    return _given({name: fields.get(name) for name in _SAMPLING})


def _given(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}
