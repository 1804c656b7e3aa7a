"""Text -> the tokens of arithmetic: numbers, operators, brackets, relations, words.

Plain, LaTeX and markdown are read alike. The catch is what only looks like arithmetic: "x" is a sign between
two numbers and an unknown elsewhere, "10:30" and "2,5" are no numbers here, and "5y" is one unknown thing.
Every pattern is a plain scan, so the cost is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

LONGEST_NUMBER = 30

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\u00a0\u2009\u202f`_&]+ | \n[ \t]{0,20}(?=&?=)
      | \\(?:left|right|displaystyle|boxed)\b | \\[,;:!\ ])
  | (?P<number>\d+(?:(?:[.,:]|\{,\}|,\\!)\d+)* [½⅓⅔¼¾⅕⅛⅙]? | [½⅓⅔¼¾⅕⅛⅙] | (?<![\w.])\.\d+)
  | (?P<apart>[!<>=≤≥]=|=[<>]|[-=]+>|[:]=|[<>])
  | (?P<relation>==?|≈|≃|≅|\\approx\b|\\simeq\b)
  | (?P<operator>\*\*|[-+*/^×·⋅∗÷∕⁄−–]|\\(?:times|cdot|div|ast)\b|(?:(?<=[\d)%])|(?<=[\d)%]\ ))[xX](?=[\d$(]))
  | (?P<frac>\\[dt]?frac\b)
  | (?P<unit>\\(?:text|mathrm|mbox|textrm)\{[^{}\d\n]{0,60}\} | °)
  | (?P<percent>\\?%|percent\b)
  | (?P<money>\\?[$€£¥₹])
  | (?P<open>[(\[{]) | (?P<close>[)\]}])
  | (?P<power>[⁰¹²³⁴-⁹]+)
  | (?P<word>[ap]\.m\b | [^\W\d_]\w*(?:['’-][^\W\d_]\w*)*['’]?)
  | (?P<pause>[\s.,;:?"“”]) | (?P<bang>!) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")
_SIGNS = dict.fromkeys("×·⋅∗xX", "*") | dict.fromkeys("÷∕⁄", "/") | dict.fromkeys("−–", "-")
_SIGNS |= {"\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/", "**": "^"}
_ALMOST = {"≈", "≃", "≅", "\\approx", "\\simeq"}


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    """As written; of an operator its plain sign, of a relation "=" or "≈"."""
    start: int
    end: int
    spaced: bool
    """Whether space stands before it."""
    value: Fraction = Fraction(0)
    decimals: int = 0


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def tokens(text: str) -> list[Token]:
    """Every token of `text` in order, and one of kind "end"."""
    found: list[Token] = []
    spaced = True
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind == "space":
            spaced = True
            continue
        found.append(_token(kind, match, spaced))
        spaced = False
    found.append(Token("end", "", len(text), len(text), True))
    return [_settled(found, place) for place in range(len(found))]


def _token(kind: str, match: re.Match[str], spaced: bool) -> Token:
    text, (start, end) = match.group(), match.span()
    if kind == "number":
        value = _value(text)
        if value is None:
            return Token("other", text, start, end, spaced)
        return Token(kind, text, start, end, spaced, value, len(text.partition(".")[2]))
    if kind == "operator":
        return Token(kind, _SIGNS.get(text, text), start, end, spaced)
    if kind == "relation":
        return Token(kind, "≈" if text in _ALMOST else "=", start, end, spaced)
    if kind == "power":
        digits = unicodedata.normalize("NFKC", text)
        return Token(kind, text, start, end, spaced, Fraction(int(digits[:3])))
    if kind == "word" and any(character.isdecimal() for character in text):
        return Token("other", text, start, end, spaced)
    return Token(kind, text, start, end, spaced)


def _value(text: str) -> Fraction | None:
    plain = text.replace("{,}", ",").replace(",\\!", ",")
    vulgar = Fraction(0)
    if plain[-1] in "½⅓⅔¼¾⅕⅛⅙":
        vulgar = Fraction(unicodedata.numeric(plain[-1])).limit_denominator(10)
        plain = plain[:-1] or "0"
    if len(plain) > LONGEST_NUMBER or not _NUMBER.fullmatch(plain):
        return None
    return Fraction(plain.replace(",", "")) + vulgar


def _settled(found: list[Token], place: int) -> Token:
    """A lone "x" is a sign where it stands between an operand's end and an operand's start."""
    token = found[place]
    if token.text not in ("x", "X") or token.kind != "word" or place == 0 or not token.spaced:
        return token
    before, after = found[place - 1].kind, found[place + 1].kind
    if before in ("number", "close", "percent", "word", "money", "unit") and after in (
        "number",
        "money",
        "open",
        "frac",
    ):
        return Token("operator", "*", token.start, token.end, token.spaced)
    return token
