"""Cuts a key out of text, also where JSON writes some of its characters as escapes."""

from __future__ import annotations

import re
from collections.abc import Callable

MARK = "***"
_SHORT = '/"\\'
"""What JSON may write with a backslash alone."""


def cutter(key: str) -> Callable[[str], str]:
    """A function that puts *** in place of the key; without a key it does nothing."""
    if not key:
        return lambda text: text
    escaped = re.compile("".join(_written(letter) for letter in key))
    # Most replies hold none of these, and then a plain search is enough.
    signs = ["\\u", *("\\" + letter for letter in _SHORT if letter in key)]

    def cut(text: str) -> str:
        text = text.replace(key, MARK)
        return escaped.sub(MARK, text) if any(sign in text for sign in signs) else text

    return cut


def _written(letter: str) -> str:
    """The ways in which JSON may write one character."""
    code = f"{ord(letter):04x}"
    ways = [re.escape(letter), rf"\\u(?i:{code})"]
    if letter in _SHORT:
        ways.append(re.escape("\\" + letter))
    return f"(?:{'|'.join(ways)})"
