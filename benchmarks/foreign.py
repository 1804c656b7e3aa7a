"""The `openai` teacher against a server that is not ours: llama-cpp-python's, with a tiny model.

    python3 -m venv LLAMA && LLAMA/bin/pip install 'llama-cpp-python[server]' gguf
    python benchmarks/foreign.py --model STORIES --python LLAMA/bin/python [--count 200]

STORIES is a folder with stories260K.bin and tok512.bin of llama2.c (260 thousand parameters that write
children's stories) and hf/, the same weights for transformers. They are written as GGUF, served with a key,
and asked through the ledger; the table says what was seen, and the exit code is 1 if anything was not as it
should be. The server's own log says how many requests reached it. The catch: this is one server, which draws
one sample for a request and works on one request at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # the interpreter that converts the model need not have more than gguf
    import numpy

    from understudy.types import Completion

ALIAS, CONTEXT, FEW = "stories", 512, 20
KEY, KEY_ENV, WRONG_ENV = "sk-foreign-27c1e0", "FOREIGN_KEY", "FOREIGN_WRONG_KEY"
KEYS = {KEY_ENV: KEY, WRONG_ENV: "sk-foreign-wrong"}
PLAIN = {"repeat_penalty": 1.0, "top_k": 0, "min_p": 0.0}
"""This server's own defaults change the distribution; these turn them off."""
TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""Chat for a model that knows no roles: the same text as without."""
OPENINGS = ("Lily had a red ball", "Tom saw a big dog", "The cat was sad", "One day a bird", "Mom and Dad")

Draw = dict[str, Any]
"""Fields of a Sampling."""

# ---------------------------------------------------------------- the model as GGUF


def convert(source: Path, target: Path) -> None:
    """llama2.c's weights and tokenizer -> GGUF. Both rotate pairs of neighbours, so no weight is permuted."""
    import gguf

    with (source / "stories260K.bin").open("rb") as file:
        width, hidden, layers, heads, kv_heads, vocabulary, context = struct.unpack("7i", file.read(28))
        writer = gguf.GGUFWriter(target, "llama")
        writer.add_context_length(context)
        writer.add_embedding_length(width)
        writer.add_block_count(layers)
        writer.add_feed_forward_length(hidden)
        writer.add_head_count(heads)
        writer.add_head_count_kv(kv_heads)
        writer.add_layer_norm_rms_eps(1e-5)
        _tokens(writer, gguf.TokenType, source / "tok512.bin", vocabulary)
        for name, tensor in _tensors(file, width, hidden, layers, kv_heads * width // heads, vocabulary):
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(
    file: IO[bytes], width: int, hidden: int, layers: int, kv: int, vocabulary: int
) -> Iterator[tuple[str, numpy.ndarray[Any, Any]]]:
    """In llama2.c's order: each kind of weight for all layers at once."""
    import numpy

    def read(*shape: int) -> numpy.ndarray[Any, Any]:
        return numpy.fromfile(file, dtype="<f4", count=int(numpy.prod(shape))).reshape(shape)

    yield "token_embd.weight", read(vocabulary, width)
    attention = {"attn_q": width, "attn_k": kv, "attn_v": kv, "attn_output": width}
    mlp = {"ffn_gate": (hidden, width), "ffn_down": (width, hidden), "ffn_up": (hidden, width)}
    projections = {name: (rows, width) for name, rows in attention.items()}
    for name, shape in {"attn_norm": (width,), **projections, "ffn_norm": (width,), **mlp}.items():
        for layer, tensor in enumerate(read(layers, *shape)):
            yield f"blk.{layer}.{name}.weight", tensor
    yield "output_norm.weight", read(width)


def _tokens(writer: Any, kinds: Any, path: Path, vocabulary: int) -> None:
    """A story ends with the token that begins the next one, so that token is both."""
    data, at = path.read_bytes(), 4
    pieces, scores = [], []
    for _ in range(vocabulary):
        score, length = struct.unpack_from("fi", data, at)
        at += 8 + length
        pieces.append(data[at - length : at].decode().replace(" ", "▁"))
        scores.append(score)
    pieces[:3] = ["<unk>", "<s>", "</s>"]
    special = [kinds.UNKNOWN, *[kinds.CONTROL] * 2, *[kinds.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types([*special, *[kinds.NORMAL] * (vocabulary - len(special))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)


# ---------------------------------------------------------------- the server


@contextmanager
def serving(python: str, source: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """(address, log) of the model's server, which wants KEY. `python` has llama_cpp and gguf."""
    model, log = folder / "stories.gguf", folder / "server.log"
    subprocess.run([python, __file__, "--convert", str(source), str(model)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", str(model), "--model_alias", ALIAS]
    command += ["--port", str(port), "--n_ctx", str(CONTEXT), "--n_threads", "1", "--api_key", KEY]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}/v1"
            _wait(url, process)
            yield url, log
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {KEY}"})
    for _ in range(300):
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.2)
    raise SystemExit("the server does not start: look whether --python has llama_cpp.server")


@dataclass(frozen=True)
class Asker:
    """Asks the server by the `openai` teacher; every ledger is a file of its own in `folder`."""

    url: str
    log: Path
    source: Path
    """The folder of the model."""
    folder: Path
    count: int
    """Questions of a full pass."""

    def ask(
        self, ledger: str, texts: Sequence[str], draw: Draw, samples: tuple[int, ...] = (0,), **fields: Any
    ) -> tuple[list[Completion], int]:
        """What was said, in order, and how many requests reached the server. `fields` are the teacher's."""
        from understudy.ledger import Ledger
        from understudy.teachers.openai import OpenAI
        from understudy.types import Message, Question, Request, Sampling

        given = {"model": ALIAS, "api_key_env": KEY_ENV, "concurrency": 8, **fields}
        completer = OpenAI(base_url=self.url, **given).build(None)
        requests = [Request(Question(text, "1"), (Message("user", text),), samples) for text in texts]
        before = self._posts()
        with Ledger(self.folder / f"{ledger}.sqlite") as opened:
            landed = list(opened.complete(completer, requests, Sampling(**draw)))
        landed.sort(key=lambda item: (item[0], item[1].sample))
        return [said for _, said in landed], self._posts() - before

    def replies(self, ledger: str) -> list[str]:
        """The server's whole replies, as they were kept."""
        from understudy.ledger.reading import entries

        return [str(entry["raw"]) for entry in entries(self.folder / f"{ledger}.sqlite")]

    def _posts(self) -> int:
        return self.log.read_text(encoding="utf-8", errors="replace").count('"POST /v')


def stories(count: int) -> list[str]:
    """Beginnings, all different."""
    return [f"{OPENINGS[i % len(OPENINGS)]}. There were {i} of them." for i in range(count)]


# ---------------------------------------------------------------- what is looked at


@dataclass(frozen=True)
class Seen:
    what: str
    saw: str
    good: bool


Look = Callable[[Asker], Seen]


def answered(chat: bool) -> Look:
    """Two samples each, although the server draws one for a request; then all of it from the ledger."""

    def look(asker: Asker) -> Seen:
        texts, draw = stories(asker.count), {"temperature": 0.8, "max_tokens": 48}
        start = time.monotonic()
        said, posts = asker.ask(f"chat-{chat}", texts, draw, (0, 1), chat=chat)
        took = time.monotonic() - start
        again, more = asker.ask(f"chat-{chat}", texts, draw, (0, 1), chat=chat)
        ends = Counter(one.finish_reason for one in said)
        good = (
            len(said) == posts == 2 * asker.count
            and ends.keys() <= {"stop", "length"}
            and all(one.text and one.prompt_tokens and one.completion_tokens for one in said)
            and (again, more) == (said, 0)
        )
        saw = f"{len(said)} answers of {posts} requests in {took:.1f} s, {dict(ends)}; then {more} requests"
        return Seen(f"{asker.count} questions, 2 samples, chat: {str(chat).lower()}", saw, good)

    return look


def same_text(asker: Asker) -> Seen:
    """Greedy text, and the number of prompt tokens, beside transformers with the same weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    asked, length, source = stories(FEW), 40, asker.source / "hf"
    said, _ = asker.ask("same", asked, {"max_tokens": length}, chat=False, extra=PLAIN)
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModelForCausalLM.from_pretrained(source)
    texts = counts = 0
    for text, one in zip(asked, said, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        out = model.generate(ids, max_new_tokens=length, do_sample=False, eos_token_id=1, pad_token_id=1)
        counts += one.prompt_tokens == ids.shape[1]
        texts += tokenizer.decode(out[0], skip_special_tokens=True) == text + one.text
    saw = f"{texts} of {len(said)} texts and {counts} of {len(said)} prompt token counts equal"
    return Seen("greedy, beside transformers", saw, counts == len(said) and texts >= 0.9 * len(said))


def stopped(asker: Asker) -> Seen:
    draw = {"temperature": 0.8, "max_tokens": 200, "stop": (".", "!")}
    said, _ = asker.ask("stop", stories(FEW), draw)
    clean = sum(not {".", "!"} & set(one.text) for one in said)
    ends = Counter(one.finish_reason for one in said)
    good = clean == len(said) and ends == {"stop": len(said)}
    return Seen("stop: [., !]", f"{clean} of {len(said)} without them; {dict(ends)}", good)


def cut_off(asker: Asker) -> Seen:
    said, _ = asker.ask("cut", stories(FEW), {"temperature": 0.8, "max_tokens": 5})
    ends = Counter((one.finish_reason, one.completion_tokens) for one in said)
    return Seen("max_tokens: 5", f"finish_reason and tokens: {dict(ends)}", ends.keys() == {("length", 5)})


def seeded(asker: Asker) -> Seen:
    """The same seed in two ledgers, and another. One request at a time, because the server's cache of a
    prompt may change the last digit of a number."""

    def texts(ledger: str, seed: int) -> list[str]:
        draw = {"temperature": 1.0, "max_tokens": 32, "seed": seed}
        return [one.text for one in asker.ask(ledger, stories(10), draw, (0, 1), concurrency=1)[0]]

    one, same, other = texts("seed-a", 7), texts("seed-b", 7), texts("seed-c", 900)
    equal = sum(a == b for a, b in zip(one, same, strict=True))
    differ = sum(a != b for a, b in zip(one, other, strict=True))
    apart = sum(a != b for a, b in zip(one[::2], one[1::2], strict=True))
    saw = f"same: {equal} of 20 equal; another: {differ} of 20 differ; samples: {apart} of 10 pairs differ"
    return Seen("seed", saw, equal >= 18 and differ >= 18 and apart >= 9)


def too_long(asker: Asker) -> Seen:
    """Recorded for that question alone, and not asked again."""
    texts, draw = ["once upon a time " * CONTEXT, *stories(3)], {"temperature": 0.8, "max_tokens": 16}
    (failed, *others), _ = asker.ask("long", texts, draw)
    _, more = asker.ask("long", texts, draw)
    good = failed.error.startswith("context too long") and all(one.text for one in others) and more == 0
    return Seen("a prompt that is too long", f"{failed.error}; then {more} requests", good)


def wrong_model(asker: Asker) -> Seen:
    """This server takes any name, and repeats it in the reply, which the ledger keeps."""
    (said,), _ = asker.ask("model", stories(1), {"max_tokens": 8}, model="no-such-model")
    named = [str(json.loads(reply)["model"]) for reply in asker.replies("model")]
    saw = f"{said.finish_reason}: {said.text!r}; the reply names {', '.join(named)}"
    return Seen("a model that it does not have", saw, bool(said.text) and named == ["no-such-model"])


def refused(what: str, words: str, **fields: Any) -> Look:
    """A set-up that must end the run with a sentence."""

    def look(asker: Asker) -> Seen:
        from understudy.errors import TeacherError

        try:
            said, _ = asker.ask(what, stories(8), {"max_tokens": 8}, **fields)
        except TeacherError as error:
            return Seen(what, str(error), words in str(error))
        return Seen(what, f"{len(said)} answers, the first: {said[0].text or said[0].error!r}", False)

    return look


def no_key_kept(asker: Asker) -> Seen:
    """Comes last, when there are ledgers."""
    files = list(asker.folder.glob("*.sqlite*"))
    replies = [reply for file in asker.folder.glob("*.sqlite") for reply in asker.replies(file.stem)]
    holding = sum(KEY.encode() in file.read_bytes() for file in files) + sum(KEY in text for text in replies)
    saw = f"in {holding} of {len(files)} files and {len(replies)} replies"
    return Seen("the key in the ledgers", saw, bool(replies) and not holding)


ADDRESS = refused("an address that it does not have", "does not know that address")
LOOKS: tuple[Look, ...] = (
    answered(chat=True),
    answered(chat=False),
    *(same_text, stopped, cut_off, seeded, too_long, wrong_model),
    refused("a key that it does not know", f"refused the key in {WRONG_ENV}", api_key_env=WRONG_ENV),
    lambda asker: ADDRESS(replace(asker, url=f"{asker.url}/v2")),
    refused("a field that it does not take", "rejects what it is sent", extra={"top_p": "high"}),
    no_key_kept,
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, help="the folder of stories260K")
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter that has llama_cpp and gguf"
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--convert", nargs=2, type=Path, metavar=("STORIES", "GGUF"), help="only that")
    given = parser.parse_args()
    if given.convert:
        convert(*given.convert)
        return 0
    os.environ |= KEYS
    bad = 0
    print("| what | seen | good |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with serving(given.python, given.model, folder) as (url, log):
            asker = Asker(url, log, given.model, folder, given.count)
            for look in LOOKS:
                seen = look(asker)
                print(f"| {seen.what} | {seen.saw} | {'yes' if seen.good else 'NO'} |", flush=True)
                bad += not seen.good
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
