"""Packed rows against rows of one example each: padding, and tokens per second of forward and backward.

    OMP_NUM_THREADS=1 python benchmarks/packing.py [--seconds 15] [--batch-tokens 2048] [--json FILE]

Random weights and lengths like GSM8K's (source mean 60, target mean 110, at most 400 each), in groups of one
example. Both ways have batches of as many tokens; the plan that cuts them, the collators that lay them, and
the loss are those of the product. Timed are forward, backward and the laying of rows, without the optimizer,
which does not know of rows. The two take turns, so that other work on the machine falls on both. Tokens are
source + target without padding.

What it does not show: a GPU, where short rows leave the machine idle and masks need not be tables.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy import batches
from understudy.roles import TrainSpec
from understudy.students.causal import Causal
from understudy.students.seq2seq import Seq2Seq
from understudy.training import head, packing
from understudy.training.collate import Collator
from understudy.training.encode import size

STUDENTS = {"causal": Causal, "seq2seq": Seq2Seq}
GROUPS = 2000


def groups(vocabulary: int) -> list[Any]:
    rng = np.random.default_rng(0)
    draw = rng.multivariate_normal([0, 0], [[1, 0.45], [0.45, 1]], GROUPS)
    spread = np.array([0.42, 0.48])
    drawn = np.array([60.0, 110.0]) * np.exp(draw * spread - spread**2 / 2)
    lengths = np.clip(drawn.round(), 8, 400).astype(int)
    more = {"objective": "answer", "weight": 1.0, "cut": 0, "silent": False}
    return [
        ({"source": _ids(rng, s, vocabulary), "target": _ids(rng, t, vocabulary), **more},)
        for s, t in lengths.tolist()
    ]


def _ids(rng: np.random.Generator, many: int, vocabulary: int) -> list[int]:
    return [int(token) for token in rng.integers(5, vocabulary, many)]


def step(live: Any, collate: Any, batch: Sequence[Any], output: Any) -> float:
    began = time.perf_counter()
    inputs = collate(batch)
    labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
    with packing.attending(live.model, inputs) as seen:
        loss = head.loss_of(live.model, seen, labels, weights, output)
    loss.backward()  # type: ignore[no-untyped-call]
    live.model.zero_grad(set_to_none=True)
    return time.perf_counter() - began


def measure(
    name: str, config: str, attention: str, seconds: float, batch_tokens: int
) -> list[dict[str, Any]]:
    live: Any = STUDENTS[name](config=config).create([" ".join(f"w{i}" for i in range(4000))], 0)
    live.model.set_attn_implementation(attention)
    live.model.train()
    output = head.head_of(live.model)
    made = groups(len(live.tokenizer))
    sizes = [size(group, live.kind) for group in made]
    packer = packing.packer(live, made, TrainSpec(batch_tokens=batch_tokens), 0)
    ways = {
        "alone": (batches.plan(sizes, batch_tokens, "epochs", 1, 0), Collator(live)),
        "packed": (
            batches.plan(sizes, batch_tokens, "epochs", 1, 0, cutting=packer),
            packing.PackedCollator(live, packer.room),
        ),
    }
    spent = dict.fromkeys(ways, 0.0)
    tokens = dict.fromkeys(ways, 0)
    place = 0
    while min(spent.values()) < seconds:
        for way, (plan, collate) in ways.items():
            batch = plan.batches[place % len(plan.batches)]
            took = step(live, collate, [made[i] for i in batch], output)
            if place:  # the first one warms up
                spent[way] += took
                tokens[way] += sum(sizes[i].tokens for i in batch)
        place += 1
    return [
        {
            "student": f"{name} {config}",
            "attention": attention,
            "rows": way,
            "padding efficiency": round(plan.tokens / plan.padded, 3),
            "tokens/s": round(tokens[way] / spent[way]),
            "row": list(packer.room) if way == "packed" else None,
        }
        for way, (plan, _) in ways.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--config", default="small")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = []
    for name in STUDENTS:
        for attention in ("eager", "sdpa"):
            for row in measure(name, asked.config, attention, asked.seconds, asked.batch_tokens):
                print("  ".join(f"{value}" for value in row.values()), flush=True)
                found.append(row)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
