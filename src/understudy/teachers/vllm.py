"""A model on this machine's GPUs as the teacher: `vllm serve` is started, asked like any server, and stopped.

Nothing is started before the first question that the ledger cannot answer. The catch: every key but
`tensor_parallel` and the client's own enters the ledger's key, so another flag asks everything anew, even
one that only changes the speed; for a server that is shared or stays up, start it yourself and use `openai`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from understudy.errors import TeacherError
from understudy.roles import Apprenticeship, Completer, Identity, Landed, Teacher
from understudy.teachers._checks import checked
from understudy.teachers._child import Child, free_port
from understudy.teachers.openai import OpenAI
from understudy.teachers.transformers import Transformers
from understudy.types import Request, Sampling

__all__ = ["VLLM"]

_NO_KEY = "NO_KEY_FOR_VLLM"
"""A variable that nobody sets: the user's key of a paid service is not sent to this server."""
_OURS = ("host", "port", "model", "served-model-name", "revision", "tensor-parallel-size", "dtype")
_REFUSED = {
    **dict.fromkeys(_OURS, "is set by the teacher's other keys"),
    "max-model-len": "is set by teacher.max_model_len",
    "api-key": "would write a key into the recipe",
    "hf-token": "would write a key into the recipe; set the environment variable HF_TOKEN",
    "trust-remote-code": "would run a checkpoint's own code; start vLLM yourself and use the teacher openai",
}


class VLLM(Teacher):
    """Starts `vllm serve` and stops it at the end, whatever ends the run."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: Literal["vllm"] = "vllm"
    PACE = frozenset({"executable", "startup_s", "concurrency", "timeout_s"})
    model: str = Field(min_length=1)
    """A folder, or an id on the Hugging Face Hub."""
    revision: str = ""
    """Branch, tag or commit on the Hub."""
    tensor_parallel: int = Field(1, gt=0)
    """GPUs that share the model."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_model_len: int | None = Field(None, gt=0)
    """Tokens of prompt and answer together; the model's own limit when absent."""
    flags: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Further options of `vllm serve` without their dashes, such as {"gpu-memory-utilization": 0.9}; true is
    an option without a value, false its `--no-` form."""
    executable: str = Field("vllm", min_length=1)
    """The program, by name or path: that of another environment, for instance."""
    startup_s: float = Field(900, gt=0)
    """Seconds until it must be ready, loading and any download included."""
    concurrency: int = Field(256, gt=0, le=4096)
    """Requests in flight at once; vLLM batches them itself."""
    timeout_s: float = Field(600, gt=0)
    """Seconds for one attempt of one request."""
    chat: bool = True
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further body fields, as for `openai`."""

    @field_validator("flags")
    @classmethod
    def _options(cls, value: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
        for name in value:
            if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
                raise ValueError(f"'{name}' is no option: write it without dashes, such as max-num-seqs")
            refused = _REFUSED.get(name.removeprefix("no-"))
            if refused:
                raise ValueError(f"flags cannot set {name}, which {refused}")
        return value

    @field_validator("extra")
    @classmethod
    def _body(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked(lambda: OpenAI(model="any", extra=value)).extra

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        """The files of the folder; none for a Hub id."""
        return self._weights().files()

    def identity(self) -> Identity:
        """The weights, and what else may change what they say; neither the port nor the number of GPUs."""
        weights = self._weights().identity()
        said = {
            "revision": weights.revision,
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "flags": self.flags,
            "chat": self.chat,
            "extra": self.extra,
        }
        return Identity("vllm", weights.model, json.dumps(said, sort_keys=True))

    def build(self, model: Path | None) -> Completer:
        """Raises TeacherError when the program is not there; starts nothing yet."""
        del model
        if shutil.which(self.executable) is None:
            raise TeacherError(
                f"there is no program '{self.executable}': install vLLM (`pip install vllm`, where there is "
                "a GPU) or give its path as teacher.executable"
            )
        return _Served(self)

    def command(self, port: int) -> list[str]:
        """The command line that serves this teacher at `port`."""
        command = [self.executable, "serve", self.model, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--served-model-name", self.identity().model, "--dtype", self.dtype]
        command += ["--tensor-parallel-size", str(self.tensor_parallel)]
        if self.revision:
            command += ["--revision", self.revision]
        if self.max_model_len is not None:
            command += ["--max-model-len", str(self.max_model_len)]
        for name, value in self.flags.items():
            if isinstance(value, bool):
                command.append(f"--{name}" if value else f"--no-{name}")
            else:
                command += [f"--{name}", str(value)]
        return command

    def _weights(self) -> Transformers:
        """The same model to the teacher that knows folders and Hub ids."""
        return Transformers(model=self.model, revision=self.revision)


class _Served:
    """The server, once somebody has asked, and the client that asks it."""

    def __init__(self, spec: VLLM) -> None:
        self._spec = spec
        self._identity = spec.identity()
        self._child: Child | None = None

    @property
    def identity(self) -> Identity:
        return self._identity

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """See `roles.Completer`. No request at all starts no server."""
        stream = iter(requests)
        first = next(stream, None)
        if first is None:
            return
        child = self._running()
        try:
            yield from self._client(child.port).complete(chain([first], stream), sampling)
        except TeacherError as error:
            death = child.death()
            if death:
                self._child = None
                raise death from error
            raise

    def close(self) -> None:
        if self._child:
            self._child.stop()
            self._child = None

    def _running(self) -> Child:
        if self._child is None:
            port = free_port()
            longer = "raise teacher.startup_s if it only needs longer, or "
            self._child = Child("vllm", self._spec.command(port), port, longer)
            try:
                self._child.wait_until_healthy(self._spec.startup_s)
            except BaseException:
                self.close()
                raise
        return self._child

    def _client(self, port: int) -> Completer:
        spec = self._spec
        return OpenAI(
            model=self._identity.model,
            base_url=f"http://127.0.0.1:{port}/v1",
            api_key_env=_NO_KEY,
            concurrency=spec.concurrency,
            timeout_s=spec.timeout_s,
            max_retries=3,
            chat=spec.chat,
            extra=spec.extra,
        ).build(None)
