"""Tokens a second of every engine on one student with random weights, of Flan-T5-small's size.

    python benchmarks/generate.py [--student encoder-decoder|decoder] [--prompts 256] [--tokens 128]
                                  [--threads N] [--json FILE]

The encoder-decoder has Flan-T5-small's shape and vocabulary, the decoder is Llama's with 60 million weights.
Every row writes exactly `--tokens` new tokens for each prompt, because no token of these students ends a
text, so all do the same work. The baseline is transformers' own `generate` at fixed batch sizes, called with
nothing of ours around it; the other rows go through the completer that evaluation uses, with its batches by
length. On a machine with a GPU and vLLM, its own `LLM.generate` is a row beside our engine of that name. Each
writes for a few prompts before the clock starts. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from understudy.generators.ready import ENGINES
from understudy.roles import Identity
from understudy.students._completer import StudentCompleter
from understudy.students._live import pad
from understudy.students._shapes import SEQ2SEQ
from understudy.students._tokenizers import Closed, make_tokenizer
from understudy.students.causal import LiveCausal
from understudy.students.seq2seq import LiveSeq2Seq
from understudy.types import Message, Question, Request, Sampling

VOCABULARY = 32_128
WORDS = [f"w{number}" for number in range(500)]
Live = LiveSeq2Seq | LiveCausal


def encoder_decoder() -> LiveSeq2Seq:
    """With the tokenizer of its few words: how fast ids are found is not what is measured."""
    shape = SEQ2SEQ["flan-t5-small"]
    tokenizer = make_tokenizer("word", [" ".join(WORDS)], 2_000)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
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
            tie_word_embeddings=False,
            decoder_start_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    live = LiveSeq2Seq(model, Closed(tokenizer, False))
    # An id that nothing has, for a writer that needs one.
    live.ends = {VOCABULARY - 1}
    return live


def decoder() -> LiveCausal:
    """With a tokenizer of as many words as the model has, for a server reads every token that it writes."""
    tokenizer = make_tokenizer("word", [" ".join(f"w{number}" for number in range(32_000))], VOCABULARY)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer) + 1,
            hidden_size=512,
            intermediate_size=1408,
            num_hidden_layers=14,
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    live = LiveCausal(model, tokenizer)
    # An id that nothing has, for a writer that needs one.
    live.ends = {len(tokenizer)}
    return live


STUDENTS: dict[str, Callable[[], Live]] = {"encoder-decoder": encoder_decoder, "decoder": decoder}


def prompts(count: int) -> list[str]:
    """Of 20 to 120 words, as word problems have."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(20, 120))) for _ in range(count)]


def plain(live: Live, tokens: int, batch: int, texts: Sequence[str]) -> int:
    """transformers alone: batches in the order of the file. Returns the tokens written."""
    rows, written = live.codec.sources(texts), 0
    left = live.kind == "causal"
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            ids = pad(part, live.pad, left).to(live.model.device)
            out = live.model.generate(
                input_ids=ids,
                attention_mask=pad([[1] * len(row) for row in part], 0, left).to(live.model.device),
                max_new_tokens=tokens,
                num_beams=1,
                do_sample=False,
                eos_token_id=sorted(live.ends),
                pad_token_id=live.pad,
            )
            written += out[:, ids.shape[1] if left else 1 :].numel()
    return written


def ours(live: Live, writer: Any, tokens: int, batch_tokens: int, texts: Sequence[str]) -> int:
    completer = StudentCompleter(live, Identity("local", "benchmark"), batch_tokens, writer)
    requests = [Request(Question(text, ""), (Message("user", text),)) for text in texts]
    landed = completer.complete(requests, Sampling(max_tokens=tokens))
    return sum(said.completion_tokens for batch in landed for _, said in batch)


def offline(live: Live, engine: Any, tokens: int, texts: Sequence[str]) -> int:
    """vLLM without a server, asked for all at once and for what our engine asks for."""
    how = import_module("vllm").SamplingParams(
        temperature=0.0, max_tokens=tokens, ignore_eos=True, logprobs=0
    )
    read = [{"prompt_token_ids": row} for row in live.codec.sources(texts)]
    return sum(len(out.outputs[0].token_ids) for out in engine.generate(read, how, use_tqdm=False))


def contestants(
    live: Live, tokens: int, batch_tokens: int, cache: Path
) -> Iterator[tuple[str, Callable[[Sequence[str]], int]]]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    live.model.to(device)
    half: Any = ENGINES["transformers"].build(live, "bfloat16", device, cache)
    for batch in (8, 32):
        yield f"transformers generate, batch {batch}, float32", partial(plain, live, tokens, batch)
        yield f"transformers generate, batch {batch}, bfloat16", partial(plain, half, tokens, batch)
    for name, engine in ENGINES.items():
        for compute_type in ("float32", "bfloat16", "int8"):
            if refusal := engine.refusal(live, compute_type, device):
                print(f"left out: {refusal}")
                continue
            with closing(engine.build(live, compute_type, device, cache / name)) as writer:
                yield f"engine {name}, {compute_type}", partial(ours, live, writer, tokens, batch_tokens)
    if live.kind == "causal" and device == "cuda" and find_spec("vllm"):
        folder = cache / "offline"
        live.save(folder)
        for compute_type in ("float32", "bfloat16"):
            alone = import_module("vllm").LLM(str(folder), dtype=compute_type, gpu_memory_utilization=0.3)
            yield f"vLLM's LLM.generate, {compute_type}", partial(offline, live, alone, tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--student", choices=STUDENTS, default="encoder-decoder")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128, help="new tokens of each prompt")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=1, help="the fastest of so many counts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    live, texts = STUDENTS[options.student](), prompts(options.prompts)
    rates: list[float] = []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, write in contestants(live, options.tokens, options.batch_tokens, Path(folder)):
            seconds, written = [], 0
            write(texts[:2])
            for _ in range(options.repeats):
                started = time.perf_counter()
                written = write(texts)
                seconds.append(time.perf_counter() - started)
            if written != options.prompts * options.tokens:
                print(f"{name} wrote {written:,} tokens, which is not what all the others write")
            rates.append(written / min(seconds))
            rows.append(
                {"name": name, "tokens": written, "seconds": min(seconds), "ratio": rates[-1] / rates[0]}
            )
            print(f"{name:45} {rates[-1]:9,.0f} tokens/s {rates[-1] / rates[0]:7.2f} x", flush=True)
    if options.json:
        about = {
            "student": options.student,
            "prompts": options.prompts,
            "new_tokens": options.tokens,
            "threads": options.threads,
            "batch_tokens": options.batch_tokens,
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "torch": torch.__version__,
            **{name: engine.version() for name, engine in ENGINES.items()},
        }
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
