"""What a person watches: bars while a run works, tables when it is done.

On a terminal there is one bar for the whole run, with the time that is left, and one for each step at
work; anywhere else there are plain lines without control codes. The catch: costs are estimates, so the
time left is scaled by how long the work so far has really taken, and is unknown before some is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from understudy.audit.section import Section
from understudy.events import Event, Listener
from understudy.types import Verdict

WIDTH_WITHOUT_TERMINAL = 120


def output() -> Console:
    """Where results go; lines are not folded at 80 columns when they are piped into a file."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_WITHOUT_TERMINAL)


@contextmanager
def watching(
    console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Listener]:
    """A listener that draws on `console` (the standard error) until the block ends."""
    console = console or Console(stderr=True)
    work = Work(clock)
    if not console.is_terminal:
        yield _Lines(console, work)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress, work)


@dataclass(slots=True)
class Work:
    """How much of a run's estimated cost is done, and what that says about the time left."""

    clock: Callable[[], float]
    costs: dict[str, float] = field(default_factory=dict)
    fractions: dict[str, float] = field(default_factory=dict)
    found: dict[str, float] = field(default_factory=dict)
    """Fractions that were done before this run: they cost no time now."""
    started: float | None = None

    def take(self, event: Event) -> None:
        if event.kind == "planned":
            self.costs[event.step] = event.cost
        elif event.kind == "reused":
            self.found[event.step] = self.fractions[event.step] = 1.0
        elif event.kind in ("started", "progress", "done"):
            if self.started is None:
                self.started = self.clock()
            self.found.setdefault(event.step, event.fraction if event.kind == "started" else 0.0)
            self.fractions[event.step] = 1.0 if event.kind == "done" else event.fraction

    @property
    def steps(self) -> int:
        return len(self.costs)

    @property
    def finished(self) -> int:
        return sum(fraction >= 1 for step, fraction in self.fractions.items() if step in self.costs)

    @property
    def fraction(self) -> float:
        """Share of the planned cost that is done, 0 to 1."""
        total = sum(self.costs.values())
        return self._sum(self.fractions) / total if total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace so far; None before there is one."""
        done_now = self._sum(self.fractions) - self._sum(self.found)
        if self.started is None or done_now <= 0:
            return None
        left = sum(self.costs.values()) - self._sum(self.fractions)
        return max(0.0, (self.clock() - self.started) * left / done_now)

    def _sum(self, fractions: Mapping[str, float]) -> float:
        return sum(cost * fractions.get(step, 0.0) for step, cost in self.costs.items())


class _Bars:
    """Draws on a terminal. Steps run in several threads, hence the lock."""

    def __init__(self, progress: Progress, work: Work) -> None:
        self.progress = progress
        self.work = work
        self.lock = Lock()
        self.whole = progress.add_task("the whole run", total=1.0, detail="")
        self.bars: dict[str, TaskID] = {}
        self.notes: set[str] = set()

    def __call__(self, event: Event) -> None:
        with self.lock:
            self.work.take(event)
            if event.kind == "note":
                self._note(event)
            elif event.kind in ("started", "progress"):
                if event.step not in self.bars:
                    title = escape(event.title or event.step)
                    self.bars[event.step] = self.progress.add_task(f"  {title}", total=1.0, detail="")
                detail = escape(event.detail)
                self.progress.update(self.bars[event.step], completed=event.fraction, detail=detail)
            elif event.kind == "done" and event.step in self.bars:
                self.progress.remove_task(self.bars.pop(event.step))
            self.progress.update(self.whole, completed=self.work.fraction, detail=self._summary())

    def _note(self, event: Event) -> None:
        text = event.detail or event.title
        if text not in self.notes:
            self.notes.add(text)
            self.progress.console.print(f"note: {escape(text)}", highlight=False)

    def _summary(self) -> str:
        steps = f"{self.work.finished} of {self.work.steps} steps"
        return f"{steps}, {_time_left(self.work)}" if self.work.fraction < 1 else steps


class _Lines:
    """Writes one plain line at the start and the end of each step."""

    def __init__(self, console: Console, work: Work) -> None:
        self.console = console
        self.work = work
        self.lock = Lock()
        self.begun: dict[str, float] = {}
        self.notes: set[str] = set()

    def __call__(self, event: Event) -> None:
        with self.lock:
            self.work.take(event)
            title = event.title or event.step
            if event.kind == "note":
                text = event.detail or event.title
                if text not in self.notes:
                    self.notes.add(text)
                    self._write(f"note: {text}")
            elif event.kind == "started":
                self.begun[event.step] = self.work.clock()
                self._write(f"start: {title}")
            elif event.kind == "reused":
                self._write(f"already done: {title}")
            elif event.kind == "done":
                self._done(event, title)

    def _done(self, event: Event, title: str) -> None:
        parts = [event.detail] if event.detail else []
        if event.step in self.begun:
            parts.append(f"took {_duration(self.work.clock() - self.begun[event.step])}")
        parts.append(f"{self.work.finished} of {self.work.steps} steps")
        if self.work.fraction < 1:
            parts.append(_time_left(self.work))
        self._write(f"done: {title} ({', '.join(parts)})")

    def _write(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _time_left(work: Work) -> str:
    seconds = work.seconds_left
    return "time left not known yet" if seconds is None else f"about {_duration(seconds)} left"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def results_table(report: Mapping[str, Any]) -> Table:
    """Accuracy with its interval and n for every row of a report; columns that never vary are left out."""
    rows = report["rows"]
    trained = [row for row in rows if row.get("role") != "teacher"]
    optional = [key for key in ("student", "seed") if len({row[key] for row in trained}) > 1]
    table = Table(title=escape(str(report.get("title", ""))) or None)
    for name in ("method", *optional, "split"):
        table.add_column(name)
    for name in ("accuracy", "95 % interval", "no answer", "n"):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["interval"]
        table.add_row(
            *(escape(str(row[key])) for key in ("method", *optional, "split")),
            f"{row['accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            str(row["no_answer"]),
            str(row["n"]),
        )
    return table


def counts_table(counts: Mapping[str, int], strict: Mapping[str, int]) -> Table:
    """How many outputs were correct, wrong, and without an answer, by either reading."""
    table = Table("verdict")
    for name in ("rows", "share", "strict reading", "share"):
        table.add_column(name, justify="right")
    for name in counts:
        cells = [cell for by in (counts, strict) for cell in (str(by[name]), _share(by[name], by["total"]))]
        table.add_row(name.replace("_", " "), *cells)
    return table


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else ""


def disagreements_table(apart: Sequence[tuple[int, Verdict]]) -> Table:
    """The rows that the two readings judge differently, by their line in the file."""
    table = Table("line", "verdict", "read as", "why", "strict verdict", "strictly read as")
    for line, verdict in apart:
        cells = (str(line), verdict.name, verdict.extracted, verdict.reason, verdict.strict)
        table.add_row(*(escape(cell or "") for cell in (*cells, verdict.strict_extracted)))
    return table


def print_sections(console: Console, sections: Sequence[Section]) -> None:
    """Each part of an audit: its title, what was found, its table."""
    for section in sections:
        console.print(Text(section.title, style="bold"))
        for sentence in section.sentences:
            console.print(Text(sentence))
        if section.rows:
            table = Table(*(escape(column) for column in section.columns))
            for row in section.rows:
                table.add_row(*(escape(cell) for cell in row))
            console.print(table)
        console.print()
