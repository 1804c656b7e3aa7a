"""Free text: compared without regard to case, spacing, quotes, a final full stop or a leading article.

The catch is that brackets can be the answer (BIG-Bench Hard's Dyck words end in ") ] }"), so nothing but
quotes, markdown and a full stop is ever stripped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from understudy.answers._found import Asked, Found

_WRAP = "\"'`*_“”‘’«»$ \t\r\n"
_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)", re.IGNORECASE)
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}")

LONGEST_LINE = 400
"""Characters of a one-line output that is taken, whole, as the answer."""
LONGEST_LAST_LINE = 60


def bare_span(text: str, start: int, end: int) -> tuple[int, int]:
    """[start, end) without wrapping quotes and markdown and without a final full stop."""
    start, end = _unwrapped(text, start, end)
    unwrapped = _LATEX_TEXT.fullmatch(text, start, end)
    return _unwrapped(text, *unwrapped.span(1)) if unwrapped else (start, end)


def _unwrapped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] in _WRAP:
        start += 1
    while start < end and (text[end - 1] in _WRAP or (text[end - 1] == "." and text[end - 2 : end] != "..")):
        end -= 1
    return start, end


def normal(answer: str) -> str:
    """The form in which two texts are compared."""
    return _short_normal(answer) if len(answer) <= LONGEST_LAST_LINE else _normal(answer)


def _normal(answer: str) -> str:
    start, end = bare_span(answer, 0, len(answer))
    answer = answer[start:end]
    if not answer.isascii():
        answer = unicodedata.normalize("NFKC", answer)
        answer = answer.casefold().replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')
    return _ARTICLE.sub("", " ".join(answer.casefold().split()))


_short_normal = lru_cache(16384)(_normal)
"""Options and what names them come back with every sample of a question."""


def canonical(answer: str, _choices: Sequence[str] = ()) -> str | None:
    return normal(answer) or None


def stated(text: str, start: int, end: int, _asked: Asked) -> Found | None:
    answer = normal(text[start:end])
    return Found(answer, *bare_span(text, start, end)) if answer else None


def unstated(text: str, _asked: Asked) -> Found | None:
    """The whole output if it is one line, or its short last line."""
    start = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    line = text.rfind("\n", start, end) + 1
    if line <= start:
        rule, longest, line = "whole_text", LONGEST_LINE, start
    else:
        rule, longest = "last_line", LONGEST_LAST_LINE
    answer = normal(text[line:end]) if end - line <= longest else ""
    return Found(answer, *bare_span(text, line, end), rule) if answer else None


def strict(text: str, start: int, end: int, asked: Asked) -> Found | None:
    return stated(text, start, end, asked)


def equal(output: str, gold: str) -> bool:
    return output == gold
