"""Tables of our verdicts beside recorded ones, and what falls short: the pages of `conformance.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hand_judgements import HAND_JUDGEMENTS
from known_verdicts import Group, Known
from understudy.types import Verdict

WORDS = 12
"""How many words of a question or an output stand in a table, at most."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A group with our verdict on each of its rows."""

    group: Group
    verdicts: tuple[Verdict, ...]

    @property
    def n(self) -> int:
        return len(self.verdicts) + self.group.unreadable

    @property
    def right(self) -> int:
        return sum(verdict.name == "correct" for verdict in self.verdicts)

    @property
    def differing(self) -> list[tuple[Known, Verdict]]:
        """The rows whose recorded verdict is not ours."""
        pairs = zip(self.group.rows, self.verdicts, strict=True)
        return [(row, verdict) for row, verdict in pairs if row.theirs != (verdict.name == "correct")]

    @property
    def exact(self) -> bool:
        """Whether our accuracy is the recorded one."""
        return self.group.accuracy is not None and abs(self.accuracy - self.group.accuracy) < 1e-9

    @property
    def accuracy(self) -> float:
        return 100 * self.right / self.n


@dataclass(frozen=True, slots=True)
class Section:
    """One collection's part of the page: its lines of the summary, its own table, and what falls short."""

    summary: tuple[str, ...]
    lines: tuple[str, ...]
    shortfalls: tuple[str, ...]


# ---------------------------------------------------------------- a recorded accuracy for each task


def accuracies(title: str, styles: Mapping[str, Sequence[Compared]]) -> Section:
    """BIG-Bench Hard: our accuracy on each task beside the authors', which it has to equal."""
    every = [(style, one) for style, compared in styles.items() for one in compared]
    unreadable = sum(one.group.unreadable for _, one in every)
    heads = [f"{style}: {whose}" for style in styles for whose in ("authors", "ours")]
    lines = (
        f"Accuracy in per cent. {unreadable} outputs have a gold that nobody can read, for the options of "
        "their question were split at a comma; the authors count them as wrong, and so does this table.",
        "",
        _cells("task", "form", "n", *heads),
        "|---" * (3 + len(heads)) + "|",
        *(_task_line(task) for task in zip(*styles.values(), strict=True)),
    )
    return Section(
        tuple(_accuracies_summary(f"{title}, {style}", styles[style]) for style in styles),
        lines,
        tuple(
            f"{title}, {style}, {one.group.name}: {one.accuracy:.2f} %, recorded {one.group.accuracy:.2f} %"
            for style, one in every
            if not one.exact
        ),
    )


def _accuracies_summary(title: str, compared: Sequence[Compared]) -> str:
    exact = sum(one.exact for one in compared)
    return _summary(title, compared, f"{exact} of {len(compared)} accuracies", "all of them")


def _task_line(task: Sequence[Compared]) -> str:
    cells = [cell for one in task for cell in (f"{one.group.accuracy:.1f}", f"{one.accuracy:.1f}")]
    return _cells(task[0].group.name, task[0].group.form, task[0].n, *cells)


# ---------------------------------------------------------------- a recorded verdict for each output


@dataclass(frozen=True, slots=True)
class Collection:
    """How to load and show a collection with a verdict on each row, and the agreement it has to reach."""

    name: str
    title: str
    load: Callable[[Path], list[Group]]
    least: float
    kind: str
    theirs: str
    also: str = ""
    """The heading of their second verdict, if there is one."""


def verdicts(collection: Collection, compared: Sequence[Compared]) -> Section:
    """How often our verdict is the recorded one, group by group."""
    n, differing = sum(one.n for one in compared), sum(len(one.differing) for one in compared)
    agreement = f"{n - differing:,} of {n:,} ({100 * (n - differing) / n:.2f} %)"
    short = []
    if differing > (1 - collection.least) * n + 1e-9:
        short.append(f"{collection.name}: agreement on {agreement}, the bar is {_bar(collection)}")
    short += [
        f"{collection.name}, {row.key}: our verdict differs and nobody has judged who is right"
        for one in compared
        for row, _ in one.differing
        if row.key not in HAND_JUDGEMENTS[collection.name]
    ]
    heads = [collection.kind, "n", collection.theirs, "ours", "differ", *filter(None, [collection.also])]
    lines = (
        _cells(*heads),
        "|---" * len(heads) + "|",
        *(_group_line(one, bool(collection.also)) for one in compared),
    )
    return Section(
        (_summary(collection.title, compared, agreement, _bar(collection)),),
        (*lines, *_difference_lines(collection.name, compared)),
        tuple(short),
    )


def _group_line(one: Compared, also: bool) -> str:
    theirs = sum(row.theirs is True for row in one.group.rows)
    second = [sum(row.also is True for row in one.group.rows)] if also else []
    return _cells(one.group.name.replace("_", " "), one.n, theirs, one.right, len(one.differing), *second)


def _difference_lines(name: str, compared: Sequence[Compared]) -> list[str]:
    differing = [pair for one in compared for pair in one.differing]
    if not differing:
        return []
    return [
        "",
        "Every output on which the verdicts differ, judged by hand:",
        "",
        "| row | question | output | gold | theirs | ours | right | why |",
        "|---|---|---|---|---|---|---|---|",
        *(_difference_line(name, row, verdict) for row, verdict in differing),
    ]


def _difference_line(name: str, row: Known, verdict: Verdict) -> str:
    right, why = HAND_JUDGEMENTS[name].get(row.key, ("not judged", ""))
    ours = f"{verdict.name.replace('_', ' ')}: {verdict.extracted}" if verdict.extracted else "no answer"
    theirs = "correct" if row.theirs else "wrong"
    return _cells(row.key, _end(row.question), _end(row.output), row.gold, theirs, ours, right, why)


def right_for_the_wrong_reason(compared: Sequence[Compared]) -> str:
    """MR-GSM8K's other verdict: answers that are right while their reasoning is not."""
    rows = [pair for one in compared for pair in zip(one.group.rows, one.verdicts, strict=True)]
    people = sum(row.theirs is True and row.also is False for row, _ in rows)
    ours = sum(verdict.name == "correct" and row.also is False for row, verdict in rows)
    return (
        f"Right answer, wrong reasoning by people's verdict: {people} of {len(rows)} where people judge the "
        f"answer, {ours} where we do. No filter by final answers can drop these."
    )


# ---------------------------------------------------------------- lines


def _summary(title: str, compared: Sequence[Compared], agreement: str, bar: str) -> str:
    every = [verdict for one in compared for verdict in one.verdicts]
    silent = sum(verdict.name == "no_answer" for verdict in every)
    differ = sum(verdict.strict != verdict.name for verdict in every)
    return _cells(title, f"{sum(one.n for one in compared):,}", agreement, bar, silent, f"{differ:,}")


def _bar(collection: Collection) -> str:
    return "all of them" if collection.least == 1 else f"{100 * collection.least:g} %"


def _end(text: str) -> str:
    words = text.split()
    return " ".join((["…"] if len(words) > WORDS else []) + words[-WORDS:])


def _cells(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
