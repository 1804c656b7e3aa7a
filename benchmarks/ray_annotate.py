"""What annotation through Ray's actors costs and gains, beside the plain client in the same run.

    python benchmarks/ray_annotate.py [--requests 10000] [--rounds 3]

Everything goes through the ledger, to a file in a temporary folder. The clock starts when the actors are
ready and have answered a few requests. Every set-up takes its turn, `--rounds` times, and the table shows
medians. The catch: server, driver, ledger and actors share the cores of one machine, so this shows what Ray
costs, and little of what many machines gain. The last line is a teacher that only sleeps, as one does that
waits for its GPU, and needs no core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Literal

from loopback_server import serving
from understudy.engines.ray import RaySpec, spread
from understudy.ledger import Ledger
from understudy.roles import Apprenticeship, Completer, Identity, Landed, Teacher
from understudy.teachers.openai import OpenAI
from understudy.types import Completion, Message, Question, Request, Sampling

SETTINGS = ((0.0, 64), (0.05, 64), (0.05, 256))
"""Seconds that the server waits before it answers, and requests in flight: of each actor, as it is used."""
ACTORS = (0, 1, 2)
"""None stands for the teacher in this process."""
SAMPLING = Sampling(temperature=0.7)
TOGETHER, SLEEP_S = 32, 0.2
WARM = 256


class Sleeper(Teacher):
    """A model on a GPU as its CPU sees it: `TOGETHER` answers every `SLEEP_S` seconds."""

    name: Literal["sleeper"] = "sleeper"

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        return Identity("benchmark", "sleeper")

    def build(self, model: Path | None) -> Completer:
        del model
        return _Sleeping()


class _Sleeping:
    identity = Identity("benchmark", "sleeper")

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        del sampling
        stream = enumerate(requests)
        while batch := list(islice(stream, TOGETHER)):
            time.sleep(SLEEP_S)
            yield [
                (position, Completion(r.question.id, 0, "The answer is 4.", "stop")) for position, r in batch
            ]

    def close(self) -> None:
        """Nothing is open."""


def requests(name: str, count: int) -> Iterator[Request]:
    for number in range(count):
        text = f"A ferry makes {number} crossings a day and takes 35 cars on each of them ({name}). How many?"
        yield Request(Question(text, "4"), (Message("user", text),))


def rate(completer: Completer, count: int) -> float:
    """Requests a second."""
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        for _ in ledger.complete(completer, requests("warm", WARM), SAMPLING):
            pass
        started = time.perf_counter()
        answered = sum(
            completion.finish_reason == "stop"
            for _, completion in ledger.complete(completer, requests("timed", count), SAMPLING)
        )
        seconds = time.perf_counter() - started
    assert answered == count
    return count / seconds


def measure(teacher: Teacher, actors: int, count: int) -> float:
    if not actors:
        completer = teacher.build(None)
    else:
        completer = spread(teacher, None, RaySpec(actors=actors, cpus_per_actor=0.5))
    try:
        return rate(completer, count)
    finally:
        completer.close()


def row(what: str, teacher: Teacher, count: int, rounds: int) -> None:
    measured: dict[int, list[float]] = {actors: [] for actors in ACTORS}
    for _ in range(rounds):
        for actors in ACTORS:
            measured[actors].append(measure(teacher, actors, count))
    plain = median(measured[0])
    cells = [f"{median(measured[a]):,.0f} ({median(measured[a]) / plain:.2f})" for a in ACTORS]
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| requests/s (ratio to the plain client) | no Ray | 1 actor | 2 actors |\n|---|---|---|---|")
    for latency, in_flight in SETTINGS:
        with serving(latency) as url:
            teacher = OpenAI(model="loopback", base_url=url, concurrency=in_flight)
            what = f"HTTP, {latency * 1000:.0f} ms, {in_flight} in flight"
            row(what, teacher, options.requests, options.rounds)
    what = f"asleep, {TOGETHER / SLEEP_S:.0f}/s at most"
    row(what, Sleeper(), max(TOGETHER, options.requests // 5), options.rounds)


if __name__ == "__main__":
    main()
