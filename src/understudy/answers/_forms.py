"""The answer forms, each as one row of functions: adding one is writing its file and its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy.answers import _boolean, _choice, _letters, _list, _text, _value
from understudy.answers._found import Asked, Found
from understudy.types import AnswerForm


@dataclass(frozen=True, slots=True)
class Form:
    """How answers of one form are read and compared. Positions are those of the text that is given."""

    canonical: Callable[[str, Sequence[str]], str | None]
    """A gold in the one way that is compared; None if it cannot be read."""
    stated: Callable[[str, int, int, Asked], Found | None]
    """The answer in the body [start, end) of a statement."""
    unstated: Callable[[str, Asked], Found | None]
    """The answer of a text that states none."""
    strict: Callable[[str, int, int, Asked], Found | None]
    """The answer that a body is, and nothing else beside it."""
    equal: Callable[[str, str], bool]
    """Whether a canonical answer meets a canonical gold."""


FORMS: dict[AnswerForm, Form] = {
    "number": Form(_value.canonical, _value.stated, _value.unstated, _value.strict, _value.equal),
    "choice": Form(_choice.canonical, _choice.stated, _choice.unstated, _choice.strict, _text.equal),
    "boolean": Form(_boolean.canonical, _boolean.stated, _boolean.unstated, _boolean.strict, _text.equal),
    "text": Form(_text.canonical, _text.stated, _text.unstated, _text.strict, _text.equal),
    "letters": Form(_letters.canonical, _letters.stated, _letters.unstated, _letters.strict, _text.equal),
    "list": Form(_list.canonical, _list.stated, _list.unstated, _list.strict, _list.equal),
}
