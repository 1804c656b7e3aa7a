"""How fast clients annotate against a loopback server: ours, with and without its ledger, and others.

    python benchmarks/annotate.py                 # all clients, 0 and 50 ms, 64 and 256 requests in flight
    python benchmarks/annotate.py --memory        # resident memory at 10,000 and 200,000 rows
    python benchmarks/annotate.py --second-pass   # 200,000 rows that are all in the ledger

Each measurement has a process of its own, and its server another. Clients take turns, `--rounds` times, and
the table shows medians: on a machine that is busy with other things only the ratios of one run mean much.
Making connections is in the time; importing libraries is not. A client that is not installed is absent.
The catch: distilabel is measured by its LLM class in batches, without its pipeline's processes around it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from loopback_server import serving

LATENCIES_S = (0.0, 0.05)
IN_FLIGHT = (64, 256)
FAST = 5
"""Clients that are fast get this many times the requests, or their starting would be all that is seen."""
FEW, MANY = 10_000, 200_000
MODEL = "loopback"


@dataclass(frozen=True)
class Trial:
    """What a client is to do: `count` questions to the server at `url`; files go to `folder`."""

    url: str
    count: int
    in_flight: int
    folder: Path


Run = Callable[[], int]
"""Asks everything and says how many answers came."""


def question(number: int) -> str:
    return (
        f"A ferry makes {number} crossings a day and takes 35 cars on each of them. On market days it makes "
        "2 crossings more. How many cars does it carry in a week with one market day? Think step by step."
    )


# ---------------------------------------------------------------- ours


def ours(trial: Trial) -> Run:
    """Through the ledger, every answer on disk before it is yielded."""
    from understudy.ledger import Ledger
    from understudy.types import Sampling

    def run() -> int:
        with Ledger(trial.folder / "ledger.sqlite") as ledger:
            completer = _teacher(trial).build(None)
            answers = ledger.complete(completer, _requests(trial.count), Sampling(temperature=0.7))
            return sum(completion.finish_reason == "stop" for _, completion in answers)

    return run


def ours_without_ledger(trial: Trial) -> Run:
    from understudy.types import Sampling

    def run() -> int:
        batches = _teacher(trial).build(None).complete(_requests(trial.count), Sampling(temperature=0.7))
        return sum(completion.finish_reason == "stop" for batch in batches for _, completion in batch)

    return run


def _teacher(trial: Trial) -> Any:
    from understudy.teachers.openai import OpenAI

    # The endpoint has a name, because the server's port is another one every time.
    return OpenAI(model=MODEL, base_url=trial.url, endpoint="loopback", concurrency=trial.in_flight)


def _requests(count: int) -> Iterator[Any]:
    from understudy.types import Message, Question, Request

    for number in range(count):
        text = question(number)
        yield Request(Question(text, "1"), (Message("user", text),))


# ---------------------------------------------------------------- others


async def _bounded(trial: Trial, ask: Callable[[str], Any]) -> int:
    """What one writes around a client that has no limit of its own: a semaphore and gather."""
    limit = asyncio.Semaphore(trial.in_flight)

    async def one(number: int) -> bool:
        async with limit:
            return bool(await ask(question(number)))

    return sum(await asyncio.gather(*[one(number) for number in range(trial.count)]))


def _openai(trial: Trial, http_client: Any) -> Run:
    from openai import AsyncOpenAI

    async def run() -> int:
        async with AsyncOpenAI(base_url=trial.url, api_key="none", http_client=http_client()) as client:

            async def ask(text: str) -> str | None:
                reply = await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": text}], temperature=0.7, max_tokens=512
                )
                return str(reply.choices[0].message.content)

            return await _bounded(trial, ask)

    return lambda: asyncio.run(run())


def openai(trial: Trial) -> Run:
    return _openai(trial, lambda: None)


def openai_aiohttp(trial: Trial) -> Run:
    import httpx_aiohttp  # noqa: F401 - without it the client below cannot be made
    from openai import DefaultAioHttpClient

    return _openai(trial, DefaultAioHttpClient)


def aiohttp(trial: Trial) -> Run:
    """The HTTP library under our client, with nothing around it."""
    import aiohttp as library

    async def run() -> int:
        connector = library.TCPConnector(limit=trial.in_flight)
        async with library.ClientSession(connector=connector) as session:

            async def ask(text: str) -> str:
                fields = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 512}
                async with session.post(f"{trial.url}/chat/completions", json=fields) as response:
                    reply = json.loads(await response.read())
                    return str(reply["choices"][0]["message"]["content"])

            return await _bounded(trial, ask)

    return lambda: asyncio.run(run())


def litellm(trial: Trial) -> Run:
    import litellm as library

    async def ask(text: str) -> str | None:
        reply = await library.acompletion(
            model=f"openai/{MODEL}",
            messages=[{"role": "user", "content": text}],
            api_base=trial.url,
            api_key="none",
            temperature=0.7,
            max_tokens=512,
        )
        return str(reply.choices[0].message.content)

    return lambda: asyncio.run(_bounded(trial, ask))


def distilabel(trial: Trial) -> Run:
    from distilabel.models import OpenAILLM

    model = OpenAILLM(model=MODEL, base_url=trial.url, api_key="none")
    model.load()

    def run() -> int:
        answered = 0
        for start in range(0, trial.count, trial.in_flight):
            numbers = range(start, min(trial.count, start + trial.in_flight))
            inputs = [[{"role": "user", "content": question(number)}] for number in numbers]
            outputs = model.generate_outputs(inputs=inputs, max_new_tokens=512, temperature=0.7)
            answered += sum(bool(output["generations"]) for output in outputs)
        return answered

    return run


def curator(trial: Trial) -> Run:
    os.environ |= {"CURATOR_DISABLE_CACHE": "1", "TELEMETRY_ENABLED": "false", "CURATOR_VIEWER": "0"}
    os.environ["OPENAI_API_KEY"] = "none"
    from bespokelabs import curator as library

    class Ask(library.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, str]) -> str:
            return row["question"]

        def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
            return {**row, "answer": response}

    limits = {
        "base_url": trial.url,
        "max_concurrent_requests": trial.in_flight,
        "max_requests_per_minute": 10_000_000,
        "max_tokens_per_minute": 10_000_000_000,
    }
    # Its own openai backend fetches a tokenizer from the network first.
    ask = Ask(model_name="openai/gpt-4o-mini", backend="litellm", backend_params=limits)

    def run() -> int:
        rows = [{"question": question(number)} for number in range(trial.count)]
        return len(ask(rows, working_dir=str(trial.folder)).dataset)

    return run


CLIENTS: dict[str, tuple[Callable[[Trial], Run], int]] = {
    "understudy, ledger on": (ours, FAST),
    "understudy, no ledger": (ours_without_ledger, FAST),
    "aiohttp, bare": (aiohttp, FAST),
    "openai (httpx, its default)": (openai, 1),
    "openai (aiohttp)": (openai_aiohttp, 1),
    "litellm": (litellm, 1),
    "distilabel (batches)": (distilabel, 1),
    "curator": (curator, 1),
}
"""Name -> (how to make it ready, how many times the requests it gets)."""
YARDSTICK = "openai (httpx, its default)"


# ---------------------------------------------------------------- one measurement


def child(name: str, trial: Trial) -> None:
    """Runs in a process of its own and prints what it used as JSON; nothing but null if it is absent."""
    logging.disable(logging.WARNING)
    # Others print as they go; only our line may reach the pipe.
    pipe = os.dup(1)
    os.dup2(2, 1)
    prepare = CLIENTS[name][0]
    warm = trial.folder / "warm"
    warm.mkdir(exist_ok=True)
    try:
        prepare(
            replace(trial, count=1, folder=warm)
        )()  # what is imported with the first request is not on the clock
    except ImportError:
        os.write(pipe, b"null")
        return
    run = prepare(trial)
    cpu, start = _cpu(), time.perf_counter()
    answered = run()
    used = {"seconds": time.perf_counter() - start, "cpu": _cpu() - cpu, "answered": answered}
    used["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    os.write(pipe, json.dumps(used).encode())


def _cpu() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def measure(name: str, latency: float, count: int, in_flight: int, folder: Path) -> dict[str, float] | None:
    """Seconds, CPU seconds and peak MB of `count` requests; None if the client is absent."""
    with serving(latency) as url:
        command = [sys.executable, __file__, "--child", name, "--url", url, "--requests", str(count)]
        command += ["--in-flight", str(in_flight), "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    used: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1])
    if used and used["answered"] != count:
        raise SystemExit(f"{name} answered {used['answered']} of {count}:\n{done.stderr[-3000:]}")
    return used


def scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=folder, prefix="understudy-benchmark-")


# ---------------------------------------------------------------- tables


def compare(names: list[str], requests: int, rounds: int, folder: Path) -> None:
    for latency in LATENCIES_S:
        for in_flight in IN_FLIGHT:
            results: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
            for _ in range(rounds):
                for name in names:
                    count = requests * CLIENTS[name][1]
                    with scratch(folder) as own:
                        used = measure(name, latency, count, in_flight, Path(own))
                    if used:
                        results[name].append((count / used["seconds"], used["cpu"] / count * 1e6))
            show(latency, in_flight, results)


def show(latency: float, in_flight: int, results: dict[str, list[tuple[float, float]]]) -> None:
    ceiling = in_flight / latency if latency else None
    limit = f", at most {ceiling:,.0f} requests/s" if ceiling else ""
    print(f"\n### {latency * 1000:.0f} ms, {in_flight} in flight{limit}\n")
    print("| client | requests/s | share of ceiling | CPU per request, µs | times openai |")
    print("|---|---|---|---|---|")
    base = median(rate for rate, _ in results[YARDSTICK]) if results.get(YARDSTICK) else None
    for name, measured in results.items():
        if not measured:
            print(f"| {name} | absent | | | |")
            continue
        rate, cpu = (median(column) for column in zip(*measured, strict=True))
        share = f"{rate / ceiling:.0%}" if ceiling else ""
        times = f"{rate / base:.1f}" if base else ""
        print(f"| {name} | {rate:,.0f} | {share} | {cpu:,.0f} | {times} |", flush=True)


def memory(folder: Path) -> None:
    print("| client | peak MB at 10,000 rows | at 200,000 | difference |\n|---|---|---|---|")
    for name in ("understudy, ledger on", "understudy, no ledger"):
        peaks = []
        for count in (FEW, MANY):
            with scratch(folder) as own:
                used = measure(name, 0.0, count, 64, Path(own))
                assert used
                peaks.append(used["peak"])
        print(f"| {name} | {peaks[0]:.0f} | {peaks[1]:.0f} | {peaks[1] - peaks[0]:.0f} |", flush=True)


def second_pass(folder: Path) -> None:
    print(f"| pass over {MANY:,} rows | rows/s | CPU per row, µs | peak MB |\n|---|---|---|---|")
    with scratch(folder) as own:
        for name in ("first", "second"):
            used = measure("understudy, ledger on", 0.0, MANY, 64, Path(own))
            assert used
            rate, cpu = MANY / used["seconds"], used["cpu"] / MANY * 1e6
            print(f"| {name} | {rate:,.0f} | {cpu:,.0f} | {used['peak']:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare clients against a loopback server.")
    parser.add_argument("--requests", type=int, default=2000, help="per measurement; fast clients get more")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", nargs="*", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where ledgers go")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--second-pass", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--in-flight", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, Trial(asked.url, asked.requests, asked.in_flight, asked.folder))
    elif asked.memory:
        memory(asked.folder)
    elif asked.second_pass:
        second_pass(asked.folder)
    else:
        compare(asked.clients, asked.requests, asked.rounds, asked.folder)


if __name__ == "__main__":
    main()
