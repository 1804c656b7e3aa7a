"""A client that is killed again and again, at random moments, pays once for what was recorded.

The server counts what it is asked in a process of its own; a child process asks it through the ledger and is
killed; the next child goes on. The long story is marked slow: `pytest -m slow tests/test_crash.py`.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from understudy.ledger.verifying import problems
from understudy.ledger_commands import _parse

CONCURRENCY = 16
IN_HAND = 2 * CONCURRENCY
"""The most requests that may be paid for and not recorded at any moment: those in flight, and as many that
have landed and are being committed."""

CHILD = textwrap.dedent("""
    import sys
    from pathlib import Path
    from understudy.ledger import Ledger
    from understudy.teachers.openai import OpenAI
    from understudy.types import Message, Question, Request, Sampling

    path, url, questions, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    completer = OpenAI(model="m", base_url=url, concurrency={concurrency}).build(None)
    texts = (f"question {{number}}" for number in range(questions))
    requests = (Request(Question(t, ""), (Message("user", t),), tuple(range(n))) for t in texts)
    with Ledger(path) as ledger:
        got = sum(1 for _ in ledger.complete(completer, requests, Sampling(temperature=0.7, seed=0)))
    assert got == questions * n
""").format(concurrency=CONCURRENCY)


@dataclass
class Found:
    """What there was after a kill, or at the end."""

    asked: Counter[str]
    """How often the server had been asked for each sample."""
    recorded: set[str]
    """What the ledger held."""

    @property
    def lost(self) -> int:
        """Samples that were asked for, so far, and led to no row."""
        return self.asked.total() - len(self.recorded)


@dataclass
class Story:
    path: Path
    port: int
    questions: int
    n: int
    found: list[Found] = field(default_factory=list)

    @property
    def samples(self) -> int:
        return self.questions * self.n

    def start(self) -> subprocess.Popen[bytes]:
        url = f"http://127.0.0.1:{self.port}/v1"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENAI_API_KEY": ""}
        command = [sys.executable, "-c", CHILD, str(self.path), url, str(self.questions), str(self.n)]
        return subprocess.Popen(command, env=environment)

    def kill_one(self, most: int, rng: random.Random) -> None:
        """Start a child and kill it: mostly after it has asked for some samples, sometimes earlier."""
        wanted = self.total() + rng.randrange(most)
        process = self.start()
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, 0.8))
        else:
            while self.total() < wanted and process.poll() is None:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.wait()
        self.look()

    def finish(self) -> None:
        assert self.start().wait(timeout=300) == 0
        self.look()

    def look(self) -> None:
        self.found.append(Found(Counter(self.ask("/")), self.stored()))

    def stored(self) -> set[str]:
        if not self.path.exists():
            return set()
        with closing(sqlite3.connect(self.path)) as database:
            try:
                return {text for (text,) in database.execute("SELECT text FROM completions")}
            except sqlite3.OperationalError:  # killed before there was a table
                return set()

    def total(self) -> int:
        return int(self.ask("/total"))

    def ask(self, path: str) -> Any:
        with closing(HTTPConnection("127.0.0.1", self.port)) as http:
            http.request("GET", path)
            return json.loads(http.getresponse().read())


@contextmanager
def counting_server(latency: float) -> Iterator[int]:
    """The port of a server that lives until the block ends."""
    script = Path(__file__).with_name("counting_server.py")
    command = [sys.executable, str(script), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        yield int(process.stdout.readline())
        process.stdin.close()
        process.wait(timeout=10)


def tell(path: Path, kills: int, questions: int, n: int, latency: float) -> Story:
    """The whole story: killed, killed, ..., and then left alone."""
    rng = random.Random()
    with counting_server(latency) as port:
        story = Story(path, port, questions, n)
        for _ in range(kills):
            story.kill_one(2 * story.samples // (kills + 1), rng)
        story.finish()
    return story


def check(story: Story) -> None:
    *kills, end = story.found
    everything = {f"question {number} #{s}" for number in range(story.questions) for s in range(story.n)}
    assert end.recorded == end.asked.keys() == everything
    for found in kills:
        assert found.recorded <= everything
        assert {text: end.asked[text] for text in found.recorded} == {
            text: found.asked[text] for text in found.recorded
        }, "what was recorded was never asked for again"
    assert len(everything) + kills[-1].lost == end.asked.total(), "left alone, it asks for nothing twice"
    lost = [found.lost - before.lost for before, found in pairwise([Found(Counter(), set()), *kills])]
    print(
        f"{len(kills)} kills, {story.samples:,} samples: {sum(lost)} asked for twice, {max(lost)} at one kill"
    )
    assert max(lost) <= IN_HAND * story.n
    assert sum(count > 0 for count in lost) >= len(kills) // 4, "the kills met a client at work"
    assert list(problems(story.path, _parse)) == []


def test_killed_four_times(tmp_path: Path) -> None:
    check(tell(tmp_path / "ledger.sqlite", kills=4, questions=300, n=2, latency=0.02))


@pytest.mark.slow
def test_killed_fifty_times(tmp_path: Path) -> None:
    check(tell(tmp_path / "ledger.sqlite", kills=50, questions=20_000, n=1, latency=0.005))
