"""A rationale's equations as a program without results, and the machine that runs it.

    12 / 2 = 6. 6 - 4 = 2. The answer is 2.    ->    12 / 2 = #1; #1 - 4 = #2; The answer is #2.

A line is a sum that `_sums` reads, with "#1" for the result of an earlier line, and nothing else is ever
executed: no names, no loops, no code. Values are exact, so nothing is rounded on the way; a rationale that
needs its rounding ("25 / 4 = 6 buses. 6 * 30 = 180") has no program, and neither has one whose answer no
equation computes.

A number that equals an earlier result becomes its reference. The catch is a number that the question says as
well: it is the result only if that was the one just made, and then once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from understudy import answers
from understudy.checks._pairs import Pair, pairs
from understudy.checks._results import numbers_at
from understudy.checks._sums import Reading, Side, read_side
from understudy.checks._tokens import Token, tokens
from understudy.checks._written import said
from understudy.checks.equations import LONGEST, MARK, holds

MOST_LINES = 40
_LINE = re.compile(r"([^;=]{1,400})=\s?#(\d{1,3})")
_ANSWER = re.compile(rf"{answers.CUE} #(\d{{1,3}})(%?)\.?")
_REFERENCE = re.compile(r"=\s?#\d|\banswer is #\d", re.IGNORECASE)
"""What stands in no rationale: a text with this is a program, or was meant as one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of a program; None where it has none, and then why."""

    value: Fraction | None
    fault: str = ""

    @property
    def answer(self) -> str:
        """The value in digits: "2", "2.5", "10/3"; empty where there is none."""
        return "" if self.value is None else said(self.value)


# ---------------------------------------------------------------- running


def run(text: str) -> Outcome | None:
    """Run `text`; None if it is no program at all. Never raises; the cost is linear in the text."""
    if not _REFERENCE.search(text[:LONGEST]):
        return None
    *lines, last = text[:LONGEST].strip().split(";")
    results: dict[str, Fraction] = {}
    for line in lines:
        found = _LINE.fullmatch(line.strip())
        if found is None:
            return Outcome(None, "a line of it is no equation")
        value = _value(found[1], results)
        if value is None:
            return Outcome(None, "a line of it cannot be calculated")
        results[found[2]] = value
    answer = _ANSWER.fullmatch(last.strip())
    if answer is None:
        return Outcome(None, "it does not end with an answer")
    if answer[1] not in results:
        return Outcome(None, "its answer is no result of it")
    return Outcome(results[answer[1]] * (100 if answer[2] else 1))


def _value(line: str, results: dict[str, Fraction]) -> Fraction | None:
    """What one sum comes to; None if it is none, divides by zero or refers to a result that is not there."""
    found = _referred(tokens(line.strip()), results)
    side = read_side(found, 0, Reading()) if found else None
    return side.value if side is not None and found and side.end == len(found) - 1 else None


def _referred(found: Sequence[Token], results: dict[str, Fraction]) -> list[Token] | None:
    """The tokens with a number for every "#1"; None if one refers to nothing."""
    put: list[Token] = []
    for token in found:
        if put and put[-1].text == "#" and token.kind == "number" and not token.spaced:
            if token.text not in results:
                return None
            put[-1] = replace(token, value=results[token.text], decimals=0, spaced=put[-1].spaced)
        else:
            put.append(token)
    return put


# ---------------------------------------------------------------- writing


@dataclass(slots=True)
class _Result:
    exact: Fraction
    written: Fraction
    """As the rationale says it: 3.33 for 10/3."""
    used: bool = False


def program_of(rationale: str, answer: str, question: str = "") -> str | None:
    """The program of a rationale that comes to `answer`; None if there is none that does."""
    text = MARK.sub("", rationale[:LONGEST])
    found = tokens(text)
    asked = {token.value for token in tokens(question) if token.kind == "number"}
    lines: list[str] = []
    results: list[_Result] = []
    for pair in pairs(text, found):
        if pair.inner and results and results[-1].exact == pair.left.value:
            results[-1].written = pair.right.value if pair.right.lone else pair.left.value
            continue
        if pair.left.operators == 0 or (pair.doubtful and not holds(text, found, pair)):
            continue
        line = _line(found, pair.left, results, asked)
        numbered = {str(number): result.exact for number, result in enumerate(results, 1)}
        value = None if line is None else _value(line, numbered)
        if line is None or value is None or len(lines) == MOST_LINES:
            return None
        lines.append(f"{line} = #{len(lines) + 1}")
        results.append(_Result(value, _stated(pair)))
    return _answered(lines, answer)


def _answered(lines: list[str], answer: str) -> str | None:
    """The lines up to the last one that comes to the answer, and the sentence that says so."""
    for number in range(len(lines), 0, -1):
        for sign in ("", "%"):
            program = "; ".join([*lines[:number], answers.write(f"#{number}{sign}", "number")])
            outcome = run(program)
            if outcome is None or outcome.value is None:
                return None
            stated = answers.write(outcome.answer, "number")
            if answers.judge(stated, answer, "number").name == "correct":
                return program
    return None


def _stated(pair: Pair) -> Fraction:
    """The number behind the equals sign; of a running sum, "3 + 4 = 7 * 2 = 14", its first one."""
    running = pair.right.operators and pair.right.first == pair.left.value
    return pair.right.first if running else pair.right.value


def _line(found: Sequence[Token], side: Side, results: Sequence[_Result], asked: set[Fraction]) -> str | None:
    """A left side in the program's spelling; None if it cannot be spelled so."""
    literal = _spelled(found, side, _no_reference)
    if literal is None or _value(literal, {}) != side.value:
        return None
    fresh = True

    def refer(value: Fraction) -> str | None:
        nonlocal fresh
        saying = [
            number for number, result in enumerate(results, 1) if value in (result.exact, result.written)
        ]
        if saying and fresh and saying[-1] == len(results):
            fresh = False
        elif value in asked:
            return None
        if not saying:
            return None
        # Results are mostly used once: of two that are equal, the one that nothing has used yet.
        number = max(saying, key=lambda number: (not results[number - 1].used, number))
        results[number - 1].used = True
        return f"#{number}"

    return _spelled(found, side, refer)


def _no_reference(value: Fraction) -> None:
    del value


def _spelled(found: Sequence[Token], side: Side, refer: Callable[[Fraction], str | None]) -> str | None:
    """The numbers and signs of a side, one space apart: no unit, no currency, no word but "of"."""
    pieces: list[str] = []
    place = side.start
    while place < side.end:
        token, after = found[place], found[place + 1]
        if token.kind == "number" and _is_mixed(found, place):
            pieces.append(f"({token.text} + {found[place + 1].text} / {found[place + 3].text})")
            place += 3
        elif token.kind == "number":
            piece, place = _number(found, place, refer)
            pieces.append(piece)
        elif token.kind == "operator":
            unit = after.kind in ("word", "unit")
            pieces += [] if unit else ["**" if token.text == "^" else token.text]
        elif token.text == "of":
            pieces.append("*")
        elif token.kind == "open" and after.kind in ("word", "unit"):
            place = next(at for at in range(place, side.end) if found[at].kind == "close")
        elif token.kind == "open":
            pieces += ["*", "("] if pieces and pieces[-1][-1] in _ENDS else ["("]
        elif token.kind == "close":
            pieces.append(")")
        elif token.kind == "power":
            pieces += ["**", said(token.value)]
        elif token.kind not in ("word", "unit", "money"):
            return None
        place += 1
    return " ".join(pieces).replace("( ", "(").replace(" )", ")")


def _number(found: Sequence[Token], place: int, refer: Callable[[Fraction], str | None]) -> tuple[str, int]:
    """A number, with its stroke or its percent sign if it has one, as a reference or in plain digits; and the
    place of its last token."""
    for value, dress, last in numbers_at(found, place):
        percent = dress == "%"
        if last > place and value.denominator == 1:
            continue  # the "6 / 2" of a sum is no fraction
        reference = refer(value / 100 if percent else value)
        if reference is not None:
            return reference, last + percent
    token = found[place]
    percent = found[place + 1].kind == "percent"
    return _plain(token) + "%" * percent, place + percent


def _plain(token: Token) -> str:
    """A number without its commas; a vulgar fraction in digits."""
    if token.text.isascii():
        return said(token.value) if "," in token.text else token.text
    return f"({token.value.numerator} / {token.value.denominator})"


_ENDS = frozenset("0123456789)%")


def _is_mixed(found: Sequence[Token], place: int) -> bool:
    """Whether "3 1/2" stands there: two numbers beside each other are nothing else."""
    return found[place + 1].kind == "number" and found[place + 2].text == "/"
