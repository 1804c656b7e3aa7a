"""How fast a student is trained: transformers' Seq2SeqTrainer as it comes, at its best, and ours.

    python benchmarks/train.py [--student flan-t5-small] [--tokens 40000] [--rounds 1] [--json FILE]
    python benchmarks/train.py --growth 1000 1000000

Random weights, a vocabulary of 32,128, no dropout; texts of drawn words with the lengths of GSM8K (source
mean 60, target mean 110, at most 400 tokens each). Each contestant is a process of its own and trains on
the same examples for the same number of non-padding tokens, with the same optimiser settings and as many
steps (`--batch-tokens` is chosen so that a batch of ours holds about as many tokens as eight examples).
Timed is the loop alone, from the first batch to the end of the last step. The loss after it is the mean
over 128 held-out examples in fp32. Contestants take turns for `--rounds`, and the fastest counts: other
work on a machine only ever slows one down.

`--growth` measures ours alone at several numbers of examples: the seconds from the call of `train` to the
first batch, and tokens/s; once as it is, and once more with the token ids that the first time kept on disk.
Two parts of the start, which are the same for any number of examples, are told apart: importing torch and
transformers, and making the student. So are the seconds of the processor, which other work on a machine does
not stretch, and the memory of the process at its highest.

What it does not show: whether a student learns anything useful (the words are drawn by lot), or what a GPU
does with other shapes than those named here.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = 32_128
WORDS = 30_000
PEERS = ("peer default", "peer best")
OURS = "ours"
SHAPES: Mapping[str, Mapping[str, int]] = {
    "flan-t5-small": {"d_model": 512, "d_kv": 64, "d_ff": 1024, "layers": 8, "heads": 6},
    "flan-t5-base": {"d_model": 768, "d_kv": 64, "d_ff": 2048, "layers": 12, "heads": 12},
    "decoder-0.5b": {"hidden": 896, "inner": 4864, "layers": 24, "heads": 14, "kv": 2},
    "decoder-1.5b": {"hidden": 1536, "inner": 8960, "layers": 28, "heads": 12, "kv": 2},
}


def lengths(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Source and target tokens, end of text included, of shape (count, 2): skewed, and long questions have
    long rationales, as in GSM8K."""
    draw = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, 0.45], [0.45, 1]], count)
    spread = np.array([0.42, 0.48])
    drawn = np.array([60.0, 110.0]) * np.exp(draw * spread - spread**2 / 2)
    found: np.ndarray[Any, np.dtype[np.int64]] = np.clip(drawn.round(), 8, 400).astype(np.int64)
    return found


def examples(count: int, seed: int) -> list[Any]:
    """Words by Zipf's law, so that there is something to learn: which words are frequent."""
    from understudy.types import Example

    sizes = lengths(count, seed)
    rng = np.random.default_rng(seed + 1)
    chances = 1.0 / np.arange(1, WORDS + 1)
    names = np.array([f"w{number}" for number in range(WORDS)], dtype=object)
    # In parts, for the words of a million examples are gigabytes as numbers.
    totals = (int(sizes[start : start + 10_000].sum()) for start in range(0, count, 10_000))
    words = itertools.chain.from_iterable(
        names[rng.choice(WORDS, total, p=chances / chances.sum())].tolist() for total in totals
    )

    def text(size: int) -> str:
        # The end of text is a token too.
        return " ".join(itertools.islice(words, size - 1))

    return [
        Example(str(at), text(source), text(target)) for at, (source, target) in enumerate(sizes.tolist())
    ]


# ---------------------------------------------------------------- the student


def model_of(name: str, tokenizer: Any) -> Any:
    import torch

    torch.manual_seed(0)
    shape = SHAPES[name]
    if name.startswith("decoder"):
        from transformers import Qwen2Config, Qwen2ForCausalLM

        return Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=VOCABULARY,
                hidden_size=shape["hidden"],
                intermediate_size=shape["inner"],
                num_hidden_layers=shape["layers"],
                num_attention_heads=shape["heads"],
                num_key_value_heads=shape["kv"],
                tie_word_embeddings=True,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY,
            d_model=shape["d_model"],
            d_kv=shape["d_kv"],
            d_ff=shape["d_ff"],
            num_layers=shape["layers"],
            num_decoder_layers=shape["layers"],
            num_heads=shape["heads"],
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            decoder_start_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class Clock:
    """Notes when the first batch is made and when training has ended, and delegates the rest."""

    def __init__(self, live: Any) -> None:
        self.live = live
        self.first = self.first_cpu = self.end = self.end_cpu = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        if not self.first:
            self.first, self.first_cpu = time.perf_counter(), time.process_time()
        return self.live.collate(rows)

    def stop(self) -> None:
        if not self.end:
            self.end, self.end_cpu = time.perf_counter(), time.process_time()

    def encode(self, rows: Sequence[Any]) -> Any:
        # What is encoded after training is the held-out set.
        if self.first:
            self.stop()
        return self.live.encode(rows)

    def save(self, folder: Path) -> None:
        del folder
        self.stop()


def live_student(name: str) -> Clock:
    from understudy.students._tokenizers import Closed, Continued, make_tokenizer
    from understudy.students.causal import LiveCausal
    from understudy.students.seq2seq import LiveSeq2Seq

    words = " ".join(f"w{number}" for number in range(WORDS))
    tokenizer = make_tokenizer("word", [words, f" {words}"], VOCABULARY)
    model = model_of(name, tokenizer)
    if name.startswith("decoder"):
        live: Any = LiveCausal(model, tokenizer)
        live.codec = Continued(tokenizer)
    else:
        live = LiveSeq2Seq(model, Closed(tokenizer, False))
    return Clock(live)


# ---------------------------------------------------------------- contestants


def ours(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Through `understudy.training.train`, in an environment such as workers of a run have."""
    from understudy.engines.processes import ENVIRONMENT
    from understudy.roles import Budget, Student, TrainSpec
    from understudy.training import train

    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        raise SystemExit("the product's environment is not set: start this through benchmarks/train.py")
    made: list[Clock] = []
    spent: dict[str, float] = {}

    class Shape(Student):
        name: str = "shape"

        def describe(self) -> str:
            return ""

        def files(self) -> tuple[Path, ...]:
            return ()

        def create(self, texts: Sequence[str], seed: int) -> Any:
            del texts, seed
            begun = time.perf_counter()
            made.append(live_student(options.student))
            spent["making_the_student_seconds"] = time.perf_counter() - begun
            return made[0]

        def load(self, folder: Path) -> Any:
            raise NotImplementedError(folder)

    started = time.perf_counter()
    data, held = examples(options.examples, 1), examples(128, 7)
    prepared = time.perf_counter() - started
    started, started_cpu = time.perf_counter(), time.process_time()
    # As `train` would at once.
    importlib.import_module("understudy.training.trainer")
    spent["importing_seconds"] = time.perf_counter() - started
    result = train(
        Shape(),
        [(example,) for example in data],
        TrainSpec(
            budget=Budget(unit="tokens", amount=options.tokens),
            batch_tokens=options.batch_tokens,
            schedule="constant",
            warmup=0,
            checkpoints=0,
            **json.loads(options.spec),
        ),
        learning_rate=options.rate,
        seed=0,
        folder=folder,
        progress=lambda *_: None,
        dev=[(example,) for example in held],
        cache=options.cache,
    )
    clock = made[0]
    return {
        **timed(clock, result["tokens"]),
        "steps": result["steps"],
        "padding_efficiency": result["padding_efficiency"],
        "held_out_loss": result["dev_loss"],
        "train_loss": result["final_loss"],
        "start_up_seconds": clock.first - started,
        "start_up_cpu_seconds": clock.first_cpu - started_cpu,
        **spent,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "making_the_data_seconds": prepared,
        "flops": result["flops"],
    }


def peer(options: argparse.Namespace, folder: Path, best: bool) -> dict[str, Any]:
    """Seq2SeqTrainer (Trainer for decoders), as its own examples use it."""
    import torch
    from transformers import (
        DataCollatorForSeq2Seq,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
    )

    from understudy.students._flops import count
    from understudy.training.trainer import mean_loss

    clock = live_student(options.student)
    live = clock.live
    causal = options.student.startswith("decoder")
    live.model.set_attn_implementation("eager" if best and options.device == "cpu" else "sdpa")
    rows = live.encode(examples(options.examples, 1))
    dataset = [
        {
            "input_ids": [*row["source"], *row["target"]] if causal else row["source"],
            "attention_mask": [1] * (len(row["source"]) + (len(row["target"]) if causal else 0)),
            "labels": ([-100] * len(row["source"]) if causal else []) + row["target"],
        }
        for row in rows
    ]
    inner = DataCollatorForSeq2Seq(live.tokenizer, None if causal else live.model)
    counted = {"real": 0, "padded": 0}

    def collate(batch: Sequence[Mapping[str, Any]]) -> Any:
        if not clock.first:
            clock.first, clock.first_cpu = time.perf_counter(), time.process_time()
        tensors = inner(batch)
        counted["real"] += sum(len(row["input_ids"]) + (0 if causal else len(row["labels"])) for row in batch)
        counted["padded"] += tensors["input_ids"].numel() + (0 if causal else tensors["labels"].numel())
        return tensors

    mean = float(np.mean([len(row["source"]) + len(row["target"]) for row in rows]))
    trainer = Seq2SeqTrainer(
        model=live.model,
        args=Seq2SeqTrainingArguments(
            output_dir=str(folder),
            max_steps=math.ceil(options.tokens / (8 * mean)),
            learning_rate=options.rate,
            lr_scheduler_type="constant",
            weight_decay=0.01,
            per_device_train_batch_size=8,
            bf16=best,
            train_sampling_strategy="group_by_length" if best else "random",
            use_cpu=options.device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            seed=0,
        ),
        train_dataset=dataset,
        data_collator=collate,
    )
    trainer.train()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    clock.stop()
    held = [(row,) for row in live.encode(examples(128, 7))]
    flops = count(live.model)
    per_token = sum(flops.training(len(r["source"]), len(r["target"])) for r in rows) / (mean * len(rows))
    return {
        **timed(clock, counted["real"]),
        "steps": trainer.state.global_step,
        "padding_efficiency": counted["real"] / counted["padded"],
        "held_out_loss": mean_loss(live, held),
        "flops": per_token * counted["real"],
    }


def timed(clock: Clock, tokens: int) -> dict[str, Any]:
    seconds = clock.end - clock.first
    cpu = clock.end_cpu - clock.first_cpu
    return {"tokens": tokens, "seconds": seconds, "cpu_seconds": cpu, "tokens_per_second": tokens / seconds}


def ceiling() -> float:
    """Floating-point operations per second of one large product in bf16 on the GPU."""
    import torch

    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - started)


# ---------------------------------------------------------------- the race


def contest(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One contestant in a process of its own, which says its result in a file."""
    from understudy.engines.processes import ENVIRONMENT

    given = {key: value for key, value in os.environ.items() if key not in ENVIRONMENT}
    if name == OURS:
        given |= ENVIRONMENT
    given["OMP_NUM_THREADS"] = str(options.threads)
    if options.device == "cpu":
        given["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        passed = ["tokens", "examples", "batch_tokens", "rate", "student", "device", "spec", "threads"]
        passed += ["cache"] if options.cache else []
        flags = [f"--{key.replace('_', '-')}={getattr(options, key)}" for key in passed]
        command = [sys.executable, __file__, f"--contestant={name}", f"--out={out}", *flags]
        subprocess.run(command, env=given, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def race(options: argparse.Namespace) -> list[dict[str, Any]]:
    names = [*PEERS, OURS] if not options.only else options.only
    rounds = [{name: contest(name, options) for name in names} for _ in range(options.rounds)]
    rows = []
    for name in names:
        best = max((one[name] for one in rounds), key=lambda found: found["tokens_per_second"])
        rows.append({"name": name, **best, "all": [one[name]["tokens_per_second"] for one in rounds]})
    top = ceiling() if options.device == "cuda" else 0.0
    for row in rows:
        row["ratio"] = row["tokens_per_second"] / rows[0]["tokens_per_second"]
        row["cpu_ratio"] = (row["tokens"] / row["cpu_seconds"]) / (rows[0]["tokens"] / rows[0]["cpu_seconds"])
        share = f" {row['flops'] / row['seconds'] / top:6.1%} of a product's speed" if top else ""
        print(
            f"{row['name']:14} {row['tokens_per_second']:9,.0f} tokens/s {row['ratio']:5.2f} x "
            f"({row['cpu_ratio']:.2f} x by CPU time)  padding efficiency {row['padding_efficiency']:.3f}  "
            f"{row['steps']} steps  held-out loss {row['held_out_loss']:.3f}{share}",
            flush=True,
        )
    return rows


def growth(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for count in options.growth:
        options.examples = count
        with tempfile.TemporaryDirectory() as cache:
            options.cache = Path(cache)
            for turn in ("first", "again"):
                found = contest(OURS, options)
                rows.append({"name": f"ours, {count} examples, {turn}", **found})
                fixed = found["importing_seconds"] + found["making_the_student_seconds"]
                print(
                    f"{count:10,} examples, {turn}: {found['start_up_seconds']:7.1f} s to the first batch "
                    f"({found['start_up_cpu_seconds']:.1f} of the processor; {fixed:.1f} for libraries and "
                    f"student), {found['tokens_per_second']:9,.0f} tokens/s "
                    f"({found['tokens'] / found['cpu_seconds']:,.0f} per second of the processor), "
                    f"{found['peak_gigabytes']:.1f} GB",
                    flush=True,
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--student", choices=SHAPES, default="flan-t5-small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tokens", type=float, default=40_000, help="non-padding tokens to train on")
    parser.add_argument("--examples", type=int, default=7_473, help="as many as GSM8K has")
    parser.add_argument("--batch-tokens", type=int, default=1_600)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--growth", type=int, nargs="+")
    parser.add_argument("--only", nargs="+", choices=[*PEERS, OURS])
    parser.add_argument("--spec", default="{}", help="further keys of `train` for ours, as JSON")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        with tempfile.TemporaryDirectory() as folder:
            if options.contestant == OURS:
                found = ours(options, Path(folder))
            else:
                found = peer(options, Path(folder), best=options.contestant == "peer best")
        options.out.write_text(json.dumps(found), encoding="utf-8")
        return
    rows = growth(options) if options.growth else race(options)
    if options.json:
        import torch
        import transformers

        about = {
            "student": options.student,
            "device": options.device,
            "threads": options.threads,
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
