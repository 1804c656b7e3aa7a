"""A side that inspect_ai answered: its log as JSON (`inspect log dump`, or --log-format json).

A sample holds `input` (a text, or the messages), `choices`, `target`, `output.choices[0]` (the message and
its `stop_reason`) and `scores` by scorer, whose `value` is "C" or "I", or 1 or 0. Half marks are refused: a
paired test of right and wrong has no place for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy import rows
from understudy.comparing.harness import question_of
from understudy.comparing.side import Answered, Side, distinct
from understudy.errors import DataError

_RIGHT: dict[Any, bool] = {"C": True, "I": False, "N": False, 1: True, 0: False}


def read_inspect(path: Path, scorer: str = "") -> Side:
    """The answers in one log. Raises DataError where it is none, or several scorers judged."""
    try:
        log = json.loads(rows.read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    samples = log.get("samples") if isinstance(log, Mapping) else None
    if not isinstance(samples, list) or not samples or not all(isinstance(one, Mapping) for one in samples):
        raise DataError(f"{path} is no inspect_ai log with samples (write it with --log-format json)")
    scorers = list(dict.fromkeys(name for one in samples for name in one.get("scores") or {}))
    if scorer and scorer not in scorers:
        raise DataError(f"{path}: there is no scorer '{scorer}' ({', '.join(scorers) or 'none'})")
    if not scorer and len(scorers) != 1:
        raise DataError(f"{path} has {len(scorers)} scorers: name one with --filter ({', '.join(scorers)})")
    scorer = scorer or scorers[0]
    scored = [(at, one) for at, one in enumerate(samples, 1) if scorer in (one.get("scores") or {})]
    answered, notes = distinct(path.name, [_answered(rows.Row(one, path, at), scorer) for at, one in scored])
    if len(scored) < len(samples):
        notes += (f"{len(samples) - len(scored)} samples of {path.name} were not scored and are left out.",)
    return Side(path.name, f"inspect_ai's {scorer}", answered, notes=notes)


def _answered(row: rows.Row, scorer: str) -> Answered:
    sample = row.fields
    try:
        value = sample["scores"][scorer]["value"]
        asked = sample["input"]
        chosen = sample["output"]["choices"]
        said, reason = (chosen[0]["message"]["content"], chosen[0].get("stop_reason")) if chosen else ("", "")
        if not isinstance(asked, str):
            asked = [_words(one["content"]) for one in asked if one["role"] == "user"][-1]
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"{row.path}, sample {row.line}: no inspect_ai sample ({error!r})") from error
    if isinstance(value, dict | list) or value not in _RIGHT:
        raise DataError(f"{row.path}, sample {row.line}: the score {value!r} is neither right nor wrong")
    doc = {"question": asked, "choices": sample.get("choices") or None}
    target = sample.get("target")
    target = target[0] if isinstance(target, list) and target else target
    question = question_of(row, doc, target if target is not None else "")
    return Answered(question, _words(said), _RIGHT[value], reason == "max_tokens")


def _words(content: Any) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")
