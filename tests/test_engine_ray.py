"""Annotation on many machines, on a Ray cluster of this one: nothing lost, nothing paid for twice.

What needs no cluster runs everywhere; the rest is skipped where Ray is not installed.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

import psutil  # type: ignore[import-untyped]
import pytest

from loopback import Loopback, Reply, error, well
from test_kill import alive
from test_teacher_vllm import StandIn
from understudy.engines import _ray_pool
from understudy.engines._ray_call import LEAST, Call
from understudy.engines._ray_pool import LOSSES, Pool
from understudy.engines._ray_worker import WAITING, Worker
from understudy.engines.ray import RaySpec, spread
from understudy.errors import TeacherError
from understudy.ledger import UNANSWERED, Ledger
from understudy.roles import Apprenticeship, Completer, Identity, Landed, Teacher
from understudy.teachers.openai import OpenAI
from understudy.teachers.recorded import Recorded
from understudy.teachers.template import Template
from understudy.teachers.transformers import Transformers
from understudy.teachers.vllm import VLLM
from understudy.types import Completion, Message, Question, Request, Sampling

KEY = "sk-of-the-workers"
SMALL = {"include_dashboard": False, "object_store_memory": 100_000_000}
GREEDY = Sampling()
Test = Callable[..., None]


def on_a_cluster(test: Test) -> Test:
    """Skipped where Ray is not installed, and slow, for a cluster and its workers take seconds to start."""
    absent = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
    return pytest.mark.slow(absent(test))


class Toy(Teacher):
    """Repeats the prompt. Some prompts are orders: to die, to refuse, to say which GPU it sees, ..."""

    name: Literal["toy"] = "toy"
    who: Literal["toy", "process"] = "toy"
    flag: Path = Path()
    """Where "die once" leaves its mark."""

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        return ()

    def identity(self) -> Identity:
        return Identity("toy", "toy", str(os.getpid()) if self.who == "process" else "")

    def build(self, model: Path | None) -> Completer:
        if model:
            raise TeacherError("there is no such model; give another")
        return _ToyCompleter(self)


class _ToyCompleter:
    def __init__(self, spec: Toy) -> None:
        self.spec = spec
        self.identity = spec.identity()

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        for position, request in enumerate(requests):
            text = self._say(request.messages[-1].content)
            if text:
                yield [
                    (position, Completion(request.question.id, sample, text, "stop"))
                    for sample in request.samples
                ]

    def _say(self, prompt: str) -> str:
        flag = self.spec.flag / "flag"
        if prompt == "die" or (prompt == "die once" and not flag.exists()):
            if prompt == "die once":
                flag.touch()
            os._exit(9)
        if prompt == "refuse":
            raise TeacherError("the key is wrong; set another")
        if prompt == "slip":
            raise ZeroDivisionError("a mistake in the code")
        if prompt == "slowly":
            time.sleep(0.2)
        if prompt == "GPU":
            time.sleep(0.2)
            return os.environ["CUDA_VISIBLE_DEVICES"]
        return "" if prompt == "skip" else prompt

    def close(self) -> None:
        """Nothing is open."""


def request(text: str, samples: int = 1) -> Request:
    return Request(Question(text, "4", rationale="r"), (Message("user", text),), tuple(range(samples)))


def requests(count: int, samples: int = 1) -> list[Request]:
    return [request(f"q{number}", samples) for number in range(count)]


def said(landed: Iterable[Landed]) -> dict[tuple[int, int], Completion]:
    """Completions by position and sample, each of which came once."""
    got = list(landed)
    by_place = {(position, completion.sample): completion for position, completion in got}
    assert len(by_place) == len(got)
    return by_place


def ask(completer: Completer, asked: Iterable[Request]) -> dict[tuple[int, int], Completion]:
    return said(landed for batch in completer.complete(asked, GREEDY) for landed in batch)


def collect(into: list[Landed], batches: Iterable[Sequence[Landed]]) -> None:
    """What came before an error is kept, as the ledger keeps it."""
    for batch in batches:
        into += batch


def texts(answers: dict[tuple[int, int], Completion]) -> list[str]:
    """In the order of the questions and then of the samples."""
    return [answers[place].text for place in sorted(answers)]


# ---------------------------------------------------------------- a worker, without a cluster


def entered(teacher: Teacher) -> Worker:
    worker = Worker()
    worker.here()
    assert worker.enter(teacher, None) == teacher.identity()
    return worker


def drain(worker: Worker) -> list[Landed]:
    got: list[Landed] = []
    while more := worker.work(GREEDY, []):
        got += more
    return got


def test_a_worker_answers_by_the_positions_it_was_given() -> None:
    worker = entered(Toy())
    first = worker.work(GREEDY, [(7, request("a", 2)), (3, request("b"))])
    got = said([*first, *worker.work(GREEDY, [(9, request("c"))]), *drain(worker)])
    assert {place: c.text for place, c in got.items()} == {
        (7, 0): "a",
        (7, 1): "a",
        (3, 0): "b",
        (9, 0): "c",
    }


def test_a_worker_without_anything_to_do_comes_back_at_once() -> None:
    assert entered(Toy()).work(GREEDY, []) == []


def test_a_worker_that_is_refused_hands_over_what_it_has_before_it_says_so() -> None:
    worker = entered(Toy())
    fresh = [(0, request("a")), (1, request("slowly")), (2, request("refuse")), (3, request("b"))]
    got = worker.work(GREEDY, fresh)
    with pytest.raises(TeacherError, match="the key is wrong; set another"):
        collect(got, iter(lambda: worker.work(GREEDY, []), None))
    assert set(said(got)) == {(0, 0), (1, 0)}
    assert worker.work(GREEDY, []) == [], "what was left in the inbox is forgotten"
    assert set(said([*worker.work(GREEDY, [(5, request("c"))]), *drain(worker)])) == {(5, 0)}


def test_a_teacher_that_reads_far_ahead_does_not_wait_for_more() -> None:
    """HTTP clients and local models read many requests before they hand anything over."""

    class Greedy(_ToyCompleter):
        def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
            yield from super().complete(list(requests), sampling)

    worker = entered(Toy())
    worker._completer = Greedy(Toy())
    got = worker.work(GREEDY, [(0, request("a")), (1, request("b"))])
    got += worker.work(GREEDY, [(2, request("c"))]) + drain(worker)
    assert set(said(got)) == {(0, 0), (1, 0), (2, 0)}


def test_a_teacher_waits_while_nobody_fetches_what_it_says() -> None:
    worker = entered(Toy())
    got = worker.work(GREEDY, list(enumerate(requests(10 * WAITING))))
    time.sleep(0.2)
    assert len(worker._landed) == WAITING
    assert len(said([*got, *drain(worker)])) == 10 * WAITING


def test_a_teacher_that_does_not_read_is_told_on() -> None:
    class Deaf(_ToyCompleter):
        def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
            yield from ()

    worker = entered(Toy())
    worker._completer = Deaf(Toy())
    with pytest.raises(TeacherError, match="without reading"):
        worker.work(GREEDY, [(0, request("a"))])


def test_without_ray_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TeacherError, match=r"pip install 'understudy\[ray\]'$"):
        spread(Toy(), None, RaySpec())


# ---------------------------------------------------------------- a cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A first machine with four places for workers, two GPUs that Ray alone believes in, and the key.

    Machines are what Ray takes for such: each is a few processes here.
    """
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("TEACHER_KEY", KEY)
        machines = Cluster()
        machines.add_node(num_cpus=4, num_gpus=2, **SMALL)
    ray.init(address=machines.address, log_to_driver=False)
    yield machines
    ray.shutdown()
    machines.shutdown()


@pytest.fixture
def build(cluster: Any) -> Iterator[Any]:
    """Builds completers and closes them."""
    built: list[Completer] = []

    def spread_out(teacher: Teacher, **fields: Any) -> Completer:
        built.append(spread(teacher, None, RaySpec(**fields)))
        return built[-1]

    yield spread_out
    for completer in built:
        completer.close()


@pytest.fixture(scope="module")
def flag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flag")


@pytest.fixture(scope="module")
def shared(cluster: Any, flag: Path) -> Iterator[Pool]:
    """Two workers with a toy: to start them takes longer than most tests."""
    import ray

    pool = Pool(ray, Toy(flag=flag), None, actors=2, cpus=1, gpus=0)
    yield pool
    pool.close()


@pytest.fixture
def toys(shared: Pool) -> Pool:
    until_all_are_ready(shared)
    return shared


def until_all_are_ready(pool: Pool) -> None:
    pool.muster()
    while not all(hand.ready for hand in pool._hands):
        pool.returned()


def ask_toys(pool: Pool, asked: Iterable[Request], batch: int = 64) -> dict[tuple[int, int], Completion]:
    return said(landed for group in Call(pool, asked, GREEDY, batch).run() for landed in group)


def wait_for(moment: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not moment():
        assert time.monotonic() < end
        time.sleep(0.05)


def openai(url: str, **fields: Any) -> OpenAI:
    return OpenAI(model="loopback", base_url=url, api_key_env="TEACHER_KEY", **fields)


def asked(server: Loopback) -> Counter[str]:
    return Counter(str(body["messages"][-1]["content"]) for body in list(server.bodies))


def slowly(body: dict[str, Any]) -> Reply:
    time.sleep(0.03)
    return well(body)


@on_a_cluster
def test_every_sample_is_answered_once_and_kept(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sk-of-the-driver")
    with Loopback(otherwise=slowly) as server:
        teacher = openai(server.url, concurrency=4)
        completer = build(teacher, batch=32)
        assert completer.identity == teacher.identity()
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            got = said(ledger.complete(completer, requests(60, 2), GREEDY))
            assert (ledger.asked, ledger.reused) == (120, 0)
            assert said(ledger.complete(completer, requests(60, 2), GREEDY)) == got
        assert sorted(got) == [(position, sample) for position in range(60) for sample in (0, 1)]
        for (position, sample), completion in got.items():
            assert completion.question_id == request(f"q{position}").question.id
            assert completion.text == f"I read: q{position} The answer is 4. ({sample})"
        assert asked(server) == Counter(f"q{number}" for number in range(60))
        said_keys = {headers["Authorization"] for headers in server.headers}
        assert said_keys == {f"Bearer {KEY}"}, "the key that the workers find in their own environment"
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as database:
        assert database.execute("SELECT COUNT(*) FROM replies").fetchone() == (60,), "replies come too"


@on_a_cluster
def test_a_lost_worker_costs_what_it_had_in_flight(build: Any) -> None:
    """The server stops half-way; once all eight places are taken, a worker is killed, and it goes on."""
    import ray

    numbers, stuck, released = count(), set[str](), Event()

    def gate(body: dict[str, Any]) -> Reply:
        if next(numbers) >= 150 and not released.is_set():
            stuck.add(str(body["messages"][-1]["content"]))
            released.wait(30)
        return slowly(body)

    with Loopback(otherwise=gate) as server:
        completer = build(openai(server.url, concurrency=4), batch=128)
        pool = completer._pool
        until_all_are_ready(pool)
        held: set[str] = set()

        def kill() -> None:
            wait_for(lambda: len(stuck) == 8)
            held.update(job.request.question.text for job in pool._hands[0].held.values())
            ray.kill(pool._hands[0].actor)
            released.set()

        killer = Thread(target=kill)
        killer.start()
        got = ask(completer, requests(600))
        killer.join()
        assert sorted(got) == [(position, 0) for position in range(600)]
        twice = {text for text, count in asked(server).items() if count > 1}
        assert len(twice) == 4 < len(held), "what it was not asking yet cost nothing"
        assert twice == held & stuck
        assert asked(server).total() == 604


@pytest.fixture
def machines(cluster: Any) -> Iterator[list[Any]]:
    """Two more machines, the only ones with eight places."""
    added = [cluster.add_node(num_cpus=8, **SMALL) for _ in range(2)]
    yield added
    for machine in added:
        cluster.remove_node(machine)


@on_a_cluster
def test_a_lost_machine_costs_no_more_than_it_held(build: Any, cluster: Any, machines: list[Any]) -> None:
    with Loopback(otherwise=slowly) as server:
        completer = build(openai(server.url, concurrency=4), cpus_per_actor=8, batch=8)
        pool = completer._pool
        until_all_are_ready(pool)
        at_first = list(pool._hands)

        def stream() -> Iterator[Request]:
            """Until a worker has been replaced, and a little longer."""
            yield from requests(100)
            cluster.remove_node(machines.pop(), allow_graceful=False)
            for number in range(100, 10_000):
                yield request(f"q{number}")
                if pool._hands != at_first:
                    break
            yield from (request(f"r{number}") for number in range(50))

        got = said(landed for batch in completer.complete(stream(), GREEDY) for landed in batch)
        read = len(asked(server))
        assert pool._hands != at_first
        assert sorted(got) == [(position, 0) for position in range(read)]
        assert sum(asked(server).values()) <= read + 8


@on_a_cluster
def test_a_server_on_a_gpu_ends_with_its_actor(build: Any, tmp_path: Path) -> None:
    """The `vllm` teacher with the stand-in program of its own tests, told here by a script how to behave."""
    import ray

    program = StandIn(tmp_path)
    script = tmp_path / "started-by-the-actor"
    script.write_text(
        f'#!/bin/sh\nSTAND_IN=well STAND_IN_PIDS={tmp_path}/pids.txt exec {program.path} "$@"\n'
    )
    script.chmod(0o755)
    completer = build(VLLM(model="org/toy", executable=str(script)), gpus_per_actor=1)
    until_all_are_ready(completer._pool)
    assert len(ask(completer, requests(200))) == 200
    assert (program.starts(), len(program.alive())) == (2, 4), "each with a process of its own"
    ray.kill(completer._pool._hands[0].actor)
    wait_for(lambda: len(program.alive()) == 2)
    completer.close()
    wait_for(lambda: program.alive() == [])


@on_a_cluster
def test_a_refusal_arrives_as_the_sentence_it_is(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    with Loopback(otherwise=lambda body: error(401, f"{KEY} is no key")) as server:
        teacher = openai(server.url)
        with pytest.raises(TeacherError) as expected:
            list(teacher.build(None).complete(requests(3), GREEDY))
        with pytest.raises(TeacherError) as caught:
            ask(build(teacher), requests(3))
        assert type(caught.value) is TeacherError
        assert str(caught.value) == str(expected.value)
        assert KEY not in str(caught.value)


@on_a_cluster
def test_each_actor_sees_the_gpu_that_it_was_given(build: Any) -> None:
    completer = build(Toy(), actors=2, gpus_per_actor=1)
    until_all_are_ready(completer._pool)
    assert Counter(texts(ask(completer, [request("GPU") for _ in range(4)]))) == {"0": 2, "1": 2}


@on_a_cluster
def test_it_works_with_the_actors_that_have_a_place(build: Any) -> None:
    assert len(ask(build(Toy(), actors=3, gpus_per_actor=1), requests(50))) == 50


@on_a_cluster
def test_a_cluster_without_room_is_a_sentence(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ray_pool, "PLACE_S", 0.5)
    with pytest.raises(TeacherError, match=r"wants 1 CPUs and 99 GPUs, and there are \d+ CPUs and 2 GPUs"):
        spread(Toy(), None, RaySpec(gpus_per_actor=99))


@on_a_cluster
def test_a_teacher_that_cannot_be_built_there_is_a_sentence(cluster: Any) -> None:
    with pytest.raises(TeacherError, match=r"^there is no such model; give another$"):
        spread(Toy(), Path("nowhere"), RaySpec())


@on_a_cluster
def test_machines_that_hold_different_teachers_are_told_on(build: Any) -> None:
    with pytest.raises(TeacherError, match=r"different versions of the teacher toy .*pin teacher\.revision"):
        ask(build(Toy(who="process"), batch=1), [request("slowly") for _ in range(100)])


@on_a_cluster
def test_teachers_of_this_machine_work_there(build: Any, tmp_path: Path) -> None:
    assert set(texts(ask(build(Template(), actors=1), requests(20, 2)))) == {"r The answer is 4."}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"question": "q{n}", "output": "said {n}"}}\n' for n in range(300)))
    got = ask(build(Recorded(path=path), actors=1), requests(300))
    assert texts(got) == [f"said {number}" for number in range(300)]


@on_a_cluster
def test_a_model_in_memory_works_there(build: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from test_teachers import save_llama, save_tokenizer

    folder = save_llama(tmp_path / "toy", max_position_embeddings=64)
    save_tokenizer(folder)
    teacher = Transformers(model=str(folder))
    expected = ask(teacher.build(None), requests(6))
    assert texts(ask(build(teacher, actors=1), requests(6))) == texts(expected)


# ---------------------------------------------------------------- a cluster, with toys


@on_a_cluster
def test_a_worker_that_dies_is_replaced_and_its_requests_are_asked_again(toys: Pool) -> None:
    stream = [*requests(5), request("die once", 3), *[request(f"r{number}") for number in range(5)]]
    expected = [one.messages[0].content for one in stream for _ in one.samples]
    assert texts(ask_toys(toys, stream)) == expected


@on_a_cluster
def test_a_question_that_ends_every_worker_is_found_out(toys: Pool) -> None:
    got = ask_toys(toys, [*requests(20), request("die", 2), *requests(20)])
    failed = {place: c for place, c in got.items() if c.finish_reason == "error"}
    assert set(failed) == {(20, 0), (20, 1)}, "nobody else pays for it"
    assert {c.error for c in failed.values()} == {f"{UNANSWERED}: its worker was lost {LOSSES} times"}
    assert len(got) == 42


@on_a_cluster
def test_when_every_worker_is_lost_the_run_ends(toys: Pool) -> None:
    with pytest.raises(TeacherError, match=rf"^{2 * LOSSES} workers of the cluster were lost") as caught:
        ask_toys(toys, [request("die") for _ in range(200)])
    assert "\n" not in str(caught.value)
    assert texts(ask_toys(toys, requests(3))) == ["q0", "q1", "q2"], "and they can be asked again"


@on_a_cluster
def test_what_others_work_on_is_kept_when_one_is_refused(toys: Pool) -> None:
    """The stream stops; what was handed out is paid for, so it is waited for."""
    got: list[Landed] = []
    stream = [request("refuse"), *[request("slowly") for _ in range(100)]]
    with pytest.raises(TeacherError, match=r"^the key is wrong; set another$"):
        collect(got, Call(toys, stream, GREEDY, 4).run())
    assert set(said(got)) == {(4, 0), (5, 0), (6, 0), (7, 0)}, "all that the other one had"
    assert texts(ask_toys(toys, requests(3))) == ["q0", "q1", "q2"]


@on_a_cluster
def test_a_mistake_in_the_code_is_not_hidden(toys: Pool) -> None:
    with pytest.raises(ZeroDivisionError, match="a mistake in the code"):
        ask_toys(toys, [request("slip")])


@on_a_cluster
def test_an_unanswered_sample_is_told_on(toys: Pool) -> None:
    with pytest.raises(TeacherError, match="without answering all"):
        ask_toys(toys, [request("a"), request("skip")])


@on_a_cluster
def test_requests_are_read_as_they_are_worked_on(toys: Pool) -> None:
    read = 0

    def stream() -> Iterator[Request]:
        nonlocal read
        for one in requests(1000):
            read += 1
            yield one

    landed = 0
    for batch in Call(toys, stream(), GREEDY, 8).run():
        landed += len(batch)
        assert read <= landed + 2 * (2 * 8), "twice what all workers may hold"
    assert landed == 1000


@on_a_cluster
@pytest.mark.parametrize(("count", "most"), [(4, 2), (40, LEAST), (400, 100)])
def test_a_short_stream_is_shared(toys: Pool, count: int, most: int) -> None:
    """Neither of two workers takes more than its share, and of a longer stream no more than half of that."""
    call = Call(toys, (request("slowly") for _ in range(count)), GREEDY, 2048).run()
    next(call)
    held = [len(hand.held) for hand in toys._hands]
    assert max(held) <= most
    assert sum(held) >= min(count, 2 * most) - 4, "and both have something to do"


@on_a_cluster
def test_an_iterator_may_be_dropped(toys: Pool) -> None:
    call = Call(toys, [request("slowly") for _ in range(100)], GREEDY, 8).run()
    next(call)
    del call
    assert toys.held() == 0
    assert texts(ask_toys(toys, requests(3))) == ["q0", "q1", "q2"]
    assert ask_toys(toys, []) == {}


# ---------------------------------------------------------------- the driver

DRIVER = """\
import sys
from pathlib import Path
from test_engine_ray import GREEDY, QUESTIONS, openai, requests
from understudy.engines.ray import RaySpec, spread
from understudy.ledger import Ledger

completer = spread(openai(sys.argv[1], concurrency=4), None, RaySpec(actors=2, cpus_per_actor=0.5, batch=16))
with Ledger(Path("ledger.sqlite")) as ledger:
    for _ in ledger.complete(completer, requests(QUESTIONS), GREEDY):
        pass
    print(ledger.asked, ledger.reused)
completer.close()
"""
QUESTIONS = 200


def start(url: str, folder: Path) -> subprocess.Popen[bytes]:
    """A driver with a cluster of its own, in a process group of its own; what it prints goes to a file."""
    with (folder / "printed").open("wb") as printed:
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, url],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TEACHER_KEY": KEY},
            stdout=printed,
            start_new_session=True,
        )


def kept(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as database:
        return {text.split()[2] for (text,) in database.execute("SELECT text FROM completions")}


@on_a_cluster
def test_a_killed_driver_pays_again_for_nothing_that_was_recorded(tmp_path: Path) -> None:
    with Loopback(otherwise=slowly) as server:
        process = start(server.url, tmp_path)
        while len(server.bodies) < QUESTIONS // 2:
            assert process.poll() is None
            time.sleep(0.01)
        started_by_it = psutil.Process(process.pid).children(recursive=True)
        watched = [child for child in started_by_it if "Agent" not in child.name()]
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(watched, timeout=30)
        assert left == [], "its workers and its cluster go with it; Ray's own agents follow a minute later"
        at_kill, recorded = asked(server), kept(tmp_path)
        assert 0 < len(recorded) < QUESTIONS
        again = start(server.url, tmp_path)
        assert again.wait(timeout=120) == 0
        counts = (tmp_path / "printed").read_text().split()
        assert counts == [str(QUESTIONS - len(recorded)), str(len(recorded))]
        assert kept(tmp_path) == {f"q{number}" for number in range(QUESTIONS)}
        assert {text: asked(server)[text] for text in recorded} == dict.fromkeys(recorded, 1)
        twice = {text for text, count in asked(server).items() if count > 1}
        assert twice == at_kill.keys() - recorded, "what was in flight, and nothing else"
        assert len(twice) <= 2 * 16
    assert alive(again.pid) == 0
