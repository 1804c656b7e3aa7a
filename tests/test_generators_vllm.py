"""The engine `vllm` with a stand-in program, which computes with transformers and speaks as vLLM does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from test_students import same
from tiny import GROUPS, SUMS, TEXTS, quiet, scratch, spec
from understudy import distill, shelves
from understudy.errors import TrainingError
from understudy.generators import ready
from understudy.generators import vllm as engine
from understudy.generators.parity import Rehearsal
from understudy.generators.ready import ENGINES, Wanted
from understudy.generators.vllm import VLLM
from understudy.recipe import parse_recipe
from understudy.roles import Generated, Identity
from understudy.students._completer import StudentCompleter
from understudy.training import train
from understudy.types import Message, Question, Request, Sampling

STAND_IN = """\
#!{python}
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if sys.argv[1] == "--version":
    print("INFO: something that a library says")
    sys.exit(print("0.11.0"))
home = os.path.dirname(os.path.abspath(__file__))
flags = dict(zip(sys.argv[3::2], sys.argv[4::2]))

def mode():
    return open(os.path.join(home, "mode.txt")).read()

with open(os.path.join(home, "pids.txt"), "a") as file:
    file.write(f"{{os.getpid()}}\\n")
with open(os.path.join(home, "command.txt"), "w") as file:
    file.write(" ".join(sys.argv[1:]))
print("INFO: starting", flush=True)
if mode() == "dies at the start":
    print("ValueError: head size 32 is not supported", file=sys.stderr, flush=True)
    sys.exit(3)

turn = threading.Lock()
inside, most = 0, 0

def load():
    # Not before it is needed: a test that asks nothing shall not wait for it.
    global torch, model, tokenizer
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=getattr(torch, flags["--dtype"])).eval()
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])

def write(body):
    if "model" not in globals():
        load()
    torch.set_grad_enabled(False)  # which is a thread's own
    ids, logprobs, reason = [], [], "length"
    generator = torch.Generator().manual_seed(body["seed"]) if "seed" in body else None
    while len(ids) < body["max_tokens"]:
        logits = model(torch.tensor([body["prompt"] + ids])).logits[0, -1].float()
        raw = logits.log_softmax(-1)
        if body["temperature"] == 0:
            token = int(logits.argmax())
        else:
            odds, order = (logits / body["temperature"]).softmax(-1).sort(descending=True)
            odds[odds.cumsum(0) - odds >= body["top_p"]] = 0
            token = int(order[torch.multinomial(odds, 1, generator=generator)])
        if mode() == "one wrong token" and len(ids) == 2:
            token = 0
        ids.append(token)
        logprobs.append(float(raw[token]))
        text = tokenizer.decode(ids, skip_special_tokens=True)
        sees = text.replace(" ", "") if mode() == "hasty" else text
        if token in body["stop_token_ids"] or any(stop in sees for stop in body["stop"]):
            reason = "stop"
            break
        if mode() == "full" and len(ids) == 2:
            break
    return ids, logprobs, reason

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        known = {{"/health": {{}}, "/v1/models": {{"data": [{{"id": "student"}}]}}, "/most": most}}
        self.reply(200, known[self.path]) if self.path in known else self.reply(404, {{}})

    def do_POST(self):
        global inside, most
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if mode() == "dies":
            print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
            os._exit(7)
        if self.path != "/v1/completions" or body["model"] != flags["--served-model-name"]:
            return self.reply(404, {{"error": {{"message": "no such model"}}}})
        if mode() == "refuses":
            return self.reply(400, {{"error": {{"message": "the prompt is too long"}}}})
        inside += 1
        most = max(most, inside)
        with turn:
            ids, logprobs, reason = write(body)
        inside -= 1
        choice = {{"index": 0, "text": "", "finish_reason": reason, "logprobs": None}}
        if body.get("logprobs") == 0:
            choice["logprobs"] = {{"token_logprobs": logprobs, "tokens": ["?"] * len(ids)}}
        if body.get("return_token_ids") and mode() != "too old":
            choice["token_ids"] = ids
        self.reply(200, {{"object": "text_completion", "choices": [choice]}})

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass

ThreadingHTTPServer.request_queue_size = 64
ThreadingHTTPServer((flags["--host"], int(flags["--port"])), Handler).serve_forever()
"""

GREEDY = Sampling(max_tokens=12)
SOURCES = [example.source for example in SUMS]
UNLIKE = ["Question:", "Question: 1 + 2? Answer: 3 + 4? Answer:", *SOURCES]
PREFIXES = ["", "The answer is", "The", "The answer is 11", "", "The answer"]


class Program:
    """The stand-in on the disk. Every running one does what `mode` says from then on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "vllm"
        self.path.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
        self.path.chmod(0o755)
        self._folder = folder
        self.mode("well")

    def mode(self, mode: str) -> None:
        (self._folder / "mode.txt").write_text(mode)

    def command(self) -> str:
        return (self._folder / "command.txt").read_text()

    def started(self) -> list[int]:
        file = self._folder / "pids.txt"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def alive(self) -> list[int]:
        return [pid for pid in self.started() if _alive(pid)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, _one_thread: None) -> Path:
    """A student that has half learnt the sums, so that it is sure of some tokens and not of others."""
    folder = tmp_path_factory.mktemp("causal")
    train(scratch("causal"), GROUPS, spec(25), learning_rate=5e-3, seed=0, folder=folder, progress=quiet)
    return folder / "model"


@pytest.fixture(scope="module")
def live(folder: Path) -> Any:
    return scratch("causal").load(folder)


@pytest.fixture(scope="module")
def shared(live: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, engine.Served]]:
    """One server for everything that only asks, and the program that it runs."""
    home = tmp_path_factory.mktemp("served")
    program = Program(home)
    with patch.dict(os.environ, {engine.PROGRAM: str(program.path)}), patch("tempfile.tempdir", str(home)):
        writer = VLLM().build(live, "float32", "cpu", home / "model")
    assert isinstance(writer, engine.Served)
    yield program, writer
    writer.close()
    assert program.alive() == []


@pytest.fixture
def served(shared: tuple[Program, engine.Served]) -> Iterator[engine.Served]:
    yield shared[1]
    shared[0].mode("well")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """A program of the test's own, of which nothing may be left at its end."""
    program = Program(tmp_path)
    monkeypatch.setenv(engine.PROGRAM, str(program.path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield program
    assert program.alive() == []


# ---------------------------------------------------------------- beside the reference


def test_it_writes_the_same_tokens(live: Any, served: engine.Served) -> None:
    ours, theirs = live.generate(UNLIKE, GREEDY), served.generate(UNLIKE, GREEDY)
    same(ours, theirs)
    assert [one.ids for one in ours] == [one.ids for one in theirs]
    assert served.source_tokens(UNLIKE) == live.source_tokens(UNLIKE)


def test_an_empty_prompt_is_read_as_the_reference_reads_it(live: Any, served: engine.Served) -> None:
    same(live.generate([""], GREEDY), served.generate([""], GREEDY))


@pytest.mark.parametrize("longest", [1, 5])
def test_it_is_cut_off_at_the_same_token(live: Any, served: engine.Served, longest: int) -> None:
    sampling = Sampling(max_tokens=longest)
    ours = live.generate(UNLIKE, sampling, PREFIXES)
    same(ours, served.generate(UNLIKE, sampling, PREFIXES))
    assert "length" in {one.finish_reason for one in ours}


def test_it_goes_on_from_prefixes_of_any_lengths(live: Any, served: engine.Served) -> None:
    ours, theirs = (one.generate(UNLIKE, GREEDY, PREFIXES) for one in (live, served))
    same(ours, theirs)
    assert ours[3].source_tokens > live.source_tokens(UNLIKE)[3]


@pytest.mark.parametrize("stop", [("is",), (".", "answer"), ("er i",), ("never",), ("",)])
def test_it_stops_where_the_reference_stops(live: Any, served: engine.Served, stop: tuple[str, ...]) -> None:
    sampling = replace(GREEDY, stop=stop)
    ours = live.generate(UNLIKE, sampling, PREFIXES)
    theirs = served.generate(UNLIKE, sampling, PREFIXES)
    same(ours, theirs)
    assert [one.ids for one in ours] == [one.ids for one in theirs]


def test_log_probabilities_are_the_models_own(live: Any, served: engine.Served) -> None:
    ours, theirs = live.generate(UNLIKE, GREEDY), served.generate(UNLIKE, GREEDY)
    assert [one.logprob for one in theirs] == pytest.approx([one.logprob for one in ours], abs=1e-4)
    drawn = _draw(served, 3)
    for source, one in zip(SOURCES, drawn, strict=True):
        (read,) = live.codec.sources([source])
        batch = live.collate([{"source": read, "target": list(one.ids), "cut": 0, "silent": False}])
        with torch.inference_mode():
            rows = live.model.eval()(batch["input_ids"]).logits[0, -len(one.ids) :].log_softmax(-1)
        forced = sum(float(row[token]) for row, token in zip(rows, one.ids, strict=True))
        assert one.logprob == pytest.approx(forced, abs=1e-4)


def _draw(writer: Any, seed: int, sources: list[str] = SOURCES, **how: Any) -> list[Generated]:
    torch.manual_seed(seed)
    sampling = Sampling(**{"temperature": 2.0, "max_tokens": 6, **how})
    return list(writer.generate(sources, sampling))


def test_what_is_drawn_hangs_on_the_seed_alone(served: engine.Served) -> None:
    first = _draw(served, 1)
    assert _draw(served, 2) != first
    assert _draw(served, 1) == first


def test_rows_of_a_batch_are_drawn_apart_and_the_nucleus_is_kept(live: Any, served: engine.Served) -> None:
    drawn = _draw(served, 0, [SOURCES[0]] * 20)
    assert len({one.ids for one in drawn}) > 10
    narrow = _draw(served, 0, [SOURCES[0]] * 5, top_p=1e-6)
    (greedy,) = live.generate(SOURCES[:1], Sampling(max_tokens=6))
    assert {one.ids for one in narrow} == {greedy.ids}


def test_several_are_in_flight_and_a_student_answers_through_it(
    live: Any, shared: tuple[Program, engine.Served], served: engine.Served
) -> None:
    import json
    from urllib.request import urlopen

    requests = [Request(Question(source, ""), (Message("user", source),)) for source in SOURCES]
    found = []
    for writer in (None, served):
        landed = StudentCompleter(live, Identity("local", "toy"), 4096, writer).complete(requests, GREEDY)
        found.append(sorted((at, said.text) for batch in landed for at, said in batch))
    assert found[0] == found[1]
    port = shared[0].command().split("--port ")[1].split()[0]
    with urlopen(f"http://127.0.0.1:{port}/most") as reply:
        assert json.load(reply) > 1


def test_it_is_started_with_what_the_answers_hang_on(shared: tuple[Program, engine.Served]) -> None:
    said = shared[0].command()
    assert said.startswith("serve /")
    for part in (
        *("--host 127.0.0.1", "--served-model-name student", "--dtype float32"),
        *("--logprobs-mode raw_logprobs", "--generation-config vllm"),
    ):
        assert part in said


# ---------------------------------------------------------------- servers that do otherwise


def test_a_stop_string_that_only_the_server_sees_ends_nothing(
    live: Any, shared: tuple[Program, engine.Served], served: engine.Served
) -> None:
    shared[0].mode("hasty")  # it reads "Theanswer" where the student writes "The answer"
    sampling = replace(GREEDY, stop=("eanswer",))
    ours = live.generate(SOURCES, sampling)
    assert any("answer" in one.text for one in ours)
    same(ours, served.generate(SOURCES, sampling))


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("full", r"vllm ended a text after \d+ \+ 2 tokens for a reason of its own.*max_new_tokens"),
        ("too old", r"sent no token ids.*0\.10\.2.*update it"),
        ("refuses", r"status 400.*the prompt is too long.*set evaluate\.engine to transformers"),
    ],
)
def test_what_the_server_cannot_do_is_one_sentence(
    shared: tuple[Program, engine.Served], served: engine.Served, mode: str, said: str
) -> None:
    shared[0].mode(mode)
    with pytest.raises(TrainingError, match=said) as caught:
        served.generate(SOURCES, GREEDY)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the gate, and the end of the server

METHOD = shelves.load("methods", "single_stage")()
STAGE = METHOD.stages()[0]
QUESTIONS = [
    Question(f"Question: {a} + {b}? Answer:", str(a + b)) for a, b in ((1, 2), (3, 4), (5, 6), (7, 8))
]


def prepare(live: Any, folder: Path, cache: Path, **changes: Any) -> tuple[Any, dict[str, Any]]:
    rehearsal = Rehearsal(METHOD, "number", "dev", QUESTIONS, 12, 4096, begun=frozenset({STAGE.name}))
    wanted = Wanted(**{"engine": "vllm", "compute_type": "float32", "answers": 1000, **changes})
    return ready.ready(live, folder, wanted, STAGE, rehearsal, cache)


def test_it_passes_the_gate_and_a_death_is_told_with_its_last_words(
    live: Any, folder: Path, program: Program, tmp_path: Path
) -> None:
    writer, told = prepare(live, folder, tmp_path / "engines")
    assert (told["engine"], told["version"]) == ("vllm", "0.11.0")
    assert (told["parity"]["prompts"], told["parity"]["different"], told["parity"]["ties"]) == (4, 0, [])
    assert (told["begun"]["prompts"], told["begun"]["different"]) == (1, 0)
    assert len(program.alive()) == 1
    program.mode("dies")
    completer = StudentCompleter(live, Identity("local", "toy"), 4096, writer)
    request = Request(QUESTIONS[0], (Message("user", SOURCES[0]),))
    with pytest.raises(TrainingError, match=r"exit code 7.*CUDA out of memory") as caught:
        list(completer.complete([request], GREEDY))
    assert "\n" not in str(caught.value)
    completer.close()
    completer.close()


def test_one_wrong_token_is_refused_and_its_server_stopped(
    live: Any,
    folder: Path,
    program: Program,
    shared: tuple[Program, engine.Served],
    served: engine.Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = []

    class Kept(engine.Served):
        """The shared server, which others still need."""

        def __init__(self) -> None:
            self._live, self._child, self._post = served._live, served._child, served._post

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(VLLM, "build", lambda *_: Kept())
    shared[0].mode("one wrong token")
    with pytest.raises(TrainingError, match=r"vllm 0\.11\.0 wrote other tokens than transformers for 4 of 4"):
        prepare(live, folder, tmp_path / "engines")
    assert closed == [True]


def test_an_interruption_while_it_is_measured_stops_it(
    live: Any, folder: Path, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        assert len(program.alive()) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.Served, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(live, folder, tmp_path / "engines")
    assert program.alive() == []


def test_one_that_dies_at_the_start_is_one_sentence_and_auto_goes_back(
    live: Any, folder: Path, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.mode("dies at the start")
    said = r"vllm cannot run this student: vllm ended before it was ready.*head size 32 is not supported"
    with pytest.raises(TrainingError, match=said) as caught:
        prepare(live, folder, tmp_path / "engines")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(ready.FAST, "cpu", ("vllm",))
    writer, told = prepare(live, folder, tmp_path / "engines", engine="auto")
    assert (writer, told["engine"]) == (live, "transformers")
    assert "head size 32 is not supported" in told["why"]


PARENT = """
import sys
from pathlib import Path
from understudy.generators.vllm import VLLM
from understudy.students.causal import Causal

live = Causal(config="tiny").load(Path(sys.argv[1]))
writer = VLLM().build(live, "float32", "cpu", Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_with_the_process_that_started_it(
    folder: Path, program: Program, tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), str(tmp_path / "model")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert len(program.alive()) == 1
        os.kill(parent.pid, number)
        parent.wait()
    assert _until(lambda: program.alive() == [])


@pytest.mark.slow
def test_a_run_answers_through_it_and_leaves_nothing_behind(program: Program, tmp_path: Path) -> None:
    text = """
name: engines
task: arithmetic
data: {train: 30, dev: 5, test: 8}
teacher: template
students: [{name: causal, config: tiny}]
methods: [answer_only, two_stage]
train: {budget: {unit: steps, amount: 2}, learning_rate: 1e-3, batch_tokens: 512, precision: fp32}
evaluate: {max_new_tokens: 8, engine: vllm}
"""
    recipe = parse_recipe(text, "engines", (), {})
    found = distill.run(recipe, tmp_path / "run", lambda event: None, in_process=True)
    notes = [note for note in found.report["notes"] if note.startswith("Students answered through")]
    assert notes == [
        "Students answered through vllm 0.11.0 in float32; beside transformers in float32 it wrote the same "
        "tokens for 15 of 15 prompts of dev."
    ]
    assert len(program.started()) == 3


# ---------------------------------------------------------------- whom it refuses


def test_whom_it_refuses_and_why(live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = scratch("seq2seq").create([text.lstrip() for text in TEXTS], 0)
    monkeypatch.delenv(engine.PROGRAM, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    refusal = ENGINES["vllm"].refusal
    assert "this student is an encoder-decoder" in refusal(reader, "float32", "cuda")
    assert "does not compute in int8" in refusal(live, "int8", "cuda")
    assert "needs a GPU" in refusal(live, "float32", "cpu")
    assert "no program 'vllm' (install vLLM" in refusal(live, "float32", "cuda")
    assert ENGINES["vllm"].version() == ""
    broken = tmp_path / "vllm"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert "--version` fails" in refusal(live, "float32", "cuda")
    program = Program(tmp_path)
    engine._version.cache_clear()
    assert refusal(live, "float32", "cuda") == ""
    assert "needs a GPU" in refusal(live, "float32", "cpu")
    monkeypatch.setenv(engine.PROGRAM, str(program.path))
    assert refusal(live, "bfloat16", "cpu") == ""


def test_auto_takes_it_for_decoders_on_a_gpu(live: Any, program: Program, tmp_path: Path) -> None:
    wanted = Wanted("auto", "float32", answers=1000)
    name, why = ready._fastest(live, wanted, "cuda")
    assert (name, why) == (
        "vllm",
        "it is installed, can run this student, and at least 256 texts are written on a GPU",
    )
    os.environ[engine.PROGRAM] = str(tmp_path / "absent")
    name, why = ready._fastest(live, wanted, "cuda")
    assert name == "transformers"
    assert "there is no program" in why
    assert ready._fastest(live, replace(wanted, drawn=True), "cuda")[0] == "transformers"


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
