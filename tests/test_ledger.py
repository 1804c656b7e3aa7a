"""The ledger: what was paid for is found again, by anyone, after anything."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from queue import SimpleQueue

import pytest

from understudy.errors import TeacherError
from understudy.ledger import Ledger
from understudy.ledger._flow import AHEAD, CHUNK
from understudy.ledger._keys import Keys
from understudy.roles import Identity, Landed
from understudy.streams import windows
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

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        for position, request in reversed(list(enumerate(requests))):
            for sample in request.samples:
                if self.stop_after is not None and len(self.asked) >= self.stop_after:
                    raise TeacherError("the toy is broken; mend it")
                self.asked.append((request.messages[-1].content, sample))
                yield [(position, self.say(request, sample))]

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


def asked_for(path: Path, requests: Sequence[Request], sampling: Sampling = WARM) -> list[tuple[str, int]]:
    """What has to be asked, and so paid, for these requests now."""
    toy = Toy()
    run(path, toy, requests, sampling)
    return sorted(toy.asked)


def test_what_was_answered_comes_back_the_same_and_is_not_asked_again(path: Path) -> None:
    requests = [request("a", (0, 1)), request("b", (0, 1))]
    first = run(path, Toy(), requests)
    again = Toy()
    assert run(path, again, requests) == first
    assert again.asked == []
    assert [c.text for _, c in first] == ["toy: a #0", "toy: a #1", "toy: b #0", "toy: b #1"]


def test_more_samples_ask_only_the_difference(path: Path) -> None:
    run(path, Toy(), [request(text, (0, 1, 2, 3)) for text in "ab"])
    more = [request(text, tuple(range(8))) for text in "ab"]
    assert asked_for(path, more) == [(text, sample) for text in "ab" for sample in (4, 5, 6, 7)]
    assert len(run(path, Toy(stop_after=0), more)) == 16


def test_one_more_row_asks_one(path: Path) -> None:
    run(path, Toy(), [request(text) for text in "abcd"])
    assert asked_for(path, [request(text) for text in "abcde"]) == [("e", 0)]


def test_rows_in_another_order_with_one_edited_ask_the_edited_one(path: Path) -> None:
    run(path, Toy(), [request(text) for text in "abcd"])
    assert asked_for(path, [request(text) for text in "dcXa"]) == [("X", 0)]


def test_a_changed_system_prompt_asks_everything(path: Path) -> None:
    run(path, Toy(), [request(text, system="Be brief.") for text in "abcd"])
    assert asked_for(path, [request(text, system="Be brief!") for text in "abcd"]) == [(t, 0) for t in "abcd"]
    assert asked_for(path, [request(text) for text in "abcd"]) == [(t, 0) for t in "abcd"]


def test_the_key_is_what_it_was() -> None:
    """A changed key would make every ledger out there worthless."""
    keys = Keys(Identity("http://toy", 'to"y', "é"), Sampling(0.7, 0.9, 64, ("\n", "Q:"), 3))
    expected = "0ed82c95c046b931b5c8dd9d6aa713b428a4f0911ee03c84037a4db911f84a73"
    assert keys.key("0" * 64, 2) == expected


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
        def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
            yield [(0, self.say(next(iter(requests)), 0))]

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


EVERY_CHARACTER = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "line\nline",
        "nul \0 inside",
        "🦆 답 ≈",
        "half a pair: \ud83d",
        pytest.param(EVERY_CHARACTER, id="every"),
    ],
)
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


@pytest.mark.parametrize("logprob", [-1.25, 0.0, None])
def test_how_likely_a_text_was_comes_back(path: Path, logprob: float | None) -> None:
    class Sure(Toy):
        def say(self, request: Request, sample: int) -> Completion:
            return replace(super().say(request, sample), logprob=logprob)

    first = run(path, Sure(), [request("a", (0, 1))])
    assert [said.logprob for _, said in first] == [logprob, logprob]
    assert run(path, Toy(stop_after=0), [request("a", (0, 1))]) == first


def test_many_lookups_are_split(path: Path) -> None:
    requests = [request(str(i)) for i in range(1200)]
    run(path, Together(), requests)
    assert len(run(path, Toy(stop_after=0), requests)) == 1200


# ---------------------------------------------------------------- streams


class Threaded(Toy):
    """Reads requests in a thread of its own, as far ahead as it likes, and answers in batches."""

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        landed: SimpleQueue[Landed | None] = SimpleQueue()

        def work() -> None:
            for position, request in enumerate(requests):
                for sample in request.samples:
                    self.asked.append((request.messages[-1].content, sample))
                    landed.put((position, self.say(request, sample)))
            landed.put(None)

        thread = threading.Thread(target=work)
        thread.start()
        while batch := list(islice(iter(landed.get, None), 50)):
            yield batch
            if len(batch) < 50:
                break
        thread.join()


class Together(Toy):
    """Reads as many requests as it answers together, and never further ahead."""

    size = 100

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        for window in windows(enumerate(requests), self.size):
            wanted = [(position, asked, sample) for position, asked in window for sample in asked.samples]
            self.asked += [(asked.messages[-1].content, sample) for _, asked, sample in wanted]
            yield [(position, self.say(asked, sample)) for position, asked, sample in wanted]


class Patient(Together):
    """Takes one request after the other."""

    size = 1


def test_a_stream_without_end_is_read_as_it_is_worked_on(path: Path) -> None:
    made = 0

    def endless() -> Iterator[Request]:
        nonlocal made
        for made in count(1):
            yield request(str(made))

    with Ledger(path) as ledger:
        got = list(islice(ledger.complete(Patient(), endless(), WARM), 10))
    assert [position for position, _ in got] == list(range(10))
    assert made <= AHEAD + CHUNK


@pytest.mark.parametrize("kind", [Together, Threaded])
def test_a_twin_far_behind_is_answered_from_the_ledger(path: Path, kind: Callable[[], Toy]) -> None:
    texts = [str(number) for number in range(AHEAD + 2 * CHUNK)]
    toy = kind()
    with Ledger(path) as ledger:
        twice = (request(text) for text in texts + texts)
        got = dict(ledger.complete(toy, twice, WARM))
        assert (ledger.asked, ledger.reused) == (len(texts), len(texts))
    assert len(got) == 2 * len(texts)
    assert {got[at].text for at in (7, 7 + len(texts))} == {"toy: 7 #0"}
    assert sorted(toy.asked) == sorted((text, 0) for text in texts)


@pytest.mark.parametrize("kind", [Together, Threaded, Toy])
def test_new_rows_among_many_old_ones_are_found(path: Path, kind: Callable[[], Toy]) -> None:
    many = 3 * AHEAD
    run(path, Together(), [request(str(number)) for number in range(many) if number % 1000])
    toy = kind()
    assert len(run(path, toy, [request(str(number)) for number in range(many)])) == many
    assert sorted(toy.asked) == sorted((str(number), 0) for number in range(0, many, 1000))


def test_progress_knows_a_total_that_it_is_told(path: Path) -> None:
    heard: list[tuple[int, int]] = []
    with Ledger(path) as ledger:
        stream = iter([request("a", (0, 1)), request("b")])
        list(ledger.complete(Toy(), stream, WARM, lambda *counts: heard.append(counts), total=3))
        list(ledger.complete(Toy(), iter([request("a")]), WARM, lambda *counts: heard.append(counts)))
    assert heard == [(1, 3), (2, 3), (3, 3), (1, 1)]


def test_a_failure_that_may_pass_is_asked_again_for_a_twin_far_behind(path: Path) -> None:
    texts = [str(number) for number in range(AHEAD + 2 * CHUNK)]
    toy = Together(error="unanswered: HTTP 503")
    with Ledger(path) as ledger:
        got = list(ledger.complete(toy, (request(text) for text in [*texts, "0"]), WARM))
    assert len(got) == len(toy.asked) == len(texts) + 1


@pytest.mark.parametrize("extra", [(0, 0), (0, 1), (9, 0)])
def test_a_teacher_that_answers_what_it_was_not_asked_is_told_on(path: Path, extra: tuple[int, int]) -> None:
    class Eager(Toy):
        def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
            (asked,) = requests
            yield [(0, self.say(asked, 0))]
            yield [(extra[0], self.say(asked, extra[1]))]

    with Ledger(path) as ledger, pytest.raises(TeacherError, match="not asked, or answered twice"):
        list(ledger.complete(Eager(), [request("a")], WARM))
    assert asked_for(path, [request("a")]) == [], "what it was asked for is kept"


# ---------------------------------------------------------------- what is kept of a reply


class Chatty(Toy):
    """Hands over all samples of a request together, with the reply they came in."""

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        for position, request in enumerate(requests):
            raw = f"reply {len(self.asked)}: \ud83d " + "x" * 1000
            self.asked += [(request.messages[-1].content, sample) for sample in request.samples]
            said = [self.say(request, sample) for sample in request.samples]
            yield [(position, replace(c, raw=raw, latency_s=1.5, attempts=2)) for c in said]


def test_how_a_reply_came_is_kept_once_and_not_handed_out(path: Path) -> None:
    requests = [request("a", (0, 1, 2)), request("b")]
    first = run(path, Chatty(), requests)
    assert {(c.raw, c.latency_s, c.attempts) for _, c in first} == {("", 0, 1)}
    assert run(path, Toy(stop_after=0), requests) == first
    with closing(sqlite3.connect(path)) as database:
        assert set(database.execute("SELECT latency_s, attempts FROM completions")) == {(1.5, 2)}
        kept = database.execute("SELECT samples, length(body) FROM replies").fetchall()
    assert [samples for samples, _ in kept] == ["[0,1,2]", "[0]"]
    assert all(size < 100 for _, size in kept)


def test_the_price_is_recorded_where_it_is_known(path: Path) -> None:
    prices = iter([0.25, None])
    with Ledger(path, price=lambda completion: next(prices)) as ledger:
        list(ledger.complete(Patient(), [request("a"), request("b")], WARM))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT usd FROM completions ORDER BY rowid").fetchall() == [(0.25,), (None,)]


def test_what_lands_together_is_one_transaction(path: Path) -> None:
    statements: list[str] = []
    with Ledger(path) as ledger:
        ledger._db.set_trace_callback(statements.append)
        list(ledger.complete(Chatty(), [request("a", (0, 1, 2)), request("b"), request("c")], WARM))
        assert statements.count("COMMIT") == 3
        assert sum(statement.startswith("INSERT OR IGNORE INTO completions") for statement in statements) == 5


def test_nothing_is_yielded_before_it_is_committed(path: Path) -> None:
    with Ledger(path) as ledger, closing(sqlite3.connect(path)) as other:
        for landed, _ in enumerate(ledger.complete(Patient(), [request(text) for text in "abc"], WARM)):
            assert other.execute("SELECT COUNT(*) FROM completions").fetchone() == (landed + 1,)


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
