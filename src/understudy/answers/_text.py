"""Free text: compared without regard to case, spacing, quotes, a final full stop or a leading article.

The catch is that brackets can be the answer (BIG-Bench Hard's Dyck words end in ") ] }"), so nothing but
quotes, markdown and a full stop is ever stripped.
"""

from __future__ import annotations

import re
import unicodedata

from understudy.answers._found import Found

_WRAP = "\"'`*_“”‘’«»$ \t\r\n"
_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)", re.IGNORECASE)
_LATEX_TEXT = re.compile(r"^\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}$")

LONGEST_LINE = 400
"""Characters of a one-line output that is taken, whole, as the answer."""
LONGEST_LAST_LINE = 60


def bare(answer: str) -> str:
    """Without wrapping quotes and markdown and without a final full stop; case and articles stay."""
    answer = answer.strip(_WRAP)
    while answer.endswith(".") and not answer.endswith(".."):
        answer = answer[:-1].rstrip(_WRAP)
    unwrapped = _LATEX_TEXT.match(answer)
    return (unwrapped.group(1) if unwrapped else answer).strip(_WRAP)


def normal(answer: str) -> str:
    """The form in which two texts are compared."""
    answer = " ".join(unicodedata.normalize("NFKC", bare(answer)).casefold().split())
    answer = answer.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')
    return _ARTICLE.sub("", answer)


def answer_in(text: str, start: int, end: int) -> Found | None:
    answer = normal(text[start:end])
    return Found(answer, start, end) if answer else None


def unstated(text: str) -> Found | None:
    """The whole output if it is one line, or its short last line."""
    start = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    line = text.rfind("\n", start, end) + 1
    if line <= start:
        rule, longest, line = "whole_text", LONGEST_LINE, start
    else:
        rule, longest = "last_line", LONGEST_LAST_LINE
    answer = normal(text[line:end]) if end - line <= longest else ""
    return Found(answer, line, end, rule) if answer else None
