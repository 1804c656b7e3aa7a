"""Early stopping: measured on dev, ties to the earlier, the best weights kept, exact across a kill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from small import recipe
from tiny import GROUPS, NUMBER, STUDENTS, SUMS, quiet, scratch, spec
from understudy.batches import Size
from understudy.batches import plan as make_plan
from understudy.errors import RecipeError, TrainingError
from understudy.graph import Graph
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.two_stage import TwoStage
from understudy.roles import Learner, Lesson, StoppingSpec, TrainSpec
from understudy.training import telling, train
from understudy.training.accuracy import accuracy_on, answers_alone
from understudy.training.arguments import arguments
from understudy.training.stopping import MEASURED, Stopper, shortened
from understudy.training.trainer import mean_loss
from understudy.types import Example, Question

NAMES = tuple(STUDENTS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---------------------------------------------------------------- the rule, on values that one can see


class Line:
    """A model of one weight, which is set to the number of the step, and measured as `values` say."""

    def __init__(self, folder: Path, values: Sequence[float], average: int = 0, **settings: Any) -> None:
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.values = iter(values)
        rule = StoppingSpec(**{"every": 0.1, "patience": 2, **settings})
        self.stopper = Stopper(rule, average, lambda: next(self.values), [10] * 20, folder)

    def run(self, first: int = 1) -> list[int]:
        """Train up to twenty steps; returns those that were measured."""
        seen = []
        for step in range(first, 21):
            with torch.no_grad():
                self.model.weight.fill_(float(step))
            if self.stopper.due(step):
                seen.append(step)
                if self.stopper.measure(step, self.model):
                    break
        return seen

    def chosen(self) -> float:
        self.stopper.choose(self.model)
        return float(self.model.weight.detach())


def test_it_ends_when_so_many_measurements_were_no_better(tmp_path: Path) -> None:
    line = Line(tmp_path, [5, 4, 4.5, 4.2, 1])
    assert line.run() == [2, 4, 6, 8]
    assert line.chosen() == 4
    told = line.stopper.told()
    assert (told["best"], told["stopped"], told["planned"]) == (4, 8, 20)
    assert told["curve"][1] == {"step": 4, "tokens": 40, "value": 4}


def test_a_better_one_starts_the_count_anew(tmp_path: Path) -> None:
    line = Line(tmp_path, [5, 6, 4, 6, 3, 9, 9])
    assert line.run() == [2, 4, 6, 8, 10, 12, 14]
    assert line.chosen() == 10


def test_a_tie_goes_to_the_earlier_and_is_no_better(tmp_path: Path) -> None:
    line = Line(tmp_path, [0.5, 0.75, 0.75, 0.75], metric="dev_accuracy")
    assert line.run() == [2, 4, 6, 8]
    assert line.chosen() == 4


def test_the_last_step_is_always_measured(tmp_path: Path) -> None:
    line = Line(tmp_path, [3, 2, 1], every=0.45)
    assert line.run() == [9, 18, 20]
    assert line.stopper.told()["stopped"] is None
    assert line.chosen() == 20


def test_a_measurement_that_is_no_number_is_never_best(tmp_path: Path) -> None:
    line = Line(tmp_path, [float("nan"), 7, float("nan"), float("inf")])
    line.run()
    assert line.chosen() == 4
    nothing = Line(tmp_path, [float("nan"), float("nan")])
    assert nothing.run() == [2, 4]
    with pytest.raises(TrainingError, match="no measurement on dev was a number: lower"):
        nothing.chosen()


def test_the_mean_of_the_last_weights(tmp_path: Path) -> None:
    # Best after step 4; the last three are 4, 6 and 8. The fifth value is that of their mean.
    line = Line(tmp_path, [5, 4, 4.5, 4.2, 3.9], average=3)
    assert line.run() == [2, 4, 6, 8]
    assert line.chosen() == 6
    assert line.stopper.told()["averaged"] == {"steps": [4, 6, 8], "value": 3.9}
    assert line.stopper.told()["best"] == 4


def test_only_weights_that_may_be_wanted_are_kept(tmp_path: Path) -> None:
    line = Line(tmp_path, [5, 4, 4.5, 4.2], average=1)
    line.run()
    line.stopper.tidy([])
    assert sorted(path.name for path in (tmp_path / MEASURED).iterdir()) == [
        "step-4.safetensors",
        "step-8.safetensors",
    ]
    assert sorted(line.stopper.files()) == ["measured/step-4.safetensors", "measured/step-8.safetensors"]


def test_it_goes_on_from_its_state(tmp_path: Path) -> None:
    line = Line(tmp_path, [5, 4, 4.5])
    for step in (2, 4, 6):
        line.stopper.measure(step, line.model)
    again = Line(tmp_path, [4.2, 1])
    again.stopper.restore(line.stopper.state())
    assert again.run(first=5) == [8], "what was measured is not measured again"
    assert again.stopper.told()["best"] == 4


def test_measuring_draws_nothing(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1)
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    stopper = Stopper(StoppingSpec(), 0, lambda: float(torch.rand(())), [1] * 10, tmp_path)
    stopper.measure(1, model)
    assert torch.equal(torch.rand(3), wanted)


def test_what_was_trained_of_a_plan() -> None:
    plan = make_plan([Size(1, 4, 4, 7, 10.0)] * 4, 16, "epochs", 2, 0)
    half = shortened(plan, [Size(1, 4, 4, 7, 10.0)] * 4, 2)
    assert (len(plan.batches), len(half.batches)) == (4, 2)
    assert (half.tokens, half.padded, half.epochs, half.flops) == (28, 32, 1.0, 40.0)
    assert shortened(plan, [], 4) is plan


# ---------------------------------------------------------------- real trainings

DEV = [
    (Example("dev1", "Question: 1 + 4? Answer:", "The answer is 3."),),
    (Example("dev2", "Question: 5 + 2? Answer:", "The answer is 7."),),
]
"""Other sums, one of them wrong: what is learned by heart makes their loss rise in the end."""


def early(**changes: Any) -> TrainSpec:
    return spec(
        60,
        checkpoints=5,
        stopping=StoppingSpec(**{"every": 0.05, "patience": 3, **changes.pop("stopping", {})}),
        **changes,
    )


def go(folder: Path, settings: TrainSpec, name: str = "causal", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"learning_rate": 5e-3, "seed": 0, "progress": quiet, "dev": DEV, **more}
    return train(scratch(name), GROUPS, settings, folder=folder, **given)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "model" / "model.safetensors")
    return found


def equal(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_weights_by_the_loss_on_dev_are_saved(tmp_path: Path, name: str) -> None:
    result = go(tmp_path, early(), name)
    told = result["stopping"]
    values = {point["step"]: point["value"] for point in told["curve"]}
    assert told["stopped"] == result["steps"] == max(values) < 60, "the toy must overfit"
    assert told["best"] == min(values, key=lambda step: values[step]) == max(values) - 9
    assert result["dev_loss"] == pytest.approx(values[told["best"]], rel=1e-6)
    live: Any = scratch(name).load(tmp_path / "model")
    dev = [tuple(live.encode(group)) for group in DEV]
    assert mean_loss(live, dev) == pytest.approx(values[told["best"]], rel=1e-5)
    assert result["tokens"] == told["curve"][-1]["tokens"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_training_that_is_only_measured_is_the_same(tmp_path: Path) -> None:
    # Patience is never at its end, and what is saved is the last.
    patient = early(stopping={"patience": 99}, average=1)
    result = go(tmp_path / "measured", patient)
    go(tmp_path / "plain", spec(60, checkpoints=5))
    assert result["stopping"]["averaged"]["steps"] == [60]
    assert equal(tmp_path / "measured", tmp_path / "plain")


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("average", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_killed_training_stops_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: int
) -> None:
    settings = early(average=average)
    whole = go(tmp_path / "whole", settings)
    measure = Stopper.measure
    for moment in (5, 2):
        left = [moment]

        def killed(self: Stopper, step: int, model: Any, left: list[int] = left) -> bool:
            left[0] -= 1
            if not left[0]:
                raise Killed
            return measure(self, step, model)

        with monkeypatch.context() as patched:
            patched.setattr(Stopper, "measure", killed)
            with pytest.raises(Killed):
                go(tmp_path / "cut", settings)
    cut = go(tmp_path / "cut", settings)
    assert {**cut, "seconds": 0} == {**whole, "seconds": 0}
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_a_training_that_is_killed_when_it_has_stopped_trains_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = go(tmp_path / "whole", early())

    def killed(self: Stopper, model: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Stopper, "choose", killed)
        with pytest.raises(Killed):
            go(tmp_path / "cut", early())
    told: list[float] = []
    cut = go(tmp_path / "cut", early(), progress=lambda fraction, _: told.append(fraction))
    assert told == []
    assert {**cut, "seconds": 0} == {**whole, "seconds": 0}
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_weights_that_were_measured_and_are_lost_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Stopper, model: Any) -> None:
        raise Killed

    whole = go(tmp_path / "whole", early())
    with monkeypatch.context() as patched:
        patched.setattr(Stopper, "choose", killed)
        with pytest.raises(Killed):
            go(tmp_path / "cut", early())
    for path in (tmp_path / "cut" / "checkpoints" / MEASURED).iterdir():
        path.write_bytes(b"")
    cut = go(tmp_path / "cut", early())
    assert cut["stopping"] == whole["stopping"]
    assert "measured/step-" in cut["notes"][0]
    assert equal(tmp_path / "whole", tmp_path / "cut")


# ---------------------------------------------------------------- accuracy on dev


def questions() -> list[Question]:
    return [Question(f"{a} + {a + 1}?", str(2 * a + 1)) for a in (1, 3, 5, 7)]


@pytest.mark.parametrize("name", NAMES)
def test_the_accuracy_of_a_student_in_training(tmp_path: Path, name: str) -> None:
    method = AnswerOnly()
    groups = [group for q in questions() for group in method.examples("answer", q, [], "number")]
    # Of four questions, two are asked: the first and the third.
    half = accuracy_on(questions(), method, "answer", "number", 12, 2)
    all_of_them = accuracy_on(questions(), method, "answer", "number", 12, 99)
    settings = early(stopping={"metric": "dev_accuracy", "patience": 20})
    result = train(
        scratch(name),
        groups,
        settings,
        learning_rate=5e-3,
        seed=0,
        folder=tmp_path,
        progress=quiet,
        accuracy=all_of_them,
    )
    values = [point["value"] for point in result["stopping"]["curve"]]
    assert values[-1] == 1.0
    assert values[0] < 1
    assert set(values) <= {0, 0.25, 0.5, 0.75, 1}
    first = next(point["step"] for point in result["stopping"]["curve"] if point["value"] == 1)
    assert result["stopping"]["best"] == first
    live: Any = scratch(name).load(tmp_path / "model")
    assert half(live) == all_of_them(live) == 1
    wrong = [Question(q.text, "0") if i % 2 == 0 else q for i, q in enumerate(questions())]
    assert accuracy_on(wrong, method, "answer", "number", 12, 99)(live) == 0.5
    assert accuracy_on(wrong, method, "answer", "number", 12, 2)(live) == 0


def test_what_cannot_be_asked_by_itself() -> None:
    assert answers_alone(AnswerOnly(), "answer")
    assert not answers_alone(TwoStage(), "rationale")
    assert not answers_alone(TwoStage(), "answer")
    with pytest.raises(TrainingError, match="answers nothing by itself"):
        accuracy_on([NUMBER], TwoStage(), "answer", "number", 9, 9)
    with pytest.raises(TrainingError, match="dev has no question"):
        accuracy_on([], AnswerOnly(), "answer", "number", 9, 9)


class Own(Learner):
    """A learner with a loss of its own, as far as anybody can tell."""

    name: str = "own"

    def fit(self, lesson: Lesson) -> float:
        raise NotImplementedError


def test_what_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has a loss of its own.*dev_accuracy"):
        go(tmp_path, early(), learner=Own())
    with pytest.raises(TrainingError, match="there are no dev examples"):
        go(tmp_path, early(), dev=())
    with pytest.raises(TrainingError, match="no dev questions"):
        go(tmp_path, early(stopping={"metric": "dev_accuracy"}))
    with pytest.raises(TrainingError, match=r"set train\.strategy to ddp"):
        go(tmp_path, early(devices=2, strategy="fsdp"))
    with pytest.raises(ValidationError, match="'average' is over the measurements of 'stopping'"):
        TrainSpec(average=2)


# ---------------------------------------------------------------- in a recipe

PLAIN = """\
name: plain
task: arithmetic
data: {train: 50, dev: 10, test: 10}
teacher: template
students: [{name: causal, config: tiny}]
methods: [answer_only, single_stage]
train: {budget: {unit: steps, amount: 4}, learning_rate: 1e-3}
"""


def steps(*overrides: str) -> dict[str, Any]:
    return {step.name: step for step in Graph(recipe(*overrides, text=PLAIN)).steps}


TRAINED = "train/causal-tiny/single_stage/seed0/rationale"


def test_the_loss_on_dev_has_the_teacher_annotate_dev() -> None:
    by_loss = steps("train.stopping={metric: dev_loss}")
    assert "annotate/dev" in by_loss
    (trained,) = [step for name, step in by_loss.items() if "single_stage" in name and step.kind == "train"]
    assert trained.needs["dev rationales"] is by_loss["curate/dev"]
    by_accuracy = steps("train.stopping={metric: dev_accuracy}")
    assert "annotate/dev" not in by_accuracy
    (trained,) = [s for name, s in by_accuracy.items() if "single_stage" in name and s.kind == "train"]
    assert "dev rationales" not in trained.needs
    assert trained.settings["max_new_tokens"] == 256


def test_a_search_is_not_cut_short() -> None:
    made = steps("train.stopping={metric: dev_loss}", "train.learning_rate=[1e-3, 2e-3]")
    stopped = {
        name: step.settings["train"]["stopping"] for name, step in made.items() if step.kind == "train"
    }
    assert {bool(stopping) for name, stopping in stopped.items() if "search" in name} == {False}
    assert {bool(stopping) for name, stopping in stopped.items() if "search" not in name} == {True}


def test_where_and_how_a_training_runs_changes_no_step() -> None:
    place = ["train.device=cpu", "train.checkpoint_minutes=1", "train.report_to=[tensorboard]"]
    plain, moved = steps(), steps(*place)
    assert {name: step.hash for name, step in plain.items()} == {n: s.hash for n, s in moved.items()}
    (how,) = {str(sorted(s.how["train"].items())) for s in moved.values() if s.kind == "train"}
    assert "'tensorboard'" in how
    assert steps("train.stopping={}")["data"].hash == plain["data"].hash
    trained = {s.hash for s in steps("train.stopping={}").values() if s.kind == "train"}
    assert not trained & {s.hash for s in plain.values()}


def test_a_recipe_whose_methods_cannot_be_measured_so() -> None:
    with pytest.raises(RecipeError, match=r"two_stage.*set 'train\.stopping\.metric: dev_loss'"):
        recipe("methods=[answer_only, two_stage]", "train.stopping={metric: dev_accuracy}", text=PLAIN)
    with pytest.raises(RecipeError, match=r"dpo.*set 'train\.stopping\.metric: dev_accuracy'"):
        recipe("methods=[answer_only, dpo]", "train.stopping={metric: dev_loss}", text=PLAIN)


def test_what_the_report_says() -> None:
    curve = [{"step": 2, "tokens": 20, "value": 1.5}, {"step": 4, "tokens": 40, "value": 2.0}]
    told = {"metric": "dev_loss", "curve": curve, "best": 2, "planned": 1000, "stopped": 4, "averaged": None}
    (line,) = telling.sentences("answer_only (small, seed 0)", {"stopping": told})
    assert line == (
        "answer_only (small, seed 0) ended after 4 of 1,000 steps. Its loss on dev was lowest (1.5) after "
        "step 2 (20 tokens), whose weights were taken (2: 1.5, 4: 2)."
    )
    averaged = {**told, "averaged": {"steps": [2, 4], "value": 1.25}}
    (line,) = telling.sentences("it", {"stopping": averaged, "notes": []})
    assert "but the mean of the weights after steps 2, 4 was taken, at 1.25" in line
    assert list(telling.sentences("it", {"stopping": None, "notes": ["the disk was full"]})) == [
        "it: the disk was full."
    ]
    assert list(telling.sentences("it", {})) == []


# ---------------------------------------------------------------- schedules


def rates(schedule: str, folder: Path) -> list[float]:
    """The learning rates of a hundred steps, as the Trainer's own schedule has them."""
    from transformers import get_scheduler

    plan = make_plan([Size(1, 4, 4, 8)] * 4, 8, "steps", 100, 0)
    args = arguments(spec(schedule=schedule, warmup=0.1), plan, 1.0, 0, folder)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(
        args.lr_scheduler_type,
        optimizer,
        num_warmup_steps=int(args.warmup_steps),
        num_training_steps=100,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs,
    )
    found = []
    for _ in range(100):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def test_schedules(tmp_path: Path) -> None:
    flat = rates("warmup_stable_decay", tmp_path)
    assert flat[5] == pytest.approx(0.5)
    assert set(flat[10:81]) == {1.0}
    assert flat[90] == pytest.approx(0.5)
    assert 0 < flat[99] < 0.01
    root = rates("inverse_sqrt", tmp_path)
    assert max(root) == root[10] == 1
    assert root[40] == pytest.approx(0.5)
    assert set(rates("constant", tmp_path)[10:]) == {1.0}


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "warmup_stable_decay"])
def test_a_training_by_each(tmp_path: Path, schedule: str) -> None:
    assert go(tmp_path, spec(30, schedule=schedule, checkpoints=0))["final_loss"] < 2
    assert len(SUMS) == 4
