"""Writing with what a tokenizer has: a reversible stand-in for each character that it cannot write.

T5's tokenizer knows no newline, tab, brace, backslash, caret, tilde, backtick or less-than, and it merges
runs of spaces. Each gets a character that it does know, that is one token, and that hardly any text holds.
Rarer ones, and signs of arithmetic that large models write and it does not know either, get two:

    \\frac{1}{2} × 3  ->  •frac«1»«2» ®* 3

The catch is text that holds a stand-in itself: it is marked, "«" becomes "®«", so that
`unescape(escape(text)) == text` for every text.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from understudy.errors import TrainingError

FILE = "escape.json"
"""Stands beside a saved student's weights and says whether its texts are escaped."""

_MARK = "®"
_SINGLE = {"\n": "′", "\\": "•", "{": "«", "}": "»", "^": "„", "<": "‘", " ": "£"}
_MARKED = {
    "~": "-",
    "`": "'",
    "\t": "|",
    "×": "*",
    "÷": "/",
    "−": "_",
    "≈": "=",
    "≠": "!",
    "≤": "[",
    "≥": "]",
}
_MARKED |= {"√": "(", "π": ")", "²": "2", "³": "3"}
_MARKED |= {sign: sign for sign in (*_SINGLE.values(), _MARK)}

_TO = _SINGLE | {meant: _MARK + sign for meant, sign in _MARKED.items()}
_BACK = {written: meant for meant, written in _TO.items()}

# A space is escaped where it would be lost: before another one, and at either end of the text.
_ESCAPED = re.compile(rf"[{re.escape(''.join(_TO).replace(' ', ''))}]|\A | (?= |\Z)")
_UNESCAPED = re.compile("|".join(map(re.escape, _BACK)))

_PROBE = "a{b}c\\d^e~f<g`h\ni\tj  k"


def escape(text: str) -> str:
    """`text` in characters that T5's tokenizer can write."""
    return _ESCAPED.sub(lambda found: _TO[found[0]], text)


def unescape(text: str) -> str:
    """What `escape` was given. A mark before nothing that it marks stands for itself."""
    return _UNESCAPED.sub(lambda found: _BACK[found[0]], text)


def can_carry(tokenizer: Any) -> bool:
    """Whether a tokenizer can write every stand-in."""
    return _keeps(tokenizer, escape(_PROBE + "".join(_TO)))


def helps(tokenizer: Any) -> bool:
    """Whether a tokenizer can write every stand-in, but not all of ASCII that they stand for."""
    return can_carry(tokenizer) and not _keeps(tokenizer, _PROBE)


def _keeps(tokenizer: Any, text: str) -> bool:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    decoded = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return bool(decoded == text)


def save(folder: Path, escapes: bool) -> None:
    (folder / FILE).write_text(json.dumps({"escape": escapes}) + "\n", encoding="utf-8")


def saved(folder: Path) -> bool | None:
    """Whether the student in a folder was trained on escaped texts; None where nothing says so."""
    try:
        return bool(json.loads((folder / FILE).read_text(encoding="utf-8"))["escape"])
    except OSError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder / FILE} is damaged ({error!r}): train the student again") from error
