"""Labelled options: "(B)", "B.", "option B", "B: its text", or the option's text alone.

The catch is that labels are also words and letters: "Bank" is not B, the article in "A dog" is not A, "I
think" is not I. So a label counts when it is marked, "(B)", or opens a statement; and a letter beyond the
question's own options is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from understudy.answers._found import Found
from understudy.answers._text import normal
from understudy.types import LABELS

UNLISTED = LABELS
"""The legal labels of a question whose options were not given."""

CLOSING = 400
"""Characters at the end of a text in which a label that is only mentioned counts."""

_MARKED = r"[(\[{]\s?(?P<marked>[A-Za-z]|\d{1,2})\s?[)\]}]"
_HEAD = re.compile(
    rf"""(?:[\s*_`"'“”‘’$:{{\[<>-]|answer>|\\(?:text|mathrm|mathbf|textbf|boxed)\{{|\\[(\[])*
    (?:(?:either|both|options?|choices?|answer|letter|label|number|probably|(?:most\ )?likely|clearly
        |definitely|the|is|in|with)\b[\s:*"']{{1,4}}){{0,4}}
    (?:{_MARKED}|(?P<bare>[A-Za-z]|\d{{1,2}})(?!\w|['’]\w))""",
    re.IGNORECASE | re.VERBOSE,
)
_AFTER_BARE = re.compile(
    r"""[\s*_`"'”’$]*(?:$|[.,:;)\]}!\\/\-–—(*&?<>]|(?:because|since|as|and|or|which|due|for|with|it|this|is|would|will)\b)"""
)
_JOINED = re.compile(
    rf"""[*_`"'”’)\].]{{0,3}}\s{{0,2}}(?:,?\s?(?:or|and|and/or)\b|&|/|,)\s{{0,2}}
    (?:(?:option|choice|also|both)\s)?(?:{_MARKED}|(?P<bare>[A-Z])(?=\W{{0,3}}(?:$|[.,)&/]|\s(?:or|and)\b)))""",
    re.VERBOSE,
)
_NAMED = re.compile(
    r"""\(\s?(?P<round>[A-Za-z]|\d{1,2})\s?\)
    | (?<!\w)(?:[Oo]ption|[Cc]hoice|[Aa]nswer|OPTION|CHOICE)s?[\s:*(\["']{1,4}(?P<word>[A-Z])(?![\w'’])
    | (?<![\w.'’])(?P<close>[A-Z])\)
    | \*\*(?P<star>[A-Z])\*\*""",
    re.VERBOSE,
)
_CONCLUDED = re.compile(
    r"""\b(?:is|was|are|were|be|by|to|answer|choose|select|pick)\s["'(*]{0,3}(?P<plain>[A-Z])(?=["')*]{0,3}(?:[.,:;]|\s*$))
    | (?<![\w.'’])(?P<marked>[A-Z])(?=\s?[:)])""",
    re.VERBOSE,
)
_RIGHT = re.compile(
    r"""(?<![\w'’])(?:\((?P<round>[A-Za-z])\)|(?P<plain>[B-HJ-Z]|(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s\(?(?P<word>[A-Z])\)?))
    (?:[).:]?\s[^.!?\n()]{0,80}?)?[*_"]{0,2}
    \s(?:is|would\sbe|must\sbe|seems)\s(?:the\s|also\s|therefore\s|thus\s){0,2}
    (?:most\s|only\s){0,2}(?:correct|right|best|likely|accurate|appropriate|answer|suitable|logical|true)\b""",
    re.VERBOSE,
)
_WHOLE = re.compile(
    rf"""[\s*_`"'“”‘’$]*(?:[Oo]ption\s|[Cc]hoice\s|OPTION\s)?(?:{_MARKED}|(?P<bare>[A-Za-z]|\d{{1,2}}))[\s.)*_`"'”’$:]*""",
    re.VERBOSE,
)
_LAST_SENTENCE = re.compile(r"[.!?]\s+(?=\S)|\n")
_NONE = re.compile(r"\b(?:none|neither|no option|not listed|all of)\b", re.IGNORECASE)
_LABELLED = re.compile(r"[\s*_`\"'“]*(?:\((?P<round>[A-Z])\)|(?P<plain>[A-Z])[).:])\s{0,3}(?P<rest>\S)")


def legal(choices: Sequence[str]) -> str:
    return LABELS[: len(choices)] if choices else UNLISTED


def label(written: str, choices: Sequence[str]) -> str | None:
    """The label that a letter or a 1-based digit names, if the question has it."""
    written = written.upper()
    labels = legal(choices)
    if written.isdigit():
        position = int(written) - 1
        return labels[position] if 0 <= position < len(labels) else None
    return written if written in labels else None


def canonical(answer: str, choices: Sequence[str]) -> str | None:
    """The label of a gold: a letter, a digit from 1, "(B)", "B) text", or the text of one option."""
    texts = [normal(choice) for choice in choices]
    wanted = normal(answer)
    if wanted and texts.count(wanted) == 1 and not (len(wanted) == 1 and wanted.isalpha()):
        return LABELS[texts.index(wanted)]
    whole = _WHOLE.fullmatch(answer.strip(" \t\r\n:-"))
    if whole:
        return label(whole["marked"] or whole["bare"], choices)
    return _labelled(answer, texts, choices)


def _labelled(text: str, texts: list[str], choices: Sequence[str]) -> str | None:
    """The label of "B) its own text": the text must be the option's."""
    found = _LABELLED.match(text)
    if not found or len(text) > 2000:
        return None
    named = label(found["round"] or found["plain"], choices)
    rest = normal(text[found.start("rest") :])
    if named is None or not texts:
        return None
    return named if rest == texts[LABELS.index(named)] else None


def answer_in(text: str, start: int, end: int, choices: Sequence[str]) -> Found | None:
    """The label or the option that a statement's body names."""
    texts = [normal(choice) for choice in choices]
    body = normal(text[start:end]) if choices and end - start <= 2000 else ""
    exact = [LABELS[i] for i, option in enumerate(texts) if option and option == body]
    head = _head(text, start, end, choices)
    if len(exact) == 1 and (head is None or not (len(body) == 1 and body.isalpha())):
        return Found(exact[0], start, end)
    if head is not None:
        return head
    named = _agreed(_NAMED.finditer(text, start, end), choices, "") or _option(body, texts, start, end)
    if named is None and _NONE.search(text, start, end):
        return Found(None, start, end, reason="none of the options is named")
    return named


def _head(text: str, start: int, end: int, choices: Sequence[str]) -> Found | None:
    """A label that opens the body."""
    found = _HEAD.match(text, start, end)
    if not found:
        return None
    written = found["marked"] or found["bare"]
    if found["bare"] and not _is_label(text, found, end):
        return None
    named = label(written, choices)
    if named is None:
        if written.isdigit() and found["bare"]:
            return None
        return Found(None, found.start(), found.end(), reason="no such option")
    joined = _JOINED.match(text, found.end(), end)
    if joined:
        other = label(joined["marked"] or joined["bare"], choices)
        if other is not None and other != named:
            return Found(None, found.start(), joined.end(), reason="several options are named")
    span = found.span("marked") if found["marked"] else found.span("bare")
    return Found(named, *span)


def _is_label(text: str, found: re.Match[str], end: int) -> bool:
    """Whether a bare letter is a label and not a word: what follows decides."""
    written = found["bare"]
    if _AFTER_BARE.match(text, found.end(), end):
        return True
    return written.isupper() and written not in "AI"


def _label_of(mark: re.Match[str], choices: Sequence[str]) -> str | None:
    written = next((group for group in mark.groups() if group), "")
    written = written[-2] if written.endswith(")") else written[-1:] if " " in written else written
    return label(written, choices) if not (written.isdigit() and not choices) else None


def _option(body: str, texts: list[str], start: int, end: int, rule: str = "option_text") -> Found | None:
    """The only option whose text occurs in `body`; an option inside a longer one does not count."""
    present = [(i, option) for i, option in enumerate(texts) if option and _occurs(option, body)]
    longest = [
        (i, option)
        for i, option in present
        if not any(option != other and _occurs(option, other) for _, other in present)
    ]
    if not longest:
        return None
    if len(longest) > 1:
        return Found(None, start, end, reason="several options are named")
    return Found(LABELS[longest[0][0]], start, end, rule)


def _occurs(option: str, text: str) -> bool:
    """At word boundaries. `str.find` keeps it linear where a regular expression would not be."""
    position = text.find(option)
    while position >= 0:
        before = text[position - 1] if position else " "
        after = text[position + len(option)] if position + len(option) < len(text) else " "
        if not (before.isalnum() and option[0].isalnum()) and not (after.isalnum() and option[-1].isalnum()):
            return True
        position = text.find(option, position + 1)
    return False


def unstated(text: str, choices: Sequence[str]) -> Found | None:
    """A bare label, "B is correct", the last marked label, or the only option that the text mentions."""
    end = len(text.rstrip())
    whole = _WHOLE.fullmatch(text) if end <= 40 else None
    if whole:
        named = label(whole["marked"] or whole["bare"], choices)
        reason = "" if named else "no such option"
        return Found(named, 0, end, "bare_label", reason)
    texts = [normal(choice) for choice in choices]
    if choices and end <= 2000:
        exact = [LABELS[i] for i, option in enumerate(texts) if option and option == normal(text)]
        own = exact[0] if len(exact) == 1 else _labelled(text, texts, choices)
        if own:
            return Found(own, 0, end, "option_text")
    head = _head(text, 0, end, choices) if "\n" not in text.strip() or not choices else None
    if head and head.answer and _opens_with_label(text):
        return Found(head.answer, head.start, head.end, "first_label")
    return _flexible(text, texts, choices)


def _opens_with_label(text: str) -> bool:
    """Whether the text is one label with its explanation; "A:" is how a reply opens."""
    found = _LABELLED.match(text)
    if not found or text.lstrip().startswith("A:"):
        return False
    return not _NAMED.search(text, found.end()) and not _CONCLUDED.search(text, found.end())


def _flexible(text: str, texts: list[str], choices: Sequence[str]) -> Found | None:
    right = [mark for mark in _RIGHT.finditer(text) if _label_of(mark, choices)]
    if right:
        return Found(_label_of(right[-1], choices), *right[-1].span(), "called_right")
    last = _last_sentence(text)
    concluded = _agreed(_CONCLUDED.finditer(text, last), choices, "last_sentence")
    if concluded is not None and concluded.answer:
        return concluded
    only = _agreed(_NAMED.finditer(text), choices, "only_marked_label")
    if only is not None and only.answer and only.start >= len(text) - CLOSING:
        return only
    marked = concluded or _agreed(_NAMED.finditer(text, last), choices, "last_marked_label")
    if marked is not None:
        return marked
    start = max(0, len(text) - CLOSING)
    body = normal(text[start:]) if texts else ""
    return _option(body, texts, start, len(text), "only_option_mentioned")


def _agreed(marks: Iterable[re.Match[str]], choices: Sequence[str], rule: str) -> Found | None:
    """The label that all `marks` name; no answer if they name several."""
    found = [(named, mark) for mark in marks if (named := _label_of(mark, choices))]
    if not found:
        return None
    named, mark = found[-1]
    if len({other for other, _ in found}) > 1:
        return Found(None, found[0][1].start(), mark.end(), rule, "several options are named")
    return Found(named, *mark.span(), rule)


def _last_sentence(text: str) -> int:
    """Where it starts; the end of the text if it is so long that the model has lost its thread."""
    start = 0 if len(text) <= CLOSING else len(text)
    for mark in _LAST_SENTENCE.finditer(text, max(0, len(text) - CLOSING), len(text.rstrip())):
        start = mark.end()
    return start
