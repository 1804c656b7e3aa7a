"""The ledger: what was paid for is found again, by anyone, after anything."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from understudy import ledger as ledger_module
from understudy.errors import StoreError, TeacherError
from understudy.ledger import Ledger
from understudy.roles import Identity
from understudy.types import Completion, Message, Question, Request, Sampling

WARM = Sampling(temperature=0.7)


class Toy:
    """Says its name, the prompt and the sample, and remembers what it was asked."""

    def __init__(self, name: str = "toy", stop_after: int | None = None, error: str = "") -> None:
        self.identity = Identity("http://toy", name)
        self.said = name
        self.asked: list[tuple[str, int]] = []
        self.stop_after = stop_after
        self.error = error

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        for position, request in reversed(list(enumerate(requests))):
            for sample in request.samples:
                if self.stop_after is not None and len(self.asked) >= self.stop_after:
                    raise TeacherError("the toy is broken; mend it")
                self.asked.append((request.messages[-1].content, sample))
                yield position, self.say(request, sample)

    def say(self, request: Request, sample: int) -> Completion:
        if self.error:
            return Completion(request.question.id, sample, "", "error", error=self.error)
        text = f"{self.said}: {request.messages[-1].content} #{sample}"
        return Completion(request.question.id, sample, text, "stop", 3, 2, reasoning="hm")

    def close(self) -> None:
        """Nothing is open."""


def request(text: str, samples: tuple[int, ...] = (0,), system: str = "") -> Request:
    messages = (Message("user", text),)
    return Request(
        Question(text, "1"), (Message("system", system), *messages) if system else messages, samples
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def run(
    path: Path, toy: Toy, requests: Sequence[Request], sampling: Sampling = WARM
) -> list[tuple[int, Completion]]:
    with Ledger(path) as ledger:
        got = sorted(ledger.complete(toy, requests, sampling), key=lambda item: (item[0], item[1].sample))
        assert ledger.asked + ledger.reused == sum(len(r.samples) for r in requests)
    return got


def test_what_was_answered_comes_back_the_same_and_is_not_asked_again(path: Path) -> None:
    requests = [request("a", (0, 1)), request("b", (0, 1))]
    first = run(path, Toy(), requests)
    again = Toy()
    assert run(path, again, requests) == first
    assert again.asked == []
    assert [c.text for _, c in first] == ["toy: a #0", "toy: a #1", "toy: b #0", "toy: b #1"]


def test_more_samples_ask_only_the_difference(path: Path) -> None:
    run(path, Toy(), [request("a", (0, 1))])
    more = Toy()
    assert len(run(path, more, [request("a", (0, 1, 2, 3))])) == 4
    assert more.asked == [("a", 2), ("a", 3)]


# Whatever changes who answers, what is asked or how it is sampled must never answer from the ledger.
@pytest.mark.parametrize(
    ("toy", "asked", "sampling"),
    [
        (Toy("other"), request("a"), WARM),
        (Toy(), request("A"), WARM),
        (Toy(), request("a", system="Be brief."), WARM),
        (Toy(), request("a"), replace(WARM, temperature=0.8)),
        (Toy(), request("a"), replace(WARM, top_p=0.9)),
        (Toy(), request("a"), replace(WARM, max_tokens=9)),
        (Toy(), request("a"), replace(WARM, stop=("\n",))),
        (Toy(), request("a"), replace(WARM, seed=0)),
    ],
)
def test_any_difference_is_asked_anew(path: Path, toy: Toy, asked: Request, sampling: Sampling) -> None:
    run(path, Toy(), [request("a")])
    run(path, toy, [asked], sampling)
    assert len(toy.asked) == 1


def test_endpoint_and_revision_are_part_of_who_answers(path: Path) -> None:
    run(path, Toy(), [request("a")])
    for identity in (Identity("http://toy", "toy", "r2"), Identity("http://elsewhere", "toy")):
        toy = Toy()
        toy.identity = identity
        run(path, toy, [request("a")])
        assert len(toy.asked) == 1


def test_roles_are_part_of_the_question(path: Path) -> None:
    run(path, Toy(), [request("a")])
    toy = Toy()
    run(path, toy, [Request(Question("a", "1"), (Message("assistant", "a"),))])
    assert len(toy.asked) == 1


def test_questions_with_one_prompt_share_one_answer(path: Path) -> None:
    twin = Request(Question("b", "1"), request("a").messages)
    toy = Toy()
    got = run(path, toy, [request("a"), twin])
    assert [c.text for _, c in got] == ["toy: a #0"] * 2
    assert [c.question_id for _, c in got] == [Question("a", "1").id, Question("b", "1").id]
    assert len(toy.asked) == 1


def test_progress_counts_what_was_reused(path: Path) -> None:
    run(path, Toy(), [request("a")])
    heard: list[tuple[int, int]] = []
    with Ledger(path) as ledger:
        both = [request("a"), request("b")]
        list(ledger.complete(Toy(), both, WARM, lambda *counts: heard.append(counts)))
    assert heard == [(1, 2), (2, 2)]


def test_a_broken_teacher_loses_nothing_it_answered(path: Path) -> None:
    requests = [request(str(i)) for i in range(6)]
    with Ledger(path) as ledger, pytest.raises(TeacherError, match="broken"):
        list(ledger.complete(Toy(stop_after=4), requests, WARM))
    toy = Toy()
    assert len(run(path, toy, requests)) == 6
    assert len(toy.asked) == 2


def test_a_teacher_that_leaves_samples_out_is_told_on(path: Path) -> None:
    class Lazy(Toy):
        def complete(
            self, requests: Sequence[Request], sampling: Sampling
        ) -> Iterator[tuple[int, Completion]]:
            yield 0, self.say(requests[0], 0)

    with Ledger(path) as ledger, pytest.raises(TeacherError, match="left 1 of 2 samples unanswered"):
        list(ledger.complete(Lazy(), [request("a"), request("b")], WARM))


@pytest.mark.parametrize(("error", "asked_again"), [("unanswered: HTTP 503", 1), ("context too long", 0)])
def test_only_final_errors_are_stored(path: Path, error: str, asked_again: int) -> None:
    ((_, got),) = run(path, Toy(error=error), [request("a")])
    assert (got.finish_reason, got.error) == ("error", error)
    toy = Toy()
    run(path, toy, [request("a")])
    assert len(toy.asked) == asked_again


def test_a_teacher_without_endpoint_is_not_recorded(path: Path) -> None:
    for _ in range(2):
        toy = Toy()
        toy.identity = Identity("", "free")
        run(path, toy, [request("a"), request("a")])
        assert len(toy.asked) == 2


@pytest.mark.parametrize("text", ["", "line\nline", "nul \0 inside", "🦆 답 ≈", "half a pair: \ud83d"])
def test_any_text_comes_back(path: Path, text: str) -> None:
    class Parrot(Toy):
        def say(self, request: Request, sample: int) -> Completion:
            return Completion(request.question.id, sample, text, "length", error="")

    first = run(path, Parrot(), [request("a" + text)])
    assert run(path, Toy(stop_after=0), [request("a" + text)]) == first
    assert first[0][1].text == text.replace("\ud83d", "\ufffd")


def test_the_row_says_who_what_and_when(path: Path) -> None:
    with Ledger(path, run="trial") as ledger:
        list(ledger.complete(Toy(), [request("a", system="s")], WARM))
    with sqlite3.connect(path) as database:
        row = database.execute(
            "SELECT endpoint, model, messages, sample, prompt_tokens, completion_tokens, reasoning, run,"
            " created FROM completions JOIN prompts ON prompt = hash"
        ).fetchone()
    database.close()
    assert row[:8] == ("http://toy", "toy", '[["system","s"],["user","a"]]', 0, 3, 2, "hm", "trial")
    assert row[8].endswith("+00:00")


def test_many_lookups_are_split(path: Path) -> None:
    requests = [request(str(i)) for i in range(1200)]
    run(path, Toy(), requests)
    assert len(run(path, Toy(stop_after=0), requests)) == 1200


# ---------------------------------------------------------------- several processes, sudden ends

CHILD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from test_ledger import Toy, WARM, request
    from understudy.ledger import Ledger

    class Slow(Toy):
        def say(self, request, sample):
            time.sleep(float(sys.argv[3]))
            return super().say(request, sample)

    toy = Slow(sys.argv[2])
    toy.identity = Toy().identity
    with Ledger(Path(sys.argv[1])) as ledger:
        for position, completion in ledger.complete(toy, [request(str(i)) for i in range(60)], WARM):
            print(position, completion.text, flush=True)
""")


def child(path: Path, name: str, pause: float) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", CHILD, str(path), name, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_killed_process_has_kept_every_answer_it_gave(path: Path) -> None:
    process = child(path, "toy", 0.01)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    seen += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    toy = Toy()
    assert len(run(path, toy, [request(str(i)) for i in range(60)])) == 60
    # At most one answer had landed but was not yet printed.
    assert len(toy.asked) in (60 - len(seen), 59 - len(seen))


def test_two_processes_share_a_ledger_and_agree(path: Path) -> None:
    """Each says its own name, so any answer that they do not share shows."""
    outputs = []
    for process in [child(path, name, 0.002) for name in ("one", "two")]:
        outputs.append(sorted(process.communicate(timeout=30)[0].splitlines()))
        assert process.returncode == 0
    assert len(outputs[0]) == 60
    assert outputs[0] == outputs[1]


def test_of_two_answers_to_one_request_the_first_stored_counts(path: Path) -> None:
    class Overtaken(Toy):
        """While it thinks, another process asks the same and is quicker."""

        def say(self, request: Request, sample: int) -> Completion:
            quicker = Toy("quicker")
            quicker.said = "quicker"
            quicker.identity = self.identity
            run(path, quicker, [request])
            return super().say(request, sample)

    ((_, got),) = run(path, Overtaken(), [request("a")])
    assert got.text == "quicker: a #0"


# ---------------------------------------------------------------- a ledger that cannot be used


def test_a_file_that_is_no_ledger_is_left_alone(path: Path) -> None:
    path.write_text("dear diary, " * 100)
    with pytest.raises(StoreError, match=r"ledger.sqlite is not a ledger; move it away"):
        Ledger(path)
    assert path.read_text().startswith("dear diary")


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_newer_format_is_not_touched(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer understudy"):
        Ledger(path)


def test_a_held_ledger_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    with Ledger(path) as ledger:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="held by another process"):
            list(ledger.complete(Toy(), [request("a")], WARM))
    holder.close()


def test_a_full_disk_is_said_and_what_fitted_is_kept(path: Path) -> None:
    long = [request("long " * 400 + str(i)) for i in range(50)]
    with Ledger(path) as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(StoreError, match=r"the disk that holds the ledger .* is full"):
            list(ledger.complete(Toy(), long, WARM))
        kept = ledger.asked - 1
    assert kept > 3
    toy = Toy()
    assert len(run(path, toy, long)) == 50
    assert len(toy.asked) == 50 - kept
