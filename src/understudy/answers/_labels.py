"""How a text marks a label: "(B)", "B.", "option B", "**B**", "so B is correct".

Labels are also words and letters, so each pattern says what must stand around a bare one. Every named
group holds exactly one label, and one match fills exactly one of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.types import LABELS

_MARKED = r"[(\[{]\s?(?P<marked>[A-Za-z]|\d{1,2})\s?[)\]}]"

HEAD = re.compile(
    rf"""(?:[\s*_`"'“”‘’$:{{\[<>-]|answer>|\\(?:text|mathrm|mathbf|textbf|boxed)\{{|\\[(\[])*
    (?:(?:either|both|options?|choices?|answer|letter|label|number|probably|(?:most\ )?likely|clearly
        |definitely|the|is|in|with)\b[\s:*"']{{1,4}}){{0,4}}
    (?:{_MARKED}|(?P<bare>[A-Za-z]|\d{{1,2}})(?![^\W_]|['’]\w))""",
    re.IGNORECASE | re.VERBOSE,
)
"""A label that opens a statement's body, perhaps after "most likely option"."""

JOINED = re.compile(
    rf"""[*_`"'”’)\].]{{0,3}}\s{{0,2}}(?:,?\s?(?:or|and|and/or)\b|&|/|,)\s{{0,2}}
    (?:(?:option|choice|also|both)\s)?
    (?:{_MARKED}|(?P<bare>[A-Z])(?=\W{{0,3}}(?:$|[.,)&/]|\s(?:or|and)\b)))""",
    re.VERBOSE,
)
"""A second label that is named in the same breath: " or (C)", ", B and D"."""

NAMED = re.compile(
    r"""\(\s?(?P<round>[A-Za-z]|\d{1,2})\s?\)
    | (?<!\w)(?:[Oo]ption|[Cc]hoice|[Aa]nswer|OPTION|CHOICE)s?[\s:*(\["']{1,4}(?P<word>[A-Z])(?![\w'’])
    | (?:^|(?<=\n)|(?<=[.,:;]\s)|(?<=is\s))(?P<close>[A-Z])\)
    | \*\*(?P<star>[A-Z])\*\*""",
    re.VERBOSE,
)
"""A label with a mark, anywhere."""

CONCLUDED = re.compile(
    r"""\b(?:is|was|are|were|be|by|to|answer|option|choose|select|pick)\s["'(*]{0,3}
        (?P<plain>[A-Z])(?=["')*]{0,3}(?:[.,:;]|\s*$))
    | \((?P<round>[A-Z])\)
    | (?<![\w.'’])(?P<colon>[A-Z])(?=:\s)""",
    re.VERBOSE,
)
"""A label in a conclusion: "the only one that floats is B.", "she goes to her B: classroom"."""

RIGHT = re.compile(
    r"""(?<![\w'’])(?:
      (?:\((?P<round>[A-Za-z])\)|(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s\(?(?P<word>[A-Z])\)?(?!\w)
        |(?P<point>[A-Z])[).:](?=\s))(?:\s[^.!?\n()]{0,80}?)?
      | (?:^|(?<=\n)|(?<=[.,;:!?]\s)|(?<=[Ss]o\s)|(?<=hus\s)|(?<=that\s)|(?<=ence\s)|(?<=fore\s))
        (?P<alone>[A-HJ-Z])
    )
    [*_"]{0,2}\s(?:is|would\sbe|must\sbe|seems)\s(?:the\s|also\s|therefore\s|thus\s){0,2}(?:most\s|only\s){0,2}
    (?:correct|right|best|likely|accurate|appropriate|answer|suitable|logical|true)\b""",
    re.VERBOSE,
)
"""A label that is called right: "Option B is correct", "(B) a library is the best answer"."""

WHOLE = re.compile(
    rf"""[\s*_`"'“”‘’$:-]*(?:[Oo]ption\s|[Cc]hoice\s|OPTION\s)?
    (?:{_MARKED}|(?P<bare>[A-Za-z]|\d{{1,2}}))[\s.)*_`"'”’$:]*""",
    re.VERBOSE,
)
"""A text that is nothing but a label."""

OPENING = re.compile(
    r"[\s*_`\"'“]*(?:\((?P<round>[A-Za-z])\)|(?P<plain>[A-Za-z])[).:])[*_`\"'”]{0,3}[ \t]{0,3}"
)
"""A label before a text, as in a list of options."""

_AFTER_BARE = re.compile(
    r"""[\s*_`"'”’$]*(?:$|[.,:;)\]}!\\/\-–—(*&?<>]
    |(?:because|since|as|and|or|which|due|for|with|it|this|is|would|will)\b)""",
    re.VERBOSE,
)


def is_label(text: str, end: int, found: re.Match[str]) -> bool:
    """Whether the bare letter of a HEAD is a label and not a word: what follows decides."""
    return bool(_AFTER_BARE.match(text, found.end(), end)) or (
        found["bare"].isupper() and found["bare"] not in "AI"
    )


def label(written: str, choices: Sequence[str]) -> str | None:
    """The label that a letter, or a digit counted from 1, names, if the question has it. Where the
    options are not known any letter may be one, but a digit is not."""
    written = written.upper()
    if written.isdigit():
        position = int(written) - 1
        return LABELS[position] if 0 <= position < len(choices) else None
    return written if written in (LABELS[: len(choices)] or LABELS) else None


def label_of(found: re.Match[str], choices: Sequence[str]) -> str | None:
    """The label of a match of NAMED, CONCLUDED, RIGHT, WHOLE or OPENING."""
    return label(found[found.lastgroup or 0], choices)
