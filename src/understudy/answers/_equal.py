"""Are two formulas equal?

Worked out at a few points and not rewritten: `simplify` and `solve` can run for minutes on a line of text,
the value of a formula cannot. Two formulas that agree to 12 digits wherever they are tried are equal. The
catch is order: a set has none, a pair has one, and "x < 3" is "3 > x".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import isfinite
from typing import Any

from understudy.answers._latex import parsed
from understudy.answers._number import AS_FRACTION, Number, equal, plain_number

MOST_ELEMENTS = 30
LARGEST_ROUNDED = 10**30
_POINTS = (("3/7", "5/11"), ("17/13", "23/19"), ("29/5", "31/3"))
"""Where variables are tried: the first at the first figure, each further one at a step of the second."""


@lru_cache(4096)
def same_formula(output: str, gold: str) -> bool:
    """Whether two tidied formulas, or a formula and a number, are equal; False if one cannot be read."""
    if output.replace(" ", "") == gold.replace(" ", ""):
        return True
    sides = [_read(text) for text in (output, gold)]
    if any(side is None for side in sides):
        return False
    try:
        one, other = _unwrapped(sides[0], sides[1]), _unwrapped(sides[1], sides[0])
        return _equal(one, other) or _rounds_to(one, gold)
    except Exception:  # sympy's methods raise what they like on what they were not made for
        return False


def _read(text: str) -> Any:
    from sympy import Rational

    number = plain_number(text)
    return parsed(text) if number is None else Rational(number.value.numerator, number.value.denominator)


def _rounds_to(formula: Any, gold: str) -> bool:
    """Whether a formula without variables meets a gold that is a rounded figure, as a fraction would."""
    number = plain_number(gold)
    if number is None or number.decimals < 2 or formula.free_symbols:
        return False
    value = formula.evalf(40)
    if not value.is_real or abs(value) > LARGEST_ROUNDED:
        return False
    return equal(Number(Fraction(str(value)), AS_FRACTION, "", 0, 0), number)


def _unwrapped(side: Any, other: Any) -> Any:
    """The 5 of "x = 5", where the other side is no equation."""
    from sympy import Eq

    if isinstance(side, Eq) and not isinstance(other, Eq) and (side.lhs.is_Symbol or side.lhs.is_Function):
        return side.rhs
    return side


def _equal(one: Any, other: Any) -> bool:
    from sympy import Expr, FiniteSet, Interval, MatrixBase, Tuple, Union
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import And

    if one == other:
        return True
    pair_of_kinds: tuple[tuple[Any, Callable[[Any, Any], bool]], ...] = (
        (FiniteSet, lambda a, b: _in_any_order(a.args, b.args)),
        (Union, lambda a, b: _in_any_order(a.args, b.args)),
        (And, lambda a, b: _in_any_order(a.args, b.args)),
        (Tuple, lambda a, b: _in_order(a.args, b.args)),
        (MatrixBase, lambda a, b: a.shape == b.shape and _in_order(list(a), list(b))),
        (Interval, _intervals),
        (Relational, _relations),
        (Expr, _values),
    )
    for kind, compare in pair_of_kinds:
        if isinstance(one, kind) and isinstance(other, kind):
            return compare(one, other)
    if isinstance(one, Interval) and isinstance(other, Tuple):  # (1, 2) is written like both
        return one.is_open is True and _in_order((one.start, one.end), other.args)
    return isinstance(one, Tuple) and isinstance(other, Interval) and _equal(other, one)


def _in_order(some: Sequence[Any], others: Sequence[Any]) -> bool:
    if len(some) != len(others) or len(some) > MOST_ELEMENTS:
        return False
    return all(_equal(one, other) for one, other in zip(some, others, strict=True))


def _in_any_order(some: Sequence[Any], others: Sequence[Any]) -> bool:
    left = list(others)
    if len(some) != len(left) or len(left) > MOST_ELEMENTS:
        return False
    for one in some:
        match = next((i for i, other in enumerate(left) if _equal(one, other)), None)
        if match is None:
            return False
        del left[match]
    return True


def _intervals(one: Any, other: Any) -> bool:
    openness = (one.left_open, one.right_open) == (other.left_open, other.right_open)
    return openness and _in_order((one.start, one.end), (other.start, other.end))


def _relations(one: Any, other: Any) -> bool:
    """Equations that are multiples of each other; inequalities that are positive multiples."""
    from sympy import Eq, Ne

    if one.func != other.func:
        other = other.reversed
    if one.func != other.func:
        return False
    names = _names(one, other)
    ratios = [
        _at(one.lhs - one.rhs, names, point) / _at(other.lhs - other.rhs, names, point) for point in _POINTS
    ]
    constant = all(_close(ratio, ratios[0]) for ratio in ratios)
    return constant and (isinstance(one, Eq | Ne) or (abs(ratios[0].imag) < 1e-12 and ratios[0].real > 0))


def _values(one: Any, other: Any) -> bool:
    names = _names(one, other)
    if not names:
        exact, other_exact = one.doit(), other.doit()
        if exact.is_Rational and other_exact.is_Rational:
            return bool(exact == other_exact)
    points = _POINTS if names else _POINTS[:1]
    return all(_close(_at(one, names, point), _at(other, names, point)) for point in points)


def _names(*formulas: Any) -> list[str]:
    return sorted({symbol.name for formula in formulas for symbol in formula.free_symbols})


def _at(formula: Any, names: Sequence[str], point: tuple[str, str]) -> complex:
    from sympy import Rational

    first, step = Rational(point[0]), Rational(point[1])
    values = {symbol: first + names.index(symbol.name) * step for symbol in formula.free_symbols}
    return complex(formula.evalf(20, subs=values))


def _close(one: complex, other: complex) -> bool:
    size = max(1e-3, abs(one), abs(other))
    return isfinite(size) and abs(one - other) <= 1e-12 * size
