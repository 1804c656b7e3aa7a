"""Questions a second whose options are scored, of every way: a Flan-T5-small's shape, and a Llama's as large.

    python benchmarks/score.py [--questions 200] [--threads N] [--batch-tokens N] [--json FILE]

Two kinds of options: the sentences that students here learn to answer with, "The answer is (A).", which share
most of their tokens, and texts of 3 to 12 words, which share none. The peer is transformers' own forward, an
option at a time, as a first script does it; "in batches" puts 32 questions of like length together, and reads
each source once for each of their options. Both are called with nothing of ours around them but token ids.
CPU time is told beside wall time, for it says more on a machine that others use too. All rows are compared
with the peer's log-probabilities. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from generate import STUDENTS, WORDS, prompts
from understudy.students._live import pad
from understudy.students._scoring import Choosing, score

Sums = list[tuple[float, ...]]


def questions(count: int, kind: str) -> list[Choosing]:
    draw = random.Random(1)
    labels = tuple(f"w1 w2 w3 w4 w{10 + place} w5 w6" for place in range(4))
    """Seven tokens, of which one differs, as in "The answer is (A)."."""

    def texts() -> tuple[str, ...]:
        return tuple(" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) for _ in range(4))

    return [Choosing(text, "", labels if kind == "labels" else texts()) for text in prompts(count)]


def ids(live: Any, asked: Sequence[Choosing]) -> list[tuple[list[int], list[list[int]]]]:
    sources = live.codec.sources([one.source for one in asked])
    targets = [[row[:-1] for row in live.codec.targets(one.options)] for one in asked]
    return list(zip(sources, targets, strict=True))


def forward(live: Any, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """(source, option) each in a row of its own, through the model as it is."""
    if live.kind == "seq2seq":
        start = live.model.config.decoder_start_token_id
        logits = live.model(
            input_ids=pad([source for source, _ in rows], live.pad),
            attention_mask=pad([[1] * len(source) for source, _ in rows], 0),
            decoder_input_ids=pad([[start, *option[:-1]] for _, option in rows], live.pad),
            use_cache=False,
        ).logits
        places = [0] * len(rows)
    else:
        whole = pad([[*source, *option][:-1] for source, option in rows], live.pad)
        logits = live.model(input_ids=whole, use_cache=False).logits
        places = [len(source) - 1 for source, _ in rows]
    found = []
    for row, place, (_, option) in zip(logits, places, rows, strict=True):
        chosen = torch.tensor(option).unsqueeze(1)
        found.append(float(row[place : place + len(option)].float().log_softmax(-1).gather(1, chosen).sum()))
    return found


def one_by_one(live: Any, asked: Sequence[Choosing]) -> Sums:
    with torch.inference_mode():
        return [
            tuple(forward(live, [(source, option)])[0] for option in options)
            for source, options in ids(live, asked)
        ]


def batched(live: Any, together: int, asked: Sequence[Choosing]) -> Sums:
    rows = ids(live, asked)
    order = sorted(range(len(rows)), key=lambda at: -len(rows[at][0]))
    found: Sums = [()] * len(rows)
    with torch.inference_mode():
        for start in range(0, len(order), together):
            part = order[start : start + together]
            flat = [(rows[at][0], option) for at in part for option in rows[at][1]]
            sums = iter(forward(live, flat))
            for at in part:
                found[at] = tuple(next(sums) for _ in rows[at][1])
    return found


def ways(live: Any, half: Any, tokens: int) -> Iterator[tuple[str, Callable[[Sequence[Choosing]], Sums]]]:
    yield "transformers, one by one, float32", partial(one_by_one, live)
    yield "transformers, in batches of 32 questions, float32", partial(batched, live, 32)
    yield "ours, float32", lambda asked: score(live, asked, tokens)
    yield "transformers, one by one, bfloat16", partial(one_by_one, half)
    yield "ours, bfloat16", lambda asked: score(half, asked, tokens)


def measured(live: Any, name: str, kind: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    asked = questions(options.questions, kind)
    half = copy.copy(live)
    half.model = copy.deepcopy(live.model).to(torch.bfloat16)
    reference: Sums = []
    first = first_cpu = 0.0
    for way, run in ways(live, half, options.batch_tokens):
        run(asked[:2])
        started, cpu_started = time.perf_counter(), time.process_time()
        sums = run(asked)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        reference, first, first_cpu = reference or sums, first or seconds, first_cpu or cpu
        worst = max(
            abs(a - b) for x, y in zip(sums, reference, strict=True) for a, b in zip(x, y, strict=True)
        )
        row = {"model": name, "options": kind, "way": way, "questions": len(asked), "seconds": seconds}
        row |= {
            "per_second": len(asked) / seconds,
            "ratio": first / seconds,
            "cpu_seconds": cpu,
            "cpu_ratio": first_cpu / cpu,
            "largest_difference": worst,
        }
        print(
            f"{name:16} {kind:7} {way:52} {len(asked) / seconds:8.1f} questions/s "
            f"{first / seconds:6.2f} x, CPU time {first_cpu / cpu:6.2f} x   differs by {worst:.1e}",
            flush=True,
        )
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        row
        for name, make in STUDENTS.items()
        for live in (make(),)
        for kind in ("labels", "texts")
        for row in measured(live, name, kind, options)
    ]
    if options.json:
        about = {
            "threads": options.threads,
            "batch_tokens": options.batch_tokens,
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
