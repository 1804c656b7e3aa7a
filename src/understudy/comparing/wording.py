"""A comparison as people read it: lines for a terminal, and a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.comparing import Comparison, Part
from understudy.report.wording import SIGNIFICANCE, p_value, percent, percent_range, points, points_range


def lines(found: Sequence[Comparison]) -> list[str]:
    """Of each comparison, with an empty line between two."""
    text: list[str] = []
    for one in found:
        text += ["", *_lines(one)] if text else _lines(one)
    return text


def _lines(one: Comparison) -> Iterator[str]:
    for letter, part in (("A", one.a), ("B", one.b)):
        yield f"{letter}: {part.name} ({part.answered:,} answers; right by {part.verdict})"
    yield f"in common: {one.n:,} questions"
    for letter, part in (("A", one.a), ("B", one.b)):
        whole = f"; {percent(part.accuracy_of_all)} of all its own" if part.answered > one.n else ""
        yield f"{letter} right: {_accuracy(part, one.n)}{whole}"
    yield f"A - B: {_difference(one)} (exact McNemar p {p_value(one.test.p_value)})"
    yield (
        f"both right {one.test.both:,}, only A {one.test.only_a:,}, only B {one.test.only_b:,}, "
        f"neither {one.test.neither:,}"
    )
    yield _detectable(one)
    yield _call(one)
    yield from (f"note: {note}" for note in one.notes)


def markdown(found: Sequence[Comparison]) -> str:
    """A table for each comparison."""
    return "\n".join(line for one in found for line in _page(one))


def _page(one: Comparison) -> Iterator[str]:
    yield f"## {_plain(one.a.name)} against {_plain(one.b.name)}\n"
    yield "| | answers | right by | right, in common | accuracy | 95 % interval |"
    yield "|---|---|---|---|---|---|"
    for letter, part in (("A", one.a), ("B", one.b)):
        yield (
            f"| {letter}: {_plain(part.name)} | {part.answered:,} | {_plain(part.verdict)} | "
            f"{part.correct:,} of {one.n:,} | {percent(part.accuracy)} | {percent_range(part.interval)} |"
        )
    yield "\n| both right | only A | only B | neither |\n|---|---|---|---|"
    yield f"| {one.test.both:,} | {one.test.only_a:,} | {one.test.only_b:,} | {one.test.neither:,} |\n"
    yield f"A - B: {_difference(one)}, exact McNemar p {p_value(one.test.p_value)}. {_call(one)}\n"
    yield f"{_detectable(one)}\n"
    yield from (f"- {_plain(note)}" for note in one.notes)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def _accuracy(part: Part, n: int) -> str:
    return f"{part.correct:,} of {n:,}, {percent(part.accuracy)} {percent_range(part.interval)}"


def _difference(one: Comparison) -> str:
    interval = points_range((one.difference.low, one.difference.high))
    return f"{points(one.difference.difference)} points {interval}"


def _detectable(one: Comparison) -> str:
    if one.detectable is None:
        return "no difference could be found with so few questions"
    size = points(one.detectable).removeprefix("+")
    return f"smallest difference that such a comparison finds four times in five: {size} points"


def _call(one: Comparison) -> str:
    if one.test.p_value >= SIGNIFICANCE or not one.difference.difference:
        return "The evidence favours neither."
    return f"The evidence favours {'A' if one.difference.difference > 0 else 'B'}."
