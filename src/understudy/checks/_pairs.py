"""Which two sides of a text stand beside one "=", and whether more may belong to them than was read.

A sum in prose has no brackets around it: "half of 50 - 5", "x + 3 = 7", "3 weeks = 21 days" and a list whose
line breaks were lost all look like equations. They are not thrown away but called doubtful, and the caller
lets a doubtful pair count only if it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from understudy.checks._sums import Reading, Side, read_side
from understudy.checks._tokens import Token, words

_STARTS = frozenset(("number", "money", "open", "frac"))
_ABOUT = words("about approximately around roughly nearly almost only just approx")
# A number after one of these belongs to something that is not read: "half of 50 - 5", "5 less than 20".
_PART_OF_MORE = words(
    "of half twice double thrice triple times by than minus plus over squared cubed root percent"
)
_WHOLE = words("total sum average cost price profit distance")


@dataclass(slots=True)
class Pair:
    """Both sides of one relation."""

    left: Side
    right: Side
    almost: bool
    """Whether the relation is "≈" or "= about"."""
    inner: bool
    """Whether the left side is itself the right side of another."""
    doubtful: bool


def pairs(text: str, found: Sequence[Token]) -> Iterator[Pair]:
    """Of "a = b = c" both (a, b) and (b, c). `found` are the tokens of `text`."""
    at = 0
    while found[at].kind != "end":
        left = read_side(found, at, Reading()) if _starts(found, at) else None
        if left is None:
            at += 1
            continue
        doubtful, inner = _goes_on_before(found, at), False
        while found[left.end].kind == "relation":
            start, almost = _right_start(found, left.end)
            right = read_side(found, start, Reading()) if _starts(found, start) else None
            if right is None:
                break
            glued = _glued(text, found, left.value, right)
            doubtful |= glued or left.doubtful or right.doubtful or _says_nothing(left)
            doubtful |= _goes_on_after(found, right) or _mixed(left, right)
            yield Pair(left, right, almost, inner, doubtful)
            left, doubtful, inner = right, glued, True
        at = max(left.end, at + 1)


# ---------------------------------------------------------------- where a sum starts and ends


def _starts(found: Sequence[Token], at: int) -> bool:
    """Whether a sum may start here; a "-" is a sign if it stands close to its number or after "="."""
    if found[at].text == "-" and found[at + 1].kind in _STARTS:
        return not found[at + 1].spaced or (at > 0 and found[at - 1].kind == "relation")
    return found[at].kind in _STARTS


def _right_start(found: Sequence[Token], at: int) -> tuple[int, bool]:
    """Where the right side of the relation at `at` starts, past "about" and markdown."""
    almost = found[at].text == "≈"
    at += 1
    while found[at].text in ("*", "^", "~") or found[at].text.lower() in _ABOUT:
        almost = almost or found[at].text not in ("*", "^")
        at += 1
    return at, almost


def _goes_on_before(found: Sequence[Token], at: int) -> bool:
    if at == 0:
        return False
    before, first = found[at - 1], found[at]
    if first.text == "-":
        return not first.spaced or not (before.kind in ("pause", "open") or len(before.text) > 1)
    if before.kind == "operator":
        bullet = at == 1 or found[at - 2].kind == "pause"
        return not (bullet or (before.text in ("*", "^") and before.spaced and not first.spaced))
    if before.kind == "word":
        part = before.text.lower() in _PART_OF_MORE and found[at - 2].text.lower() not in _WHOLE
        remark = first.kind == "open" and found[at + 2].kind == "close"
        return part or remark or not first.spaced
    if before.kind == "close":
        return not first.spaced
    ratio = before.text == ":" and before.spaced
    return ratio or before.kind in ("number", "other", "power", "percent", "bang", "apart", "frac")


def _goes_on_after(found: Sequence[Token], side: Side) -> bool:
    token, after = found[side.end], found[min(side.end + 1, len(found) - 1)]
    if token.kind == "operator":
        markup = token.text in ("*", "^") and not token.spaced and (after.spaced or after.kind != "word")
        return not markup and after.kind in ("word", "other", "open", "operator", "frac")
    if token.kind == "word":
        return not token.spaced or (len(token.text) == 1 and token.text not in ("a", "A", "I"))
    ratio = token.text == ":" and token.spaced
    return ratio or token.kind in ("open", "other", "power", "frac", "apart", "number")


def _says_nothing(left: Side) -> bool:
    """Whether a left side computes nothing: "1 hour = 60 minutes", "40% = 20 people", "1/5 = 4 people"."""
    if left.lone:
        return True
    if left.operators != 1 or len(left.numbers) != 2 or not 0 < left.value < 1:
        return False
    (top, _), (bottom, _) = left.numbers
    return left.value * bottom == top


def _glued(text: str, found: Sequence[Token], value: Fraction, right: Side) -> bool:
    """Whether the right number is the value with something stuck to it where a line break was lost: the
    number of a list's next item ("= 152. Then" is 15, then "2."), or the next sum ("= 2828 - 8 = 20")."""
    number = next(token for token in found[right.start : right.end] if token.kind == "number")
    for cut in range(1, min(len(number.text), 12)):
        head, item = number.text[:-cut].rstrip(".,").replace(",", ""), number.text[-cut:]
        if not head.replace(".", "", 1).isdecimal() or Fraction(head) != abs(value):
            continue
        listed = item.isdecimal() and f"{int(item) - 1}." in text[: number.start]
        if right.operators or listed or found[right.end].kind == "relation":
            return True
    return False


# ---------------------------------------------------------------- units

# Units of one kind stand together; synonyms and plurals share a name.
_KINDS = (
    "second/sec minute/min hour/hr day week month year decade century/centuries",
    "inch/inches foot/feet/ft yard mile millimeter/mm centimeter/cm meter/metre kilometer/kilometre/km",
    "ounce/oz pound/lb ton gram kilogram/kg milligram/mg",
    "milliliter/ml liter/litre gallon quart pint cup tablespoon teaspoon",
    "dollar/$ cent penny/pennies nickel dime quarter",
)
_UNITS = {
    word: (kind, names.split("/")[0])
    for kind, group in enumerate(_KINDS)
    for names in group.split()
    for name in names.split("/")
    for word in (name, name + "s")
}
_MULTIPLES = words("dozen dozens hundred thousand million billion trillion pair pairs score half third")
_CLOCK = frozenset(("am", "pm", "a.m", "p.m"))


def _mixed(left: Side, right: Side) -> bool:
    """Whether two units of one kind stand in it ("3 weeks = 21 days"), a word that multiplies, a time of the
    day, or a price that is not said ("2 coffees * 5 days = $30")."""
    said = left.words | right.words
    units = {_UNITS[word] for word in said if word in _UNITS}
    unpriced = "$" in right.words and left.words and not left.words & {"$", "%", "dollar", "dollars"}
    return bool(said & (_MULTIPLES | _CLOCK) or unpriced or len({kind for kind, _ in units}) < len(units))
