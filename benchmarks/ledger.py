"""What the ledger costs: rows written and read a second, beside bare SQLite in the same run, and its memory.

    python benchmarks/ledger.py [--rows 200000] [--folder DIR]

Writes go to DIR (a temporary folder) and, where there is one, to memory (/dev/shm). A pass is
`Ledger.complete` with a completer that answers at once, so that what is measured is the ledger. The memory of
a process is read from Linux's /proc.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from understudy.ledger import Ledger
from understudy.roles import Identity, Landed
from understudy.types import Completion, Message, Question, Request, Sampling

SAMPLING = Sampling(temperature=0.7)
TEXT = "Ann has 2 pens and buys 3 more, so she has 2 + 3 = 5 pens. The answer is 5. " * 4
RAW = '{{"id": "chatcmpl-{0}", "choices": [{{"message": {{"content": "{1}"}}}}], "usage": {{}}}}'
FEW = 10_000


class Instant:
    """Answers at once, `batch` completions together; or never, for a pass over a finished ledger."""

    identity = Identity("http://benchmark", "instant")

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        del sampling
        stream = enumerate(requests)
        while batch := list(islice(stream, self.batch)):
            yield [
                (
                    position,
                    Completion(r.question.id, 0, TEXT, "stop", 60, 80, raw=RAW.format(position, TEXT)),
                )
                for position, r in batch
            ]

    def close(self) -> None:
        """Nothing is open."""


def requests(count: int) -> Iterator[Request]:
    for number in range(count):
        text = f"Ann has {number} pens and buys 3 more. How many pens has she now? " * 3
        yield Request(Question(text, "5"), (Message("user", text),))


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(path: Path, rows: int, batch: int = 64) -> float:
    """Seconds of one pass."""
    with Ledger(path) as ledger:
        return timed(lambda: sum(1 for _ in ledger.complete(Instant(batch), requests(rows), SAMPLING)))


def select(path: Path, rows: int) -> float:
    """Seconds to read every row by its key, one bare SELECT after the other, in random order."""
    with closing(sqlite3.connect(path)) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM completions")][:rows]
        random.Random(0).shuffle(keys)
        query = "SELECT text, finish_reason, prompt_tokens, completion_tokens FROM completions WHERE key = ?"
        return timed(lambda: [db.execute(query, (key,)).fetchone() for key in keys])


def making(rows: int) -> float:
    """Seconds that the benchmark itself takes to make its requests."""
    return timed(lambda: sum(1 for _ in requests(rows)))


def peak_mb(path: Path, rows: int) -> float:
    """The most memory that a process held which wrote a ledger and then read it."""
    command = [sys.executable, __file__, "--only-pass", str(path), "--rows", str(rows)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def only_pass(path: Path, rows: int) -> None:
    run(path, rows)
    run(path, rows)
    # Not getrusage: what it says of a process begins with the memory of the one that started it.
    (peak,) = (s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def line(what: str, figure: str) -> None:
    print(f"| {what} | {figure} |", flush=True)


def measure(folder: Path, rows: int) -> None:
    line("what", "figure")
    line("---", "---")
    places = {"disk": folder} | ({"memory": Path("/dev/shm")} if Path("/dev/shm").is_dir() else {})
    for place, root in places.items():
        for batch in (1, 64, 512):
            count = min(rows, FEW if batch == 1 else 4 * FEW)
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                seconds = run(Path(scratch) / "ledger.sqlite", count, batch)
            line(f"written to {place}, {batch} together", f"{count / seconds:,.0f} rows/s")
    path = folder / "ledger.sqlite"
    line(f"{rows:,} rows written, 64 together", f"{rows / run(path, rows):,.0f} rows/s")
    line("size", f"{path.stat().st_size / rows:,.0f} bytes a row")
    again, bare = min(run(path, rows) for _ in range(3)), min(select(path, rows) for _ in range(3))
    line("second pass", f"{rows / again:,.0f} rows/s")
    line("of which making the requests", f"{making(rows) / again:.0%}")
    line("bare SELECT by key", f"{rows / bare:,.0f} rows/s")
    line("second pass / bare SELECT, in time", f"{again / bare:.1f}")
    few, many = (peak_mb(folder / f"{count}.sqlite", count) for count in (FEW, rows))
    line(f"memory at {FEW:,} / {rows:,} rows", f"{few:.0f} / {many:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only-pass", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_pass:
        only_pass(options.only_pass, options.rows)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options.rows)


if __name__ == "__main__":
    main()
