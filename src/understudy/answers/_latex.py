"""Formulas: "2\\sqrt{3}", "\\frac{\\pi}{2}", "(3, \\frac{\\pi}{2})", "x^2 + 1", "[0, \\infty)".

What the reader of plain numbers can read wholly never comes here. Parsed by math-verify's LaTeX grammar
(https://github.com/huggingface/Math-Verify), compared in `_equal.py`. The catch is that the text is a
model's: math-verify also reads plain expressions, through a parser that evaluates them as Python, and its
time-outs need the main thread. So only the LaTeX grammar is used, which hands nothing but numerals to an
evaluator, and a text reaches it only if it is short, knows no word or command beyond those of answers, and
holds no power that could take long to work out.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from math import prod
from threading import Lock
from typing import TYPE_CHECKING

from understudy.answers._number import gold_numbers

if TYPE_CHECKING:
    from sympy import Basic

EMPHASIS = " \t\r\n*`_"
LONGEST = 300
DEEPEST = 6
"""Brackets within brackets; the grammar's cost grows with each."""
MOST_BRACKETS = 40
LONGEST_NUMBER = 30
LARGEST_POWER = 1000
"""The product of all exponents of a formula."""

_COMMANDS = set(
    re.findall(
        "[a-z]+",
        """frac sqrt pi cdot times div pm mp infty cup cap in le leq ge geq ne neq lt gt binom circ degree
        sin cos tan cot sec csc log ln arcsin arccos arctan emptyset varnothing angle
        alpha beta gamma delta epsilon theta lambda mu nu phi varphi psi omega rho sigma tau
        begin end pmatrix bmatrix matrix""",
    )
)
_WORDS = {"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "pmatrix", "bmatrix", "matrix"}

_REPLACED = {
    "\\left": "", "\\right": "", "\\displaystyle": "", "\\!": "", "\\,": " ", "\\;": " ", "\\:": " ",
    "\\ ": " ", "\\quad": " ", "~": " ", "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac",
    "\\dbinom": "\\binom", "\\%": "", "\\$": "", "$": "", "\\(": "", "\\)": "", "\\[": "", "\\]": "",
    "^\\circ": "", "^{\\circ}": "", "^\\degree": "", "\\degree": "", "\\circ": "", "°": "",
    "−": "-", "–": "-", "×": "\\times ",
    "·": "\\cdot ", "²": "^2", "³": "^3", "π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ",
    "∪": "\\cup ", "{,}": ",",
}  # fmt: skip
_REPLACE = re.compile("|".join(re.escape(key) for key in sorted(_REPLACED, key=len, reverse=True)))
_IN_WORDS = re.compile(
    r"\\(?:text|textnormal|textbf|textit|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]{0,60})\}(?:\^\{?[23]\}?)?"
)
_ROOT = re.compile(r"(?:√|\\?sqrt)\s?(?:\(([^()]{1,40})\)|(?<=√)(\d{1,30}))")
_PI = re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])")
_RECURRING = re.compile(r"(?<!\d)(\d{0,9})\.(\d{0,9})\\overline\{(\d{1,9})\}")
_UNIT_WORDS = re.compile(r"(?<=[\w})\]])\s(?:[a-z]{2,15}\.?(?:\s|$)){1,4}$")

_COMMAND = re.compile(r"\\([A-Za-z]+)")
_LETTERS = re.compile(r"[A-Za-z]+")
_ALLOWED = re.compile(r"[A-Za-z0-9\s\\{}()\[\]+\-*/^_=<>,.;:|!&']*")
_FORMULA = re.compile(
    r"\\[A-Za-z]|\^|\d[a-z]|[a-z]\s?[-+*/=<>]|[-+*/=<>]\s?[a-z(]|[(\[{][^,]{1,60},|,\s|,-|\d,\d+,\d"
)
_LONG_NUMBER = re.compile(rf"\d{{{LONGEST_NUMBER + 1}}}")
_EXPONENT = re.compile(r"\d\s?[eE]\s?[-+]?\s?\d")
_FACTORIAL = re.compile(r"(?<!\d)\d{1,3}!(?!!)|[a-z]!(?!!)")
_BINOMIAL = re.compile(r"\\binom\s?\{\d{1,3}\}\s?\{\d{1,3}\}")
_BASE = re.compile(r"\d\s?_")
_IN_BASE = re.compile(r"\d{1,30}_(?:\d|\{\d{1,2}\})")
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})*,\d{1,2}")


def tidy(text: str) -> str:
    """LaTeX without what carries no value: dollars, spacing, `\\left`, percent and degree signs, units."""
    text = text.lstrip(EMPHASIS).rstrip(EMPHASIS + ".;,")
    text += "}" * (text.count("{") - text.count("}"))
    text = _IN_WORDS.sub(_unit_or_word, text)
    text = _REPLACE.sub(lambda found: _REPLACED[found.group()], text)
    text = _PI.sub(r"\\pi ", _ROOT.sub(lambda found: f"\\sqrt{{{found[1] or found[2]}}}", text))
    text = _RECURRING.sub(_as_fraction, text)
    return _UNIT_WORDS.sub("", " ".join(text.split()))


def _unit_or_word(found: re.Match[str]) -> str:
    """`\\text{ cm}^2` is a unit and goes; `\\text{ or }` is a word and stays, and so shows that this is no
    formula; `\\mathrm{x}` is a letter."""
    inner = found[1].strip()
    return f" {inner} " if len(inner) == 1 or inner in ("or", "and") else ""


def _as_fraction(found: re.Match[str]) -> str:
    whole, once, again = found.groups()
    bottom = int("9" * len(again) + "0" * len(once))
    top = int(f"{whole}{once}{again}") - int(f"0{whole}{once}")
    return f"\\frac{{{top}}}{{{bottom}}}"


# ---------------------------------------------------------------- may it be parsed?


def is_formula(tidied: str) -> bool:
    """Whether the text is mathematics and nothing else, in letters and commands that answers have."""
    if not _ALLOWED.fullmatch(tidied) or not _FORMULA.search(tidied) or gold_numbers(tidied):
        return False
    if "\\" not in tidied and _GROUPED.fullmatch(tidied):
        return False
    if not all(command in _COMMANDS for command in _COMMAND.findall(tidied)):
        return False
    return all(_is_variables(found) for found in _LETTERS.finditer(_COMMAND.sub(" \\ ", tidied)))


def _is_variables(found: re.Match[str]) -> bool:
    """One letter, a function, or up to three letters that touch their factor as in "5xy"."""
    letters = found.group()
    if len(letters) == 1 or letters in _WORDS:
        return True
    touching = found.string[found.start() - 1 : found.start()] + found.string[found.end() : found.end() + 1]
    return (
        len(letters) <= 3 and any(mark in "0123456789^+-*/(){}=" for mark in touching) and " " not in touching
    )


def too_large(tidied: str) -> bool:
    """Whether parsing or working out could take long."""
    depth = deepest = 0
    for character in tidied[: LONGEST + 1]:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    brackets = sum(tidied.count(bracket) for bracket in "({[|")
    return (
        len(tidied) > LONGEST
        or deepest > DEEPEST
        or brackets > MOST_BRACKETS
        or _LONG_NUMBER.search(tidied) is not None
        or _EXPONENT.search(tidied) is not None
        or tidied.count("!") > len(_FACTORIAL.findall(tidied))
        or tidied.count("!") > 1
        or tidied.count("binom") > len(_BINOMIAL.findall(tidied))
        or not _small_powers(tidied)
    )


def _small_powers(tidied: str) -> bool:
    exponents = [_exponent(tidied, at + 1) for at, character in enumerate(tidied) if character == "^"]
    if exponents and ("!" in tidied or "binom" in tidied):
        return False
    if any("^" in power for power in exponents):
        return False
    numbers = [int(number) for power in exponents for number in re.findall(r"\d+", power)]
    return prod(max(1, number) for number in numbers) <= LARGEST_POWER


def _exponent(text: str, at: int) -> str:
    """What is raised: one character, or all of a pair of braces."""
    at += len(text[at:]) - len(text[at:].lstrip())
    if text[at : at + 1] not in ("{", "("):
        return text[at : at + 1]
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] in "{(") - (text[end] in "})")
        if depth == 0:
            return text[at:end]
    return text[at:]


def readable(tidied: str) -> bool:
    """Whether the formula can be compared: a number in another base only letter by letter."""
    return bool(_IN_BASE.fullmatch(tidied)) or (is_formula(tidied) and parsed(tidied) is not None)


# ---------------------------------------------------------------- parsing

_PARSING = Lock()
"""The grammar's tables are shared and filled while it parses."""


@lru_cache(4096)
def parsed(tidied: str) -> Basic | None:
    """The formula as math-verify's LaTeX grammar reads it; None if it cannot."""
    if too_large(tidied) or _BASE.search(tidied) or ("\\end" in tidied and "^" in tidied):
        return None
    # Its only word is that it runs without a time-out, which is what we ask for.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    from math_verify import LatexExtractionConfig, parse

    try:
        with _PARSING:
            found = parse(
                f"${tidied}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
            )
    except Exception:  # whatever a grammar makes of a model's text, it is a text that cannot be read
        return None
    return found[0] if found else None
