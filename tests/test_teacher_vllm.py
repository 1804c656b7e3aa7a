"""The `vllm` teacher with a stand-in program: it is started when it is needed and never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

from understudy.errors import TeacherError
from understudy.ledger import Ledger
from understudy.teachers import _call
from understudy.teachers.vllm import VLLM
from understudy.types import Completion, Message, Question, Request, Sampling

STAND_IN = """\
#!{python}
import json, os, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

started = time.monotonic()
flags = dict(zip(sys.argv[3::2], sys.argv[4::2]))
mode = os.environ["STAND_IN"]
print("command:", *sys.argv[1:], flush=True)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(os.environ["STAND_IN_PIDS"], "a") as file:
    file.write(f"{{os.getpid()}} {{grandchild.pid}}\\n")
if mode == "dies":
    print("ValueError: no such model", file=sys.stderr, flush=True)
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
asked = []

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        ready = mode != "never ready" and time.monotonic() - started > 0.3
        self.reply(200 if ready and self.path == "/health" else 503, {{}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append(body)
        if mode == "dies half-way" and len(asked) > 3:
            print("CUDA error: out of memory", flush=True)
            os._exit(7)
        if body["model"] != flags["--served-model-name"] or "Authorization" in self.headers:
            return self.reply(400, {{}})
        message = {{"role": "assistant", "content": "I read: " + body["messages"][-1]["content"]}}
        choices = [{{"message": message, "finish_reason": "stop"}}] * body.get("n", 1)
        self.reply(200, {{"choices": choices}})

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass

ThreadingHTTPServer((flags["--host"], int(flags["--port"])), Handler).serve_forever()
"""


class StandIn:
    """A program that behaves like `vllm serve` as far as we need it. It is told how by the environment."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "vllm"
        self.path.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
        self.path.chmod(0o755)
        self._pids = folder / "pids.txt"
        os.environ["STAND_IN_PIDS"] = str(self._pids)
        self.behave("well")

    def behave(self, mode: str) -> None:
        os.environ["STAND_IN"] = mode

    def starts(self) -> int:
        return len(self._lines())

    def alive(self) -> list[int]:
        """Which of the servers and of their own children live."""
        return [pid for line in self._lines() for pid in line if _alive(pid)]

    def _lines(self) -> list[list[int]]:
        text = self._pids.read_text() if self._pids.exists() else ""
        return [[int(word) for word in line.split()] for line in text.splitlines()]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(_call, "FIRST_WAIT_S", 0.01)
    # Logs of servers that failed are kept; they shall not stay behind after a test.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with patch.dict(os.environ, OPENAI_API_KEY="sk-of-another-service", TMPDIR=str(tmp_path)):
        yield StandIn(tmp_path)


def offline(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """The fields of one that answers here, for the contracts that every teacher keeps."""
    stack.enter_context(patch.dict(os.environ))
    return {"model": "toy", "executable": str(StandIn(folder).path)}


def requests(count: int, samples: tuple[int, ...] = (0,)) -> list[Request]:
    texts = [f"Question {i}?" for i in range(count)]
    return [Request(Question(text, "4"), (Message("user", text),), samples) for text in texts]


def teacher(program: StandIn, **fields: Any) -> VLLM:
    return VLLM(model="org/toy", executable=str(program.path), **fields)


def logs(folder: Path) -> list[Path]:
    return list(folder.glob("understudy-vllm-*/log.txt"))


def test_it_is_started_asked_and_stopped(program: StandIn, tmp_path: Path) -> None:
    completer = teacher(program, tensor_parallel=2, flags={"max-num-seqs": 8}).build(None)
    assert program.starts() == 0, "nothing is started before it is needed"
    landed = [item for batch in completer.complete(iter(requests(3, (0, 1))), Sampling()) for item in batch]
    assert sorted((position, c.sample, c.text) for position, c in landed) == [
        (i, sample, f"I read: Question {i}?") for i in range(3) for sample in (0, 1)
    ]
    assert len(program.alive()) == 2
    (log,) = logs(tmp_path)
    said = log.read_text()
    assert "serve org/toy --host 127.0.0.1 --port" in said
    assert "--tensor-parallel-size 2 --max-num-seqs 8" in said
    # A second question needs no second start.
    assert len(list(completer.complete(requests(1), Sampling()))) == 1
    assert program.starts() == 1
    completer.close()
    assert program.alive() == []
    assert logs(tmp_path) == []


def test_no_question_starts_nothing(program: StandIn) -> None:
    completer = teacher(program).build(None)
    assert list(completer.complete([], Sampling())) == []
    completer.close()
    assert program.starts() == 0


def test_what_the_ledger_holds_starts_nothing(program: StandIn, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for _ in range(2):
            completer = teacher(program).build(None)
            assert len(list(ledger.complete(completer, requests(2), Sampling()))) == 2
            completer.close()
    assert program.starts() == 1


def test_a_server_that_does_not_end_when_asked_is_made_to(
    program: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.behave("stubborn")
    completer = teacher(program).build(None)
    list(completer.complete(requests(1), Sampling()))
    started = time.monotonic()
    completer.close()
    assert program.alive() == []
    assert time.monotonic() - started < 10


def test_one_that_dies_at_the_start_is_one_sentence_with_the_end_of_its_log(
    program: StandIn, tmp_path: Path
) -> None:
    program.behave("dies")
    completer = teacher(program).build(None)
    with pytest.raises(TeacherError, match=r"vllm ended before it was ready \(exit code 3\)") as caught:
        list(completer.complete(requests(1), Sampling()))
    assert "ValueError: no such model" in str(caught.value)
    assert "\n" not in str(caught.value)
    (log,) = logs(tmp_path)
    assert str(log) in str(caught.value), "the whole log is kept, and named"
    completer.close()
    assert program.alive() == []


def test_one_that_is_never_ready_meets_a_deadline(program: StandIn) -> None:
    program.behave("never ready")
    completer = teacher(program, startup_s=1).build(None)
    with pytest.raises(TeacherError, match=r"not ready after 1 s; raise teacher\.startup_s.*serve org/toy"):
        list(completer.complete(requests(1), Sampling()))
    assert program.alive() == []
    completer.close()


def test_one_that_dies_half_way_keeps_what_it_answered_and_is_started_again(
    program: StandIn, tmp_path: Path
) -> None:
    program.behave("dies half-way")
    got: list[tuple[int, Completion]] = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        completer = teacher(program, concurrency=1).build(None)
        with pytest.raises(TeacherError, match=r"exit code 7.*CUDA error: out of memory"):
            got.extend(ledger.complete(completer, requests(8), Sampling()))
        assert len(got) == 3
        assert program.alive() == []
        program.behave("well")
        assert len(list(ledger.complete(completer, requests(8), Sampling()))) == 8
        completer.close()
        assert (ledger.asked, ledger.reused) == (3 + 5, 3)
    assert program.alive() == []


def test_a_program_that_is_not_there_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"no program '.*absent'.*pip install vllm.*teacher\.executable"):
        VLLM(model="toy", executable=str(tmp_path / "absent")).build(None)


PARENT = """
import sys
from understudy.teachers.vllm import VLLM
from understudy.types import Message, Question, Request, Sampling

completer = VLLM(model="toy", executable=sys.argv[1]).build(None)
request = Request(Question("a", "1"), (Message("user", "a"),))
for _ in completer.complete([request], Sampling()):
    print("answered", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["well", "never ready"])
def test_it_goes_with_the_process_that_started_it(
    program: StandIn, mode: str, number: signal.Signals
) -> None:
    program.behave(mode)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(program.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        if mode == "well":
            assert parent.stdout.readline() == b"answered\n"
        assert _until(lambda: len(program.alive()) == 2)
        os.kill(parent.pid, number)
        parent.wait()
    assert _until(lambda: program.alive() == [], seconds=8)


# ---------------------------------------------------------------- the recipe's side


def test_flags_become_options() -> None:
    spec = VLLM(
        model="org/toy",
        revision="main",
        dtype="bfloat16",
        max_model_len=2048,
        flags={"gpu-memory-utilization": 0.5, "enforce-eager": True, "enable-prefix-caching": False},
    )
    assert spec.command(8000) == [
        *("vllm", "serve", "org/toy", "--host", "127.0.0.1", "--port", "8000"),
        *("--served-model-name", "org/toy", "--dtype", "bfloat16", "--tensor-parallel-size", "1"),
        *("--revision", "main", "--max-model-len", "2048"),
        *("--gpu-memory-utilization", "0.5", "--enforce-eager", "--no-enable-prefix-caching"),
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": 80}, "set by the teacher's other keys"),
        ({"api-key": "sk-1"}, "would write a key"),
        ({"trust-remote-code": True}, "own code"),
        ({"no-trust-remote-code": True}, "own code"),
        ({"--seed": 1}, "without dashes"),
        ({"seed=1 --port": 1}, "without dashes"),
    ],
)
def test_flags_that_are_not_ours_to_take_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        VLLM(model="toy", flags=flags)
    assert "sk-1" not in str(caught.value)


def test_a_body_field_that_decides_what_is_asked_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra cannot set n"):
        VLLM(model="toy", extra={"n": 3})


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "other"},
        {"revision": "v2"},
        {"dtype": "float16"},
        {"max_model_len": 512},
        {"flags": {"quantization": "fp8"}},
        {"extra": {"top_k": 5}},
        {"chat": False},
    ],
)
def test_what_changes_its_answers_is_part_of_who_answers(fields: dict[str, Any]) -> None:
    plain = VLLM(model="toy").identity()
    assert plain.endpoint == "vllm"
    assert VLLM(**{"model": "toy", **fields}).identity() != plain


def test_what_does_not_is_not() -> None:
    plain = VLLM(model="toy")
    faster = VLLM(
        model="toy", tensor_parallel=4, executable="/opt/vllm", startup_s=60, concurrency=8, timeout_s=9
    )
    assert faster.identity() == plain.identity()


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    spec = VLLM(model=str(folder))
    before = spec.identity()
    assert before.model == "model"
    assert spec.files() == (folder / "config.json",)
    assert spec.command(1)[2] == str(folder)
    (folder / "config.json").write_text('{"layers": 2}')
    assert spec.identity() != before


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _until(true: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()
