"""The strict reading: only the sentence that prompts ask for, "The answer is 18.", in just that form.

It says how well a model keeps to the form; the flexible reading says how well it answers. The catch is to be
strict about words and not about marks: letter case, markdown emphasis and the space at the end are free.
The last such sentence counts, and it either is in the written form or there is no strict answer.
"""

from __future__ import annotations

import re

from understudy.answers._forms import FORMS
from understudy.answers._found import Asked, Found
from understudy.answers._statements import sentence_end
from understudy.types import AnswerForm

CUE = "The answer is"
_CUE = re.compile(r"the [*_`]{0,3}answer[*_`]{0,3} [*_`]{0,3}is(?![^\W_])")
_GAP = re.compile(r"[*_`]{0,3} {1,4}[*_`]{0,3}(?=[^\s*_`])")
_MARKS = "*_` \t\r\n"


def read_strictly(text: str, small: str, form: AnswerForm, asked: Asked) -> Found | None:
    """What the last sentence "The answer is ..." says; `small` is the text in small letters."""
    gap = _GAP.match(text, _cue_end(small))
    if not gap:
        return None
    start = gap.end()
    end = start + len(text[start : sentence_end(text, start, len(text))].rstrip(_MARKS))
    if text[end - 1] in ".!":
        end = start + len(text[start : end - 1].rstrip(_MARKS))
    return FORMS[form].strict(text, start, end, asked) if start < end else None


def _cue_end(small: str) -> int:
    """Where the last cue ends; the end of the text if there is none."""
    at = small.rfind("answer")
    while at >= 0:
        start = small.rfind("the ", max(0, at - 7), at)
        found = _CUE.match(small, start) if start >= 0 else None
        if found and not (start and small[start - 1].isalnum()):
            return found.end()
        at = small.rfind("answer", 0, at)
    return len(small)
