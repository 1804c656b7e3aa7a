"""vllm: decoders through `vllm serve`, which is started for the student, asked by token ids, and stopped.

vLLM fills every place of a batch as soon as it is free, so many texts are given to it at once. Token ids go
in as the student's own codec makes them and come back as ids, with the model's own log-probabilities, so
texts, prefixes, stop strings, counts and reasons to finish mean what they mean elsewhere. Needs the program
`vllm` (0.10.2 or later) and a GPU; UNDERSTUDY_VLLM names another program, such as that of another
environment, which is then trusted to know what it runs on. The catch: a start takes a while, and each server
holds memory of its own, so a method of several stages holds several.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from understudy.errors import TrainingError
from understudy.generators._posting import Broken, Post
from understudy.generators.contract import CAN, Refilling, at_once
from understudy.roles import Generated
from understudy.students._live import read_back
from understudy.teachers._child import Child, free_port
from understudy.types import Sampling

__all__ = ["VLLM"]

PROGRAM = "UNDERSTUDY_VLLM"
STARTUP_S = 900.0
VERSION_S = 120.0
"""For `vllm --version`, which imports all of it."""
SERVED = "student"
_INSTEAD = "set evaluate.engine to transformers"


class VLLM:
    """An engine in a process of its own."""

    name = "vllm"

    def version(self) -> str:
        """As the program says it."""
        program = _program()
        return _version(program) if program else ""

    def refusal(self, live: Any, compute_type: str, device: str) -> str:
        if live.kind != "causal":
            return "vllm runs decoders only, and this student is an encoder-decoder"
        if compute_type not in CAN[self.name]:
            return f"vllm does not compute in {compute_type} here"
        if device != "cuda" and PROGRAM not in os.environ:
            return f"vllm needs a GPU (or {PROGRAM}, the path of one that does not)"
        wanted = os.environ.get(PROGRAM, self.name)
        if not _program():
            return f"there is no program '{wanted}' (install vLLM, or give its path as {PROGRAM})"
        return "" if self.version() else f"`{wanted} --version` fails"

    def build(self, live: Any, compute_type: str, device: str, cache: Path) -> Refilling:
        """Starts the server and waits until it is ready. Raises TeacherError where it ends before that."""
        port = free_port()
        return Served(live, Child(self.name, command(saved(live, cache), compute_type, device, port), port))


class Served:
    """A student that is being served. Close it, or it stays until this process ends."""

    def __init__(self, live: Any, child: Child) -> None:
        self._live = live
        self._child = child
        self._post = Post(f"http://127.0.0.1:{child.port}/v1/completions")
        try:
            child.wait_until_healthy(STARTUP_S)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._child.stop()
        self._post.close()

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = self._live.source_tokens(texts)
        return counts

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        """As a live student does. What is drawn hangs on torch's seed."""
        return at_once(self, sources, sampling, prefixes)

    def stream(
        self,
        sources: Sequence[str],
        sampling: Sampling,
        prefixes: Sequence[str],
        seeds: Sequence[int],
        slots: int,
    ) -> Iterator[list[tuple[int, Generated]]]:
        """See `contract.Refilling`. The server, who has the memory, knows how many it writes at a time.

        Raises TrainingError where the server ends, or does not do as asked.
        """
        del slots
        codec = self._live.codec
        rows = zip(codec.sources(sources), codec.begun(prefixes), seeds, strict=True)
        bodies = [
            self._body([*source, *prefix] or [self._live.pad], sampling, seed)
            for source, prefix, seed in rows
        ]
        yield from self._written(dict(enumerate(bodies)), sampling)

    def _written(
        self, bodies: Mapping[int, dict[str, Any]], sampling: Sampling
    ) -> Iterator[list[tuple[int, Generated]]]:
        """`bodies` are by the place of their source."""
        early: dict[int, dict[str, Any]] = {}
        places = list(bodies)
        try:
            for number, reply in self._post.landing(list(bodies.values())):
                at = places[number]
                one = self._read(bodies[at], reply, sampling)
                if one.finish_reason == "stop" or one.tokens >= sampling.max_tokens:
                    yield [(at, one)]
                elif not bodies[at]["stop"]:
                    raise TrainingError(
                        f"vllm ended a text after {one.source_tokens} + {one.tokens} tokens for a reason of "
                        f"its own, such as a full context: lower evaluate.max_new_tokens, or {_INSTEAD}"
                    )
                else:
                    # It looks for stop strings in a text of its own, which may have one where ours has none.
                    early[at] = {**bodies[at], "stop": []}
        except Broken as error:
            failure = self._child.death() or f"vllm failed ({error})"
            raise TrainingError(f"{failure}: mend that, or {_INSTEAD}") from error
        if early:
            yield from self._written(early, sampling)

    def _read(self, body: Mapping[str, Any], reply: Any, sampling: Sampling) -> Generated:
        ids, logprobs = _tokens(reply)
        live = self._live
        return read_back(live.codec, ids, live.ends, len(body["prompt"]), sampling.stop, logprobs)

    def _body(self, read: Sequence[int], sampling: Sampling, seed: int) -> dict[str, Any]:
        """What is asked: as `/v1/completions` of vLLM takes it. `logprobs` 0 is the chosen token's alone."""
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed}
        return {
            "model": SERVED,
            "prompt": list(read),
            "max_tokens": sampling.max_tokens,
            "stop": [stop for stop in sampling.stop if stop],
            "stop_token_ids": sorted(self._live.ends),
            "ignore_eos": True,  # of all ends, those that the student knows
            "logprobs": 0,
            "return_token_ids": True,
            **(drawn if sampling.temperature > 0 else {"temperature": 0.0}),
        }


def command(model: Path, compute_type: str, device: str, port: int) -> list[str]:
    """The command line that serves the folder `model` at `port`: log-probabilities before temperature and
    nucleus, and no sampling settings but those that are asked for."""
    command = [_program(), "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--served-model-name", SERVED, "--dtype", compute_type]
    command += ["--logprobs-mode", "raw_logprobs", "--generation-config", "vllm"]
    if device == "cuda":
        import torch

        # Half of what is free: the reference, and the servers of other stages, are on this GPU too.
        free, total = torch.cuda.mem_get_info()
        command += ["--gpu-memory-utilization", f"{free / total / 2:.3f}"]
    return command


def saved(live: Any, folder: Path) -> Path:
    """The folder with the student; whole if it is there, and made if it is not."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    begun = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        live.save(begun)
        # Another process may have been faster: what it has put there is the same.
        with suppress(OSError):
            begun.rename(folder)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return folder


def _program() -> str:
    """Its path; empty where it is not there."""
    return shutil.which(os.environ.get(PROGRAM, VLLM.name)) or ""


@cache
def _version(program: str) -> str:
    """The last word of what `--version` prints; empty where that fails."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_S, check=True
        )
        return (done.stdout.split() or [""])[-1]
    return ""


def _tokens(reply: Any) -> tuple[list[int], list[float]]:
    """The ids of a reply, and the log-probability of each."""
    try:
        (choice,) = reply["choices"]
        ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        pairs = [(int(token), float(logprob)) for token, logprob in zip(ids, logprobs, strict=True)]
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            "vllm sent no token ids with log-probabilities, which it does from 0.10.2 on: update it, or "
            f"{_INSTEAD}"
        ) from error
    return [token for token, _ in pairs], [logprob for _, logprob in pairs]
