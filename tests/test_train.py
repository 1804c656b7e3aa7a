"""Training: the objective by hand, what is left out, and a killed training that ends the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from pydantic import PrivateAttr
from safetensors.torch import load_file

from tiny import BOOLEAN, GROUPS, NUMBER, STUDENTS, SUMS, TEXTS, quiet, rationale, scratch, spec
from understudy.errors import TrainingError
from understudy.methods.step_by_step import StepByStep
from understudy.roles import Budget, Learner, Lesson, TrainSpec
from understudy.students._flops import count
from understudy.students.causal import LiveCausal
from understudy.training import Progress, train
from understudy.training.arguments import use_bf16
from understudy.training.checkpoints import COMPLETE
from understudy.training.collate import Rows
from understudy.training.objective import objective, token_weights
from understudy.training.optimizers import split
from understudy.training.trainer import Loss, fit, mean_loss
from understudy.types import Example

NAMES = tuple(STUDENTS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told about twice a second; here the clock moves a second at every look."""
    clock = SimpleNamespace(monotonic=itertools.count(1).__next__)
    monkeypatch.setattr("understudy.training.watching.time", clock)


def go(
    folder: Path,
    name: str = "causal",
    settings: TrainSpec | None = None,
    groups: Any = GROUPS,
    rate: float = 3e-3,
    seed: int = 0,
    progress: Progress = quiet,
    **more: Any,
) -> dict[str, Any]:
    return train(
        scratch(name),
        groups,
        settings or spec(12, checkpoints=2),
        learning_rate=rate,
        seed=seed,
        folder=folder,
        progress=progress,
        **more,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "model" / "model.safetensors")
    return found


def equal(one: Path, two: Path) -> bool:
    """Whether two trainings ended with the same weights to the last bit."""
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---------------------------------------------------------------- the objective


def row(name: str, weight: float = 1.0) -> dict[str, Any]:
    return {"objective": name, "weight": weight}


def test_each_objective_is_a_mean_over_its_own_tokens() -> None:
    labels = torch.tensor([[5, 5, -100], [-100, 5, -100], [5, 5, 5]])
    # Three answer tokens share one half, three rationale tokens the other.
    got = token_weights(labels, [row("answer", 0.5), row("answer", 0.5), row("rationale", 0.5)])
    sixth = 0.5 / 3
    wanted = torch.tensor([[sixth, sixth, 0], [0, sixth, 0], [sixth, sixth, sixth]])
    torch.testing.assert_close(got, wanted)


def test_a_batch_of_one_objective_has_its_plain_mean() -> None:
    labels = torch.tensor([[5, -100], [5, 5]])
    got = token_weights(labels, [row("answer", 0.2), row("answer", 0.2)])
    torch.testing.assert_close(got, torch.tensor([[1 / 3, 0], [1 / 3, 1 / 3]]))


def test_the_loss_of_an_even_guess_is_the_logarithm_of_the_vocabulary() -> None:
    labels = torch.tensor([[1, -100]])
    # What stands off target does not count, whatever it is.
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [9.0, -9.0, 9.0, float("nan")]]])
    loss = objective(logits, labels, token_weights(labels, [row("answer")]))
    assert loss.item() == pytest.approx(torch.tensor(4.0).log().item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_two_objectives_are_the_two_passes_of_distilling_step_by_step(name: str, share: float) -> None:
    method = StepByStep(rationale_weight=share)
    groups = [
        *method.examples("predict", NUMBER, [rationale(NUMBER)], "number"),
        *method.examples("predict", BOOLEAN, [rationale(BOOLEAN)], "boolean"),
    ]
    examples = [example for group in groups for example in group]
    live: Any = scratch(name).create([text for e in examples for text in (e.source, f" {e.target}")], 0)
    both = loss_of(live, examples)
    predict = loss_of(live, [e for e in examples if e.source.startswith("predict:")])
    explain = loss_of(live, [e for e in examples if e.source.startswith("explain:")])
    assert both == pytest.approx((1 - share) * predict + share * explain, rel=1e-5)
    assert abs(predict - explain) > 1e-3, "the toy must tell the two apart"


def loss_of(live: Any, examples: list[Example]) -> float:
    """Ours for several objectives; for one, a plain mean by torch over a batch of its own."""
    rows = live.encode(examples)
    batch = live.collate(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = live.model(**batch).logits
        if len({e.objective for e in examples}) == 1:
            return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()))
        return float(objective(logits, labels, token_weights(labels, rows)))


def test_what_a_group_teaches_reaches_the_weights() -> None:
    """One step of descent on a batch of two objectives lowers both."""
    method = StepByStep()
    (group,) = method.examples("predict", NUMBER, [rationale(NUMBER)], "number")
    live: Any = scratch("causal").create([text for e in group for text in (e.source, f" {e.target}")], 0)
    before = [loss_of(live, [example]) for example in group]
    rows = live.encode(group)
    batch = live.collate(rows)
    labels = batch.pop("labels")
    torch.autograd.backward(objective(live.model(**batch).logits, labels, token_weights(labels, rows)))
    with torch.no_grad():
        for parameter in live.model.parameters():
            parameter -= 0.1 * parameter.grad
    after = [loss_of(live, [example]) for example in group]
    assert all(new < old for new, old in zip(after, before, strict=True))


# ---------------------------------------------------------------- what a training reports


@pytest.mark.parametrize("name", NAMES)
def test_the_record_of_a_training(tmp_path: Path, name: str) -> None:
    result = go(tmp_path, name, spec(12))
    # A source has 8 tokens, a target 5 and the end of text; an encoder's source ends as well.
    tokens = 4 * (9 + 6 if name == "seq2seq" else 8 + 6)
    assert {
        key: result[key] for key in ("steps", "epochs", "tokens", "target_tokens", "examples", "too_long")
    } == {
        "steps": 12,
        "epochs": 12.0,
        "tokens": 12 * tokens,
        "target_tokens": 12 * 24,
        "examples": 4,
        "too_long": 0,
    }
    assert result["padding_efficiency"] == 1
    assert result["learning_rate"] == 3e-3
    live: Any = scratch(name).load(tmp_path / "model")
    assert result["parameters"] == sum(p.numel() for p in live.model.parameters())
    assert 0 < result["final_loss"] < 3
    assert result["seconds"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "checkpoints go when they are not needed"


def test_progress_rises_and_names_the_loss(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    go(tmp_path, settings=spec(4), progress=lambda *heard: told.append(heard))
    assert [fraction for fraction, _ in told] == [0.25, 0.5, 0.75, 1.0]
    assert told[-1][1].startswith("step 4 of 4, loss ")


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    first = go(tmp_path / "a", settings=spec(1))["final_loss"]
    assert go(tmp_path / "b", settings=spec(30))["final_loss"] < first / 2


def test_a_budget_of_tokens(tmp_path: Path) -> None:
    result = go(tmp_path, settings=spec(budget=Budget(unit="tokens", amount=150)))
    # A batch of all four sums holds 56 tokens; two are not enough.
    assert (result["steps"], result["tokens"]) == (3, 168)


def test_a_share_of_a_budget() -> None:
    assert Budget(unit="tokens", amount=100).times(0.25) == Budget(unit="tokens", amount=25)


LONG = Example("long", "Question: " + "1 + " * 30 + "1? Answer:", "The answer is 31.")


def test_what_is_too_long_is_left_out_and_counted(tmp_path: Path) -> None:
    result = go(tmp_path, settings=spec(2, max_source_tokens=10), groups=[*GROUPS, (LONG,)])
    assert (result["examples"], result["too_long"]) == (4, 1)
    assert result["tokens"] == 2 * 56


def test_a_group_is_left_out_as_a_whole(tmp_path: Path) -> None:
    result = go(tmp_path, settings=spec(2, max_source_tokens=10), groups=[*GROUPS, (SUMS[0], LONG)])
    assert (result["examples"], result["too_long"]) == (4, 2)


@pytest.mark.parametrize("limit", ["max_source_tokens", "max_target_tokens"])
def test_a_limit_that_nothing_fits(tmp_path: Path, limit: str) -> None:
    with pytest.raises(TrainingError, match=rf"none of the 4 training examples fits .*train\.{limit}"):
        go(tmp_path, settings=spec(2, **{limit: 3}))


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path, name: str) -> None:
    told: list[float] = []
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) .*learning rate 1e\+30: lower it"):
        go(tmp_path, name, spec(40), rate=1e30, progress=lambda fraction, _: told.append(fraction))
    assert len(told) < 10, "a hopeless training must not run to its end"
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", NAMES)
def test_muon_takes_the_matrices_of_hidden_layers_and_leaves_the_rest(name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    names = {id(parameter): key for key, parameter in live.model.named_parameters()}
    matrices, others = split(live.model)
    assert sorted(id(parameter) for parameter in (*matrices, *others)) == sorted(names)
    # A decoder layer has 4 + 3 matrices; in T5 an encoder layer has 4 + 3, a decoder layer 4 + 4 + 3.
    assert len(matrices) == 2 * (7 + 11 if name == "seq2seq" else 7)
    assert all(parameter.ndim == 2 for parameter in matrices)
    assert {"shared.weight", "model.embed_tokens.weight"} & {names[id(parameter)] for parameter in others}


def test_muon_trains_otherwise_than_adamw(tmp_path: Path) -> None:
    go(tmp_path / "adamw")
    result = go(tmp_path / "muon", settings=spec(30, optimizer="muon", checkpoints=2))
    assert result["final_loss"] < 1
    assert not equal(tmp_path / "adamw", tmp_path / "muon")


# ---------------------------------------------------------------- the loss on dev


HELD_OUT = [
    Example("dev1", "Question: 1 + 4? Answer:", "The answer is 5."),
    Example("dev2", "Question: 3 + 3? Answer:", "The answer is 7 or 3 or 5."),
    Example("dev3", "Question: 5 + 2 + 4? Answer:", "7."),
]
"""Targets of three lengths, so that a mean over examples is another number than the mean over tokens."""


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_on_dev_is_the_mean_over_its_target_tokens(tmp_path: Path, name: str) -> None:
    dev = [(example,) for example in HELD_OUT]
    result = go(tmp_path, name, dev=dev)
    live: Any = scratch(name).load(tmp_path / "model")
    live.model.eval()
    wanted = loss_of(live, HELD_OUT)
    assert result["dev_loss"] == pytest.approx(wanted, rel=1e-5)
    assert abs(wanted - sum(loss_of(live, [e]) for e in HELD_OUT) / 3) > 1e-3, "the toy must tell them apart"
    one_by_one = mean_loss(live, [tuple(live.encode([e])) for e in HELD_OUT], rows_per_batch=1)
    assert one_by_one == pytest.approx(wanted, rel=1e-5), "how dev is cut into batches does not matter"


def test_the_loss_on_dev_of_two_objectives_is_weighed_as_in_training(tmp_path: Path) -> None:
    method = StepByStep(rationale_weight=0.2)
    (group,) = method.examples("predict", NUMBER, [rationale(NUMBER)], "number")
    result = go(tmp_path, groups=[*GROUPS, group], dev=[group])
    live: Any = scratch("causal").load(tmp_path / "model")
    live.model.eval()
    predict, explain = (loss_of(live, [example]) for example in group)
    assert result["dev_loss"] == pytest.approx(0.8 * predict + 0.2 * explain, rel=1e-5)


def test_the_loss_on_dev_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    with_dev = go(tmp_path / "dev", dev=[(example,) for example in HELD_OUT])
    without = go(tmp_path / "none")
    assert with_dev["dev_loss"] > 0
    assert without["dev_loss"] is None
    assert equal(tmp_path / "dev", tmp_path / "none")


# ---------------------------------------------------------------- where a training starts


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_start_goes_on_from_the_weights_it_is_given(tmp_path: Path, name: str) -> None:
    go(tmp_path / "first", name)
    # A rate of zero trains nothing, so the weights it ends with are those it began with.
    go(tmp_path / "warm", name, spec(1), rate=0.0, seed=1, start=tmp_path / "first" / "model")
    go(tmp_path / "cold", name, spec(1), rate=0.0, seed=1)
    assert equal(tmp_path / "warm", tmp_path / "first")
    assert not equal(tmp_path / "cold", tmp_path / "first")


# ---------------------------------------------------------------- seeds


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_its_seed(tmp_path: Path, name: str) -> None:
    go(tmp_path / "a", name)
    # What was drawn before does not matter.
    torch.rand(7)
    go(tmp_path / "b", name)
    go(tmp_path / "c", name, seed=1)
    assert equal(tmp_path / "a", tmp_path / "b")
    assert not equal(tmp_path / "a", tmp_path / "c")


def test_precision_is_of_the_computation_and_not_of_the_weights(tmp_path: Path) -> None:
    assert [use_bf16(name) for name in ("fp32", "bf16")] == [False, True]
    go(tmp_path / "fp32")
    go(tmp_path / "bf16", settings=spec(12, precision="bf16", checkpoints=2))
    assert {tensor.dtype for tensor in weights(tmp_path / "bf16").values()} == {torch.float32}
    assert not equal(tmp_path / "fp32", tmp_path / "bf16")


# ---------------------------------------------------------------- killed and resumed


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_after(step: int, steps: int = 12) -> Progress:
    def progress(fraction: float, detail: str) -> None:
        if round(fraction * steps) == step:
            raise Killed

    return progress


def steps_of(folder: Path, name: str = "causal", settings: TrainSpec | None = None) -> list[int]:
    """Train on to the end; which of the twelve steps that took."""
    told: list[float] = []
    go(folder, name, settings, progress=lambda fraction, _: told.append(fraction))
    return [round(fraction * 12) for fraction in told]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A training that nothing interrupted. Checkpoints are due after steps 4 and 8."""
    go(tmp_path / "whole")
    return tmp_path / "whole"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_training_goes_on_and_ends_the_same(tmp_path: Path, name: str, optimizer: str) -> None:
    # The learning rate changes at every step, so a schedule that starts anew would show.
    settings = spec(12, checkpoints=2, schedule="cosine", optimizer=optimizer)
    go(tmp_path / "whole", name, settings)
    with pytest.raises(Killed):
        go(tmp_path / "cut", name, settings, progress=killed_after(6))
    assert steps_of(tmp_path / "cut", name, settings) == list(range(5, 13))
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_a_training_killed_before_its_first_checkpoint_starts_again(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(Killed):
        go(tmp_path / "cut", progress=killed_after(3))
    assert steps_of(tmp_path / "cut") == list(range(1, 13))
    assert equal(whole, tmp_path / "cut")


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(Killed):
        go(tmp_path / "cut", progress=killed_after(10))
    checkpoints = tmp_path / "cut" / "checkpoints"
    assert sorted(path.parent.name for path in checkpoints.glob(f"*/{COMPLETE}")) == [
        "checkpoint-4",
        "checkpoint-8",
    ]
    (checkpoints / "checkpoint-8" / COMPLETE).unlink()
    (checkpoints / "checkpoint-8" / "model.safetensors").write_bytes(b"half")
    assert steps_of(tmp_path / "cut") == list(range(5, 13))
    assert equal(whole, tmp_path / "cut")


def test_a_training_killed_while_it_was_saved_has_nothing_left_to_train(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: LiveCausal, folder: Path) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(LiveCausal, "save", killed)
        with pytest.raises(Killed):
            go(tmp_path / "cut")
    again = go(tmp_path / "cut")
    assert equal(whole, tmp_path / "cut")
    first = go(tmp_path / "fresh")
    assert again["final_loss"] == first["final_loss"], "the loss is that of the training, not of this call"


def test_twice_killed(tmp_path: Path, whole: Path) -> None:
    for step in (6, 9):
        with pytest.raises(Killed):
            go(tmp_path / "cut", progress=killed_after(step))
    assert steps_of(tmp_path / "cut") == list(range(9, 13))
    assert equal(whole, tmp_path / "cut")


def test_without_checkpoints_a_killed_training_starts_again(tmp_path: Path) -> None:
    settings = spec(12, checkpoints=0)
    with pytest.raises(Killed):
        go(tmp_path, settings=settings, progress=killed_after(6))
    assert not list(tmp_path.glob("checkpoints/*"))
    assert go(tmp_path, settings=settings)["steps"] == 12


# ---------------------------------------------------------------- a loss of a learner's own


def plain(model: Any, inputs: dict[str, Any], rows: Rows) -> torch.Tensor:
    """The objective, as if it were a learner's."""
    del rows
    given = {key: value for key, value in inputs.items() if key not in ("labels", "token_weights")}
    return objective(model(**given, use_cache=False).logits, inputs["labels"], inputs["token_weights"])


class Own(Learner):
    """Trains with a loss that a test gives it, and remembers its lesson."""

    name: str = "own"
    _loss: Any = PrivateAttr(None)
    _lesson: Any = PrivateAttr(None)

    def fit(self, lesson: Lesson) -> float:
        self._lesson = lesson
        return fit(
            lesson.live,
            lesson.encoded,
            lesson.plan,
            lesson.spec,
            lesson.learning_rate,
            lesson.seed,
            lesson.folder,
            lesson.progress,
            loss=self._loss,
        )


def own(loss: Loss = plain) -> Own:
    learner = Own()
    learner._loss = loss
    return learner


@pytest.mark.parametrize("name", NAMES)
def test_the_same_loss_trains_the_same_student(tmp_path: Path, name: str) -> None:
    first = go(tmp_path / "plain", name)
    second = go(tmp_path / "own", name, learner=own())
    # Plain training adds up the head's part in chunks: the same sums in another order.
    one, two = weights(tmp_path / "plain"), weights(tmp_path / "own")
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[key], two[key], rtol=0, atol=1e-3) for key in one)
    assert second["final_loss"] == pytest.approx(first["final_loss"], rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_sees_which_rows_belong_together(tmp_path: Path, name: str) -> None:
    seen: list[list[tuple[str, int]]] = []
    live: Any = scratch(name).create(TEXTS, 0)

    def loss(model: Any, inputs: dict[str, Any], rows: Rows) -> torch.Tensor:
        targets = [[i for i in labels if i != -100] for labels in inputs["labels"].tolist()]
        assert targets == [row["target"] for row in rows], "rows stand in the order of the batch"
        seen.append([(live.codec.decode(row["target"][:-1]).strip(), row["group"]) for row in rows])
        return plain(model, inputs, rows)

    pairs = [(SUMS[0], SUMS[1]), (SUMS[2], SUMS[3])]
    go(tmp_path, name, spec(3, batch_tokens=99), groups=pairs, learner=own(loss))
    assert len(seen) == 3
    for batch in seen:
        by_group: dict[int, list[str]] = {}
        for text, group in batch:
            by_group.setdefault(group, []).append(text)
        assert sorted(by_group) == [0, 1]
        assert sorted(by_group.values()) == [[a.target, b.target] for a, b in pairs[::-1]]


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_training_on_a_loss_of_its_own_ends_the_same(tmp_path: Path, name: str) -> None:
    def drawn(model: Any, inputs: dict[str, Any], rows: Rows) -> torch.Tensor:
        """Depends on chance, which checkpoints carry."""
        return plain(model, inputs, rows) * (1 + random.random() + float(torch.rand(())))

    go(tmp_path / "whole", name, learner=own(drawn))
    with pytest.raises(Killed):
        go(tmp_path / "cut", name, progress=killed_after(6), learner=own(drawn))
    go(tmp_path / "cut", name, learner=own(drawn))
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_a_lesson_holds_what_fits(tmp_path: Path) -> None:
    learner = own()
    groups = [*GROUPS, (LONG,)]
    result = go(
        tmp_path, settings=spec(2, max_source_tokens=10), groups=groups, learner=learner, teacher=tmp_path
    )
    lesson = learner._lesson
    assert list(lesson.groups) == GROUPS
    assert [len(group) for group in lesson.encoded] == [1, 1, 1, 1]
    assert (lesson.teacher, lesson.learning_rate, lesson.seed, lesson.folder) == (tmp_path, 3e-3, 0, tmp_path)
    assert (len(lesson.plan.batches), result["too_long"]) == (2, 1)


class Picky(Own):
    ARCHITECTURES: ClassVar[tuple[str, ...]] = ("seq2seq",)
    NEEDS_TEACHER: ClassVar[bool] = True


def test_a_learner_that_cannot_train_this_student(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot train a causal student: take one of seq2seq"):
        go(tmp_path, "causal", learner=Picky(), teacher=tmp_path)
    with pytest.raises(TrainingError, match="needs a teacher that gives logits"):
        go(tmp_path, "seq2seq", learner=Picky())


# ---------------------------------------------------------------- easy ones first


def test_easy_first_goes_by_the_hardest_of_a_group(tmp_path: Path) -> None:
    def hard(example: Example, difficulty: float) -> Example:
        return replace(example, difficulty=difficulty)

    # A batch holds one group, so the first is the easiest: not that which holds the easiest example.
    groups = [
        (hard(SUMS[0], 0.0), hard(SUMS[1], 9.0)),
        (hard(SUMS[2], 1.0), hard(SUMS[3], 2.0)),
        (hard(SUMS[3], 5.0), hard(SUMS[0], 5.0)),
    ]
    learner = own()
    settings = spec(40, batch_tokens=1)
    go(tmp_path, settings=settings, groups=groups, learner=learner, order="easy_first")
    batches = learner._lesson.plan.batches
    assert batches[0] == (1,)
    assert (0,) not in batches[:8], "sqrt(7/20) of three groups are two"
    assert (2,) in batches[:16]
    assert {(0,), (1,), (2,)} == set(batches[20:23])
    go(tmp_path / "random", settings=settings, groups=groups, learner=learner)
    assert (0,) in learner._lesson.plan.batches[:3]


def test_what_comes_first_matters(tmp_path: Path) -> None:
    groups = [(replace(example, difficulty=float(i)),) for i, example in enumerate(SUMS)]
    settings = spec(12, batch_tokens=16)
    go(tmp_path / "easy", settings=settings, groups=groups, order="easy_first")
    go(tmp_path / "random", settings=settings, groups=groups)
    assert not equal(tmp_path / "easy", tmp_path / "random")


# ---------------------------------------------------------------- flops


@pytest.mark.parametrize("name", NAMES)
def test_a_training_says_its_flops_and_can_be_given_them(tmp_path: Path, name: str) -> None:
    one = go(tmp_path / "one", name, spec(1))
    assert one["flops"] > 0
    budget = Budget(unit="flops", amount=2.5 * one["flops"])
    result = go(tmp_path / "three", name, spec(budget=budget))
    # All four sums are one batch.
    assert (result["steps"], result["flops"]) == (3, pytest.approx(3 * one["flops"]))
    live: Any = scratch(name).load(tmp_path / "one" / "model")
    wanted = sum(
        count(live.model).training(len(row["source"]), len(row["target"])) for row in live.encode(SUMS)
    )
    assert one["flops"] == wanted
    assert one["inference_flops"] == count(live.model).generated
