"""The strict reading as a pattern that a tool without our judge can apply.

lm-evaluation-harness reads an answer with one regular expression and compares strings. So the last sentence
"The answer is ..." is sought with the judge's own cue, and what it says with a pattern for each form of
answers; a last such sentence in another form matches as nothing, so that no earlier one counts in its place.

The catch is what a pattern cannot know: that a text was cut off right behind an unfinished answer, that it
runs on into another question, the options' texts, that 0.5 is 1/2, or that "true" is "yes". `agrees` says for
one text whether the two readings come to the same, and `export` checks every gold that way before it writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from understudy import answers
from understudy.types import AnswerForm, Question

_MARKS = r"[*_`]{0,3}"
_CUE = rf"(?<![^\W_])the {_MARKS}answer{_MARKS} {_MARKS}is(?![^\W_])"
_GAP = rf"{_MARKS} {{1,4}}{_MARKS}(?=[^\s*_`])"
_END = r"""[*_`\s]{0,4}(?:[.!]["'”’)\]*_`$]{0,4}(?=\s|$)|(?=\n|$))"""
_QUOTES = r"""["'“”‘’«»*`$]{0,3}"""
_ANY = rf"([^\n]{{1,4000}}?){_END}"
_BODIES: dict[AnswerForm, str] = {
    "number": r"\\?\$?(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+|/\d+)?)"
    rf"(?:[ ]?(?:\\?%|percent\b))?(?:[ ]?[A-Za-z°²³/$€£¥₹']{{1,15}}){{0,4}}{_END}",
    "choice": rf"(?:\(([A-Z])\)|([A-Z])){_END}",
    "boolean": rf"(yes|no){_END}",
    "letters": rf"{_QUOTES}([^\W\d_]+){_QUOTES}{_END}",
    "text": _ANY,
    "list": _ANY,
}
_IGNORED: dict[AnswerForm, tuple[str, ...]] = {
    "number": (",", r"(?<=\d)\.0+$", r"(?<=\.\d)0+$", r"(?<=\.\d\d)0+$"),
    "text": (r"^[\"'“”‘’«»*`$ ]+|[\"'“”‘’«»*`$ ]+$", r"^(?:[Tt]he|[Aa]n?)\s+"),
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression for the last match, and what is taken off both sides before they are compared
    without regard to case."""

    expression: str
    ignored: tuple[str, ...]

    def read(self, text: str) -> str:
        """What the harness reads: its `regex` filter with group_select -1."""
        found = re.findall(self.expression, text)
        if not found:
            return "[invalid]"
        last = found[-1]
        if isinstance(last, tuple):
            last = next((part for part in last if part), "[invalid]")
        return str(last).strip()

    def right(self, text: str, target: str) -> bool:
        """Its `exact_match` of what was read, with ignore_case."""
        return self._bare(self.read(text)) == self._bare(target)

    def _bare(self, text: str) -> str:
        for pattern in self.ignored:
            text = re.sub(pattern, "", text)
        return text.lower()


def pattern(form: AnswerForm) -> Pattern:
    """The body stands in a lookahead: a second sentence inside the first is found too."""
    return Pattern(f"(?i){_CUE}(?:{_GAP}(?={_BODIES[form]})|)", _IGNORED.get(form, ()))


def target(question: Question, form: AnswerForm) -> str:
    """The gold as it is compared; empty where it cannot be read."""
    return answers.canonical(question.answer, form, question.choices) or ""


def agrees(text: str, question: Question, form: AnswerForm, *, cut_off: bool = False) -> bool:
    """Whether the pattern's verdict on a text is that of the judge's strict reading."""
    verdict = answers.judge(text, question.answer, form, question.choices, cut_off=cut_off)
    return pattern(form).right(text, target(question, form)) == (verdict.strict == "correct")
