"""Annotation: everything asked, in order, through the ledger, in as many rounds as the policy wants."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_ledger import Toy
from understudy.annotate import Job, Round, annotate, annotate_in_rounds
from understudy.errors import BudgetError, TeacherError
from understudy.ledger import Ledger
from understudy.metering import BudgetSpec, Metered, Spent
from understudy.policies import AGAIN, HINTED, PolicySpec
from understudy.prompts import PromptSpec
from understudy.roles import Identity, Landed, Task
from understudy.types import Completion, FinishReason, Question, Request, Sampling

TASK = Task("toy", "Toy", "number", ("train",), lambda split, source: [], (), "none", "")
QUESTIONS = [Question(text, "1") for text in ("one?", "two?", "three?")]
BARE = PromptSpec(style="bare")


def test_the_order_is_that_of_questions_then_samples(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        # The toy answers backwards.
        got = annotate(
            QUESTIONS, TASK, Toy(), BARE, Sampling(), 2, ledger, lambda *counts: heard.append(counts)
        )
    assert [(c.question_id, c.sample) for c in got] == [(q.id, s) for q in QUESTIONS for s in (0, 1)]
    assert got[2].text == "toy: Question: two? #0"
    assert heard == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("stop", [TeacherError("broken; mend it"), KeyboardInterrupt()])
def test_an_interrupted_annotation_goes_on_where_it_was(tmp_path: Path, stop: BaseException) -> None:
    class Interrupted(Toy):
        def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
            for count, item in enumerate(super().complete(requests, sampling)):
                if count == 4:
                    raise stop
                yield item

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(type(stop)):
            annotate(QUESTIONS, TASK, Interrupted(), BARE, Sampling(), 2, ledger)
        assert ledger.asked == 4
        assert len(annotate(QUESTIONS, TASK, Toy(), BARE, Sampling(), 2, ledger)) == 6
        assert (ledger.asked, ledger.reused) == (6, 4)


# ---------------------------------------------------------------- rounds


class Pupil:
    """Writes what it is told for each question and sample, and remembers how it was asked."""

    def __init__(self, says: Mapping[str, str], stop_after: int | None = None) -> None:
        """`says` has a letter for each plain sample of a question, the last one for all further: r right,
        w wrong, c cut off, u unanswered. With more than 100 tokens nothing is cut off but all is wrong, and
        with the answer shown all is right."""
        self.identity = Identity("http://pupil", "pupil")
        self.says = says
        self.stop_after = stop_after
        self.asked: list[tuple[str, int]] = []
        self.hinted: list[str] = []
        self.drawn: list[Sampling] = []

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        self.drawn.append(sampling)
        for position, request in reversed(list(enumerate(requests))):
            for sample in request.samples:
                if len(self.asked) == self.stop_after:
                    raise KeyboardInterrupt
                self.asked.append((request.question.text, sample))
                yield [(position, self.write(request, sample, sampling))]

    def write(self, request: Request, sample: int, sampling: Sampling) -> Completion:
        question = request.question
        letters = self.says[question.text]
        letter = letters[min(sample % HINTED, len(letters) - 1)]
        if "Correct answer: 1" in request.messages[-1].content:
            self.hinted.append(question.text)
            letter = "r"
        elif sampling.max_tokens > 100:
            letter = "w"
        if letter == "u":
            return Completion(question.id, sample, "", "error", error="unanswered: busy")
        text = f"The answer is {'1' if letter == 'r' else '2'}."
        reason: FinishReason = "length" if letter == "c" else "stop"
        return Completion(question.id, sample, text, reason, 3, 2)

    def close(self) -> None:
        """Nothing is open."""


def job(policy: PolicySpec, **prompt: object) -> Job:
    spec = PromptSpec.model_validate({"style": "zero_shot", **prompt})
    return Job(QUESTIONS, TASK, spec, Sampling(0.7, max_tokens=100), policy)


def go(path: Path, job: Job, pupil: Pupil) -> tuple[list[Completion], tuple[Round, ...]]:
    with Ledger(path) as ledger, annotate_in_rounds(job, pupil, ledger) as annotation:
        got = list(annotation.completions())
        assert list(annotation.completions()) == got
    assert not list(path.parent.glob("tmp*"))
    return got, annotation.rounds


def samples(got: Sequence[Completion]) -> dict[str, list[int]]:
    by_id = {question.id: question.text for question in QUESTIONS}
    there: dict[str, list[int]] = {}
    for completion in got:
        there.setdefault(by_id[completion.question_id], []).append(completion.sample)
    return there


SAYS = {"one?": "r", "two?": "wwr", "three?": "w"}


def test_rounds_go_on_until_each_question_has_its_right_answer(tmp_path: Path) -> None:
    wanted = job(PolicySpec(n=3, until_correct=1))
    pupil = Pupil(SAYS)
    got, rounds = go(tmp_path / "l", wanted, pupil)
    assert samples(got) == {"one?": [0], "two?": [0, 1, 2], "three?": [0, 1, 2]}
    # The pupil begins at the end of what it is asked, which is always in the order of the questions.
    assert pupil.asked[:3] == [("three?", 0), ("two?", 0), ("one?", 0)]
    assert pupil.asked[3:] == [("three?", 1), ("two?", 1), ("three?", 2), ("two?", 2)]
    assert rounds == (
        Round(questions=3, asked=3, reused=0, right=1, cut_off=0, hinted=0, unanswered=0),
        Round(questions=2, asked=2, reused=0, right=0, cut_off=0, hinted=0, unanswered=0),
        Round(questions=2, asked=2, reused=0, right=1, cut_off=0, hinted=0, unanswered=0),
    )


def test_where_all_fail_the_answer_is_shown_and_the_completion_says_so(tmp_path: Path) -> None:
    pupil = Pupil(SAYS)
    got, rounds = go(tmp_path / "l", job(PolicySpec(n=2, hint="failed")), pupil)
    assert samples(got) == {"one?": [0, 1], "two?": [0, 1, HINTED], "three?": [0, 1, HINTED]}
    assert sorted(pupil.hinted) == ["three?", "two?"]
    assert {c.sample for c in got if c.variant == "hinted"} == {HINTED}
    assert [c.variant for c in got].count("hinted") == 2
    assert rounds[1] == Round(questions=2, asked=2, reused=0, right=2, cut_off=0, hinted=2, unanswered=0)


@pytest.mark.parametrize(
    "wanted", [job(PolicySpec(hint="always")), job(PolicySpec(), show_answer=True)], ids=["hint", "prompt"]
)
def test_where_the_answer_is_always_shown_all_say_so(tmp_path: Path, wanted: Job) -> None:
    got, rounds = go(tmp_path / "l", wanted, Pupil(SAYS))
    assert [c.variant for c in got] == ["hinted"] * 3
    assert (rounds[0].hinted, rounds[0].right) == (3, 3)


def test_what_was_cut_off_is_asked_for_again_with_more_tokens(tmp_path: Path) -> None:
    policy = PolicySpec(truncated="retry", retry_max_tokens=200)
    pupil = Pupil({"one?": "c", "two?": "r", "three?": "c"})
    got, rounds = go(tmp_path / "l", job(policy), pupil)
    assert samples(got) == {"one?": [0, AGAIN], "two?": [0], "three?": [0, AGAIN]}
    assert [(c.finish_reason, c.sample) for c in got[:2]] == [("length", 0), ("stop", AGAIN)]
    assert pupil.drawn == [Sampling(0.7, max_tokens=100), Sampling(0.7, max_tokens=200)]
    assert [one.cut_off for one in rounds] == [2, 0]


def test_temperatures_and_styles_follow_the_sample(tmp_path: Path) -> None:
    policy = PolicySpec(n=4, temperatures=(0.2, 0.9), styles=("zero_shot", "zero_shot", "bare"))
    pupil = Pupil(SAYS)
    got, rounds = go(tmp_path / "l", job(policy), pupil)
    assert [c.sample for c in got] == [0, 1, 2, 3] * 3
    assert [drawn.temperature for drawn in pupil.drawn] == [0.2, 0.9]
    assert sorted(sample for _, sample in pupil.asked[:6]) == [0, 0, 0, 2, 2, 2]
    assert len(rounds) == 1
    streams = [(sampling.temperature, list(requests)) for sampling, requests in job(policy).requests()]
    assert [(t, [r.samples for r in requests][:2]) for t, requests in streams] == [
        (0.2, [(2,), (0,)]),
        (0.9, [(1, 3), (1, 3)]),
    ]
    assert "step by step" in streams[0][1][1].messages[0].content
    assert "step by step" not in streams[0][1][0].messages[0].content


def test_each_sample_is_asked_for_under_its_own_instructions(tmp_path: Path) -> None:
    systems = ("Be brief.", "Check each step.", "")
    ((_, requests),) = job(PolicySpec(n=5), system=systems).requests()
    told: dict[tuple[int, ...], str] = {}
    for request in requests:
        first, *rest = request.messages
        told[request.samples] = first.content if rest else ""
        assert request.messages[-1].role == "user"
    assert told == {(2,): "", (0, 3): "Be brief.", (1, 4): "Check each step."}


def test_an_estimate_is_made_of_all_there_may_be(tmp_path: Path) -> None:
    ((sampling, requests),) = job(PolicySpec(n=4, until_correct=1)).requests()
    assert sampling == Sampling(0.7, max_tokens=100)
    assert [request.samples for request in requests] == [(0, 1, 2, 3)] * 3


POLICIES = [
    PolicySpec(n=3, until_correct=1, hint="failed"),
    PolicySpec(n=4, settled=0.5, hint="failed", temperatures=(0.2, 0.9)),
    PolicySpec(n=3, until_correct=2, truncated="retry", retry_max_tokens=200, hint="failed"),
]


@settings(max_examples=40, deadline=None)
@given(
    says=st.fixed_dictionaries({q.text: st.text("rwc", min_size=1, max_size=4) for q in QUESTIONS}),
    policy=st.sampled_from(POLICIES),
    stop_after=st.integers(0, 12),
)
def test_a_killed_run_goes_through_the_same_rounds_and_pays_nothing_twice(
    tmp_path_factory: pytest.TempPathFactory, says: dict[str, str], policy: PolicySpec, stop_after: int
) -> None:
    folder = tmp_path_factory.mktemp("rounds")
    whole = Pupil(says)
    wanted, rounds = go(folder / "whole", job(policy), whole)
    killed = Pupil(says, stop_after)
    try:
        go(folder / "killed", job(policy), killed)
    except KeyboardInterrupt:
        killed.stop_after = None
    got, _ = go(folder / "killed", job(policy), killed)
    assert got == wanted
    assert sorted(killed.asked) == sorted(whole.asked)
    assert len(set(killed.asked)) == len(killed.asked)
    again = Pupil(says)
    assert go(folder / "killed", job(policy), again)[0] == wanted
    assert again.asked == []
    assert sum(one.asked for one in rounds) == len(whole.asked)


def test_a_larger_n_pays_the_difference(tmp_path: Path) -> None:
    go(tmp_path / "l", job(PolicySpec(n=1, hint="failed")), Pupil(SAYS))
    more = Pupil(SAYS)
    got, _ = go(tmp_path / "l", job(PolicySpec(n=3, hint="failed")), more)
    assert samples(got) == {"one?": [0, 1, 2], "two?": [0, 1, 2], "three?": [0, 1, 2, HINTED]}
    # The one that had its hint before is not asked for it again.
    assert sorted(more.asked) == sorted((q.text, sample) for q in QUESTIONS for sample in (1, 2))


def test_a_question_rests_while_a_sample_is_unanswered(tmp_path: Path) -> None:
    policy = PolicySpec(n=3, until_correct=1, hint="failed")
    got, rounds = go(tmp_path / "l", job(policy), Pupil({**SAYS, "three?": "u"}))
    assert samples(got)["three?"] == [0]
    assert rounds[0].unanswered == 1
    later = Pupil(SAYS)
    got, _ = go(tmp_path / "l", job(policy), later)
    assert samples(got)["three?"] == [0, 1, 2, HINTED]
    assert [asked for asked in later.asked if asked[0] != "three?"] == []


# ---------------------------------------------------------------- budgets


def test_a_spent_budget_says_what_is_left_and_a_raised_one_goes_on(tmp_path: Path) -> None:
    wanted, pupil, spent = job(PolicySpec(n=4)), Pupil(SAYS), Spent()
    with Ledger(tmp_path / "l") as ledger:
        metered = Metered(pupil, BudgetSpec(requests=5), spent, None)
        # A request for four samples is sent or not sent as a whole.
        with pytest.raises(
            BudgetError, match=r"takes about 8 more requests, 40 tokens: raise budget.requests to 12 "
        ):
            annotate_in_rounds(wanted, metered, ledger)
        metered = Metered(pupil, BudgetSpec(requests=12), spent, None)
        with annotate_in_rounds(wanted, metered, ledger) as annotation:
            assert len(list(annotation.completions())) == 12
    assert len(pupil.asked) == 12


def test_with_rounds_to_come_it_says_at_least(tmp_path: Path) -> None:
    wanted = job(PolicySpec(n=4, until_correct=1))
    with Ledger(tmp_path / "l") as ledger:
        metered = Metered(Pupil(SAYS), BudgetSpec(requests=4), Spent(), None)
        with pytest.raises(BudgetError, match=r"takes at least 1 more request, 5 tokens"):
            annotate_in_rounds(wanted, metered, ledger)


# ---------------------------------------------------------------- memory

_MANY = """
import sys
from pathlib import Path
from understudy.annotate import Job, annotate_in_rounds
from understudy.ledger import Ledger
from understudy.policies import PolicySpec
from understudy.prompts import PromptSpec
from understudy.roles import Identity, Task
from understudy.streams import windows
from understudy.types import Completion, Question, Sampling

TEXT = "word " * 200 + "The answer is 1."

class Clerk:
    identity = Identity("http://clerk", "clerk")
    def complete(self, requests, sampling):
        for window in windows(enumerate(requests), 64):
            yield [(at, Completion(request.question.id, 0, TEXT, "stop", 9, 9)) for at, request in window]

def peak():  # kilobytes held at most; ru_maxrss would begin with the parent's
    (line,) = (s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1])

questions = [Question(f"{number}?", "1") for number in range(int(sys.argv[1]))]
before = peak()  # with the questions, which the caller holds
task = Task("toy", "Toy", "number", ("train",), lambda split, source: [], (), "none", "")
job = Job(questions, task, PromptSpec(style="bare"), Sampling(0.7), PolicySpec())
with Ledger(Path(sys.argv[2])) as ledger, annotate_in_rounds(job, Clerk(), ledger) as annotation:
    assert sum(1 for _ in annotation.completions()) == len(questions)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def grown(rows: int) -> int:
        command = [sys.executable, "-c", _MANY, str(rows), str(tmp_path / f"{rows}.sqlite")]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    few, many = grown(10_000), grown(200_000)
    assert many - few < 50 * 1024, (few, many)
