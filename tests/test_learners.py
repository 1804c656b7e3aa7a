"""Learners: preferences and logits, on both architectures, from a teacher of 60 steps to a student of 40.

TRL's own trainers are held against the same loss in the plain trainer: the two ways must end in one student.
"""

from __future__ import annotations

import copy
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

pytest.importorskip("trl", reason="the learners stand on TRL: pip install 'understudy[trl]'")

from tiny import GROUPS, NUMBER, SUMS, TEXTS, quiet, rationale, scratch, spec
from understudy import batches
from understudy.errors import TrainingError
from understudy.learners._cross import Sorted, _ends, beside
from understudy.learners._losses import OnPolicy, Preferred, logits_of, sequence_logprobs
from understudy.learners._trl import divergence, part
from understudy.learners.logit import LogitDistillation
from understudy.learners.on_policy import OnPolicyDistillation
from understudy.learners.preference import Preference
from understudy.methods.dpo import DirectPreference
from understudy.methods.logit import Logit
from understudy.methods.on_policy import OnPolicy as OnPolicyMethod
from understudy.roles import Lesson
from understudy.training import train, trainer
from understudy.training.objective import token_weights
from understudy.types import Example, Rationale, Sampling

NAMES = ["causal", "seq2seq"]
GREEDY = Sampling(max_tokens=8)
RIGHT = [example.target for example in SUMS]
PAIRS = [
    (
        Example(e.question_id, e.source, e.target, "chosen"),
        Example(e.question_id, e.source, "The answer is 9.", "rejected", 0.0),
    )
    for e in SUMS
]
PAIR_TEXTS = [text for pair in PAIRS for e in pair for text in (e.source, f" {e.target}")]


def lesson(
    folder: Path,
    live: Any,
    groups: Sequence[tuple[Example, ...]],
    steps: int = 40,
    *,
    teacher: Path | None = None,
    rate: float = 1e-3,
    progress: Callable[[float, str], None] = quiet,
    checkpoints: int = 0,
) -> Lesson:
    """What a learner gets. Two or three groups share a batch."""
    settings = spec(steps, checkpoints=checkpoints)
    encoded = [tuple(live.encode(group)) for group in groups]
    lengths = [sum(len(row["source"]) + len(row["target"]) for row in group) for group in encoded]
    sizes = [
        batches.Size(len(group), length, 0, length) for group, length in zip(groups, lengths, strict=True)
    ]
    plan = batches.plan(sizes, 64, "steps", steps, 0)
    return Lesson(live, groups, encoded, plan, settings, rate, 0, folder, progress, teacher)


def said(live: Any) -> list[str]:
    return [generated.text for generated in live.generate([e.source for e in SUMS], GREEDY)]


def logits(live: Any, groups: Sequence[tuple[Example, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of all rows together."""
    live.model.eval()
    inputs = live.collate(live.encode([example for group in groups for example in group]))
    with torch.no_grad():
        return logits_of(live.model, inputs), inputs["labels"]


def margins(live: Any) -> torch.Tensor:
    """Of each pair: how much likelier the chosen target is than the rejected one, as logarithms."""
    logprobs = sequence_logprobs(*logits(live, PAIRS))
    return logprobs[0::2] - logprobs[1::2]


def apart(student: Any, teacher: Any) -> float:
    """Mean KL divergence of the student's next tokens from the teacher's, by hand."""
    own, labels = logits(student, GROUPS)
    theirs, _ = logits(teacher, GROUPS)
    p, q = torch.log_softmax(theirs, -1), torch.log_softmax(own, -1)
    return float((p.exp() * (p - q)).sum(-1)[labels != -100].mean())


def weights_differ(a: Any, b: Any) -> float:
    pairs = zip(a.model.parameters(), b.model.parameters(), strict=True)
    return max(float((x - y).detach().abs().max()) for x, y in pairs)


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told about twice a second; here the clock moves a second at every look."""
    monkeypatch.setattr(
        "understudy.training.watching.time", SimpleNamespace(monotonic=itertools.count(1).__next__)
    )


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Folders of teachers that know the four sums, by architecture and tokenizer."""
    folders = {}
    for name, tokenizer in (("causal", "word"), ("seq2seq", "word"), ("causal", "char")):
        folder = tmp_path_factory.mktemp(f"{name}-{tokenizer}")
        settings = spec(60, batch_tokens=256, checkpoints=0)
        train(
            scratch(name, tokenizer),
            GROUPS,
            settings,
            learning_rate=3e-3,
            seed=7,
            folder=folder,
            progress=quiet,
        )
        folders[name, tokenizer] = folder / "model"
    return folders


def torn(name: str) -> Any:
    """A student that was taught the right and the wrong answer alike."""
    live: Any = scratch(name).create(PAIR_TEXTS, 0)
    both = [(Example("", e.source, e.target),) for pair in PAIRS for e in pair]
    with tempfile.TemporaryDirectory() as folder:
        taught = lesson(Path(folder), live, both, 60, rate=3e-3)
        trainer.fit(live, taught.encoded, taught.plan, taught.spec, 3e-3, 0, taught.folder, quiet)
    return live


# ---------------------------------------------------------------- preference


@pytest.mark.parametrize("name", NAMES)
def test_a_torn_student_learns_to_prefer_the_right_answer(tmp_path: Path, name: str) -> None:
    live = torn(name)
    before = margins(live)
    assert before.abs().max() < 3, "it must be torn for this to mean anything"
    loss = Preference().fit(lesson(tmp_path, live, PAIRS))
    assert (margins(live) > before + 3).all()
    assert loss < 0.6, "a student that has not moved has a loss of at least log 2 = 0.69"
    assert said(live) == RIGHT


def test_likelihood_holds_up_what_plain_dpo_lets_fall(tmp_path: Path) -> None:
    chosen = {}
    for likelihood in (0.0, 1.0):
        live: Any = scratch("causal").create(PAIR_TEXTS, 0)
        Preference(likelihood=likelihood).fit(lesson(tmp_path, live, PAIRS))
        chosen[likelihood] = sequence_logprobs(*logits(live, PAIRS))[0::2].mean()
    assert chosen[1.0] > chosen[0.0] + 1


@pytest.mark.parametrize("likelihood", [0.0, 1.0])
def test_trl_and_the_plain_trainer_learn_one_preference(tmp_path: Path, likelihood: float) -> None:
    ours, theirs = (scratch("causal").create(PAIR_TEXTS, 0) for _ in range(2))
    start = copy.deepcopy(ours)
    a = Preference(likelihood=likelihood).fit(lesson(tmp_path / "a", theirs, PAIRS, 12))
    given = lesson(tmp_path / "b", ours, PAIRS, 12)
    reference = copy.deepcopy(ours.model)
    b = plain(given, Preferred(reference, 0.1, likelihood))
    assert a == pytest.approx(b, rel=1e-4)
    assert weights_differ(ours, theirs) < 1e-5
    assert weights_differ(ours, start) > 1e-3


def plain(given: Lesson, loss: Callable[..., torch.Tensor]) -> float:
    return trainer.fit(
        given.live,
        given.encoded,
        given.plan,
        given.spec,
        given.learning_rate,
        given.seed,
        given.folder,
        given.progress,
        loss=loss,
    )


def test_groups_that_are_no_pairs_are_refused(tmp_path: Path) -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    with pytest.raises(TrainingError, match="a group has: answer"):
        Preference().fit(lesson(tmp_path, live, GROUPS))
    chosen, rejected = PAIRS[0][0], PAIRS[1][1]
    with pytest.raises(TrainingError, match="the same source"):
        Preference().fit(lesson(tmp_path, live, [(chosen, rejected)]))


# ---------------------------------------------------------------- logits


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("causal", {"cross_entropy": 0.5, "temperature": 2.0}),
        ("causal", {"cross_entropy": 0.0}),
        ("seq2seq", {"cross_entropy": 0.0}),
    ],
)
def test_logits_bring_the_student_to_the_teacher(
    tmp_path: Path, teachers: dict[tuple[str, str], Path], name: str, settings: dict[str, float]
) -> None:
    folder = teachers[name, "word"]
    live: Any = scratch(name, str(folder)).create((), 0)
    teacher = scratch(name).load(folder)
    before = apart(live, teacher)
    LogitDistillation(**settings).fit(lesson(tmp_path, live, GROUPS, teacher=folder))
    assert apart(live, teacher) < 0.3 * before
    assert said(live) == RIGHT


def test_the_distilled_loss_by_hand(tmp_path: Path, teachers: dict[tuple[str, str], Path]) -> None:
    folder = teachers["causal", "word"]
    live: Any = scratch("causal", str(folder)).create((), 0)
    wanted = apart(live, scratch("causal").load(folder))
    whole = [tuple(example for group in GROUPS for example in group)]
    # A rate of zero trains nothing, so the loss is that of the start.
    loss = LogitDistillation(cross_entropy=0).fit(lesson(tmp_path, live, whole, 1, teacher=folder, rate=0.0))
    assert loss == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(("name", "other"), [("causal", ("causal", "char")), ("seq2seq", ("causal", "word"))])
def test_a_teacher_of_other_tokens_teaches_across(
    tmp_path: Path, teachers: dict[tuple[str, str], Path], name: str, other: tuple[str, str]
) -> None:
    def loss(steps: int, rate: float) -> float:
        live: Any = scratch(name).create(TEXTS, 0)
        learner = LogitDistillation(cross_tokenizer=True, cross_entropy=0.7)
        found = learner.fit(lesson(tmp_path, live, GROUPS, steps, teacher=teachers[other], rate=rate))
        if rate:
            assert said(live) == RIGHT
        return found

    assert loss(40, 3e-3) < 0.4 * loss(1, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_student_that_is_its_teacher_has_nothing_to_learn_across(
    tmp_path: Path, teachers: dict[tuple[str, str], Path], name: str
) -> None:
    live: Any = scratch(name).load(teachers[name, "word"])
    given = lesson(tmp_path, live, GROUPS)
    rows = [row for group in beside(given, live) for row in group]
    inputs = live.collate(rows)
    inputs["token_weights"] = token_weights(inputs["labels"], rows)
    live.model.eval()
    assert float(Sorted(live, 1.0, 0.0)(live.model, inputs, rows).detach()) == pytest.approx(0, abs=1e-6)
    other: Any = scratch(name, str(teachers[name, "word"])).create((), 3)
    assert float(Sorted(other, 1.0, 0.0)(live.model, inputs, rows).detach()) > 0.5


def test_where_tokens_end_in_the_target() -> None:
    word, char = (scratch("causal", tokenizer).create(TEXTS, 0) for tokenizer in ("word", "char"))
    target = "The answer is 3."
    assert _ends(word, target, 6) == [3, 10, 13, 15, 16, 16], "five words and marks, and the end of text"
    assert _ends(char, target, 18) == [*range(17), 16], "the first is the space that joins source and target"
    closed = scratch("seq2seq", "char").create(TEXTS, 0)
    assert _ends(closed, target, 17) == [*range(1, 17), 16]


def test_other_tokens_are_refused_unless_asked_for(
    tmp_path: Path, teachers: dict[tuple[str, str], Path]
) -> None:
    live: Any = scratch("causal").create([*TEXTS, "zebra"], 0)
    with pytest.raises(TrainingError, match="tokens are not the teacher's"):
        LogitDistillation().fit(lesson(tmp_path, live, GROUPS, teacher=teachers["causal", "word"]))
    with pytest.raises(TrainingError, match=r"causal student cannot be compared .* seq2seq teacher"):
        OnPolicyDistillation().fit(lesson(tmp_path, live, GROUPS, teacher=teachers["seq2seq", "word"]))
    with pytest.raises(TrainingError, match="needs a teacher that gives them"):
        LogitDistillation().fit(lesson(tmp_path, live, GROUPS))
    with pytest.raises(ValidationError, match="give a cross_entropy above 0"):
        Logit(cross_tokenizer=True, cross_entropy=0)


def test_embeddings_that_a_teacher_pads_are_cut_off(
    tmp_path: Path, teachers: dict[tuple[str, str], Path]
) -> None:
    folder = teachers["causal", "word"]
    padded: Any = scratch("causal").load(folder)
    padded.model.resize_token_embeddings(padded.model.config.vocab_size + 8)
    padded.save(tmp_path / "padded")
    losses = []
    for place in (folder, tmp_path / "padded"):
        live: Any = scratch("causal", str(folder)).create((), 0)
        losses.append(LogitDistillation().fit(lesson(tmp_path, live, GROUPS, 4, teacher=place)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    larger = scratch("causal").load(tmp_path / "padded")
    with pytest.raises(TrainingError, match="take a teacher with as many"):
        LogitDistillation().fit(lesson(tmp_path, larger, GROUPS, 4, teacher=folder))


# ---------------------------------------------------------------- on policy


def beginner(name: str, folder: Path) -> Any:
    """A student of the teacher's tokens that has seen the sums a little."""
    live: Any = scratch(name, str(folder)).create((), 0)
    taught = lesson(folder, live, GROUPS, 15)
    trainer.fit(live, taught.encoded, taught.plan, taught.spec, 3e-3, 0, folder.parent / "unused", quiet)
    return live


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_student_comes_to_the_teacher_on_either_policy(
    tmp_path: Path, teachers: dict[tuple[str, str], Path], name: str, share: float
) -> None:
    folder = teachers[name, "word"]
    teacher = scratch(name).load(folder)
    live = beginner(name, folder)
    before = apart(live, teacher)
    learner = OnPolicyDistillation(on_policy=share, max_new_tokens=8)
    learner.fit(lesson(tmp_path, live, GROUPS, 30, teacher=folder, rate=3e-3))
    assert apart(live, teacher) < 0.5 * before


def test_trl_and_the_plain_trainer_distil_alike(
    tmp_path: Path, teachers: dict[tuple[str, str], Path]
) -> None:
    folder = teachers["causal", "word"]
    ours, theirs = (beginner("causal", folder) for _ in range(2))
    a = OnPolicyDistillation(on_policy=0.0, beta=0.3).fit(
        lesson(tmp_path / "a", theirs, GROUPS, 12, teacher=folder)
    )
    teacher = scratch("causal").load(folder)
    loss = OnPolicy(ours, teacher, divergence(), share=0.0, beta=0.3, temperature=1.0, max_new_tokens=8)
    b = plain(lesson(tmp_path / "b", ours, GROUPS, 12), loss)
    assert a == pytest.approx(b, rel=1e-4)
    assert weights_differ(ours, theirs) < 1e-5


# ---------------------------------------------------------------- as every training


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("name", "learner"),
    [
        ("causal", Preference()),
        ("causal", OnPolicyDistillation(max_new_tokens=6)),
        ("seq2seq", OnPolicyDistillation(max_new_tokens=6)),
    ],
)
def test_a_killed_training_goes_on_and_ends_the_same(
    tmp_path: Path,
    teachers: dict[tuple[str, str], Path],
    name: str,
    learner: Preference | OnPolicyDistillation,
) -> None:
    folder = teachers[name, "word"]
    groups = PAIRS if isinstance(learner, Preference) else GROUPS
    told: list[int] = []

    def go(place: str, stop: int = 0) -> Any:
        live: Any = scratch(name, str(folder)).create((), 0)

        def progress(fraction: float, detail: str) -> None:
            told.append(round(fraction * 12))
            if told[-1] == stop:
                raise Killed

        given = lesson(tmp_path / place, live, groups, 12, teacher=folder, progress=progress, checkpoints=2)
        learner.fit(given)
        return live

    whole = go("whole")
    with pytest.raises(Killed):
        go("cut", 6)
    told.clear()
    assert weights_differ(whole, go("cut")) == 0
    assert told[-1] == 12
    assert min(told) > 4, "it goes on from the checkpoint after step 4"


@pytest.mark.parametrize("learner", [Preference(), OnPolicyDistillation(on_policy=0.0)])
def test_a_loss_that_is_no_number_ends_the_training(
    tmp_path: Path, teachers: dict[tuple[str, str], Path], learner: Preference | OnPolicyDistillation
) -> None:
    folder = teachers["causal", "word"]
    live: Any = scratch("causal", str(folder)).create((), 0)
    groups = PAIRS if isinstance(learner, Preference) else GROUPS
    with pytest.raises(TrainingError, match="the loss became nan"):
        learner.fit(lesson(tmp_path, live, groups, 10, teacher=folder, rate=1e30))


def test_trl_leaves_the_model_as_it_was_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(*arguments: Any, **options: Any) -> None:
        raise AssertionError("telemetry")

    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", sent)
    live: Any = scratch("causal").create(PAIR_TEXTS, 0)
    given = lesson(tmp_path, live, PAIRS, 4, checkpoints=1)
    Preference().fit(given)
    assert "forward" not in vars(live.model)
    assert not list(tmp_path.rglob("README.md"))
    live.save(tmp_path / "model")
    assert weights_differ(live, scratch("causal").load(tmp_path / "model")) == 0


def test_without_trl_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(TrainingError, match=r"pip install 'understudy\[trl\]'"):
        part("trl", "DPOTrainer")


# ---------------------------------------------------------------- methods


def wrong(sample: int, answer: str) -> Rationale:
    return Rationale(NUMBER.id, sample, f"2 + 3 = {answer}.", answer, "toy", "wrong")


def test_dpo_pairs_every_right_rationale_with_a_wrong_one() -> None:
    method = DirectPreference(preference_share=0.4, beta=0.2)
    first, second = method.stages()
    assert (first.asked, second.asked, second.start_from) == (False, True, "rationale")
    assert (first.share, second.share) == (0.6, 0.4)
    assert (method.learner("rationale"), method.learner("preference")) == (None, Preference(beta=0.2))
    found = [rationale(NUMBER), wrong(1, "6"), wrong(2, "7")]
    read = "Question: Tom has 2 apples and buys 3 more. How many has he?"
    right = "2 + 3 = 5. The answer is 5."
    assert method.examples("rationale", NUMBER, found, "number") == [
        (Example(NUMBER.id, read, right, "rationale"),)
    ]
    assert method.examples("preference", NUMBER, found, "number") == [
        (
            Example(NUMBER.id, read, right, "chosen"),
            Example(NUMBER.id, read, f"2 + 3 = {answer}. The answer is {answer}.", "rejected", 0.0),
        )
        for answer in ("6", "7")
    ]


def test_a_question_without_both_kinds_gives_no_pair() -> None:
    method = DirectPreference()
    assert method.examples("preference", NUMBER, [rationale(NUMBER)], "number") == []
    assert method.examples("preference", NUMBER, [wrong(0, "6")], "number") == []
    assert method.examples("rationale", NUMBER, [wrong(0, "6")], "number") == []


def test_methods_hand_their_keys_to_their_learners() -> None:
    assert Logit(temperature=2.0, cross_tokenizer=True).learner("rationale") == LogitDistillation(
        temperature=2.0, cross_tokenizer=True
    )
    method = OnPolicyMethod(on_policy=0.7, beta=0.1, temperature=0.9, max_new_tokens=9, policy_share=0.5)
    assert method.learner("rationale") is None
    assert method.learner("policy") == OnPolicyDistillation(
        on_policy=0.7, beta=0.1, temperature=0.9, max_new_tokens=9
    )
    assert [(stage.name, stage.asked, stage.share) for stage in method.stages()] == [
        ("rationale", False, 0.5),
        ("policy", True, 0.5),
    ]
