"""What a method asks of the graph: shared weights, cross-fitting, fits on dev, votes, wrong rationales."""

from __future__ import annotations

import pytest

from small import recipe
from test_graph import APPRENTICED, PLAIN, SEARCHED, graph
from understudy.errors import RecipeError
from understudy.graph import Graph
from understudy.methods.dpo import DirectPreference
from understudy.store import Step


def named(made: Graph, start: str) -> list[Step]:
    return [step for step in made.steps if step.name.startswith(start)]


def ancestors(step: Step) -> set[str]:
    """The hashes of everything that a step stands on."""
    found: set[str] = set()
    for need in step.needs.values():
        found |= {need.hash} | ancestors(need)
    return found


CROSSED = "methods=[answer_only, {name: two_stage, label: crossed, reads: student, folds: 3}]"


def test_cross_fitted_rationales_come_from_students_that_did_not_see_the_question() -> None:
    made = graph(PLAIN, CROSSED)
    (answer,) = named(made, "train/causal/crossed/seed0/answer")
    written = {role: step for role, step in answer.needs.items() if role.startswith("written")}
    assert len(written) == 3
    for fold in range(3):
        wrote = written[f"written {fold}"]
        assert (wrote.kind, wrote.settings["split"]) == ("predict", "train")
        helper = wrote.needs["stage rationale"]
        assert (helper.kind, helper.settings["stage"]) == ("train", "rationale")
        for step in (wrote, helper):
            assert (step.settings["fold"], step.settings["folds"]) == (fold, 3)
    (first,) = named(made, "train/causal/crossed/seed0/rationale")
    assert "fold" not in first.settings, "the stage that is asked at test time sees every question"
    arm = next(arm for arm in made.arms if arm.method.label == "crossed")
    assert len(arm.helpers) == 3
    assert not {step.hash for step in arm.helpers} & {step.hash for step in arm.trained.values()}


def test_a_search_does_not_cross_fit() -> None:
    made = graph(SEARCHED, CROSSED)
    helpers = [step for step in made.steps if step.kind == "train" and "fold" in step.settings]
    assert len(helpers) == 3
    assert all(step.needs["choice"].kind == "choose" for step in helpers)


def test_a_stage_that_uses_another_trains_nothing_of_its_own() -> None:
    made = graph(PLAIN, "methods=[answer_only, cascade]")
    assert len(named(made, "train/causal/cascade/")) == 1
    arm = next(arm for arm in made.arms if arm.method.label == "cascade")
    first, second = arm.trained.values()
    assert first is second
    roles = [role for role in arm.predicted.needs if role.startswith("stage")]
    assert len(roles) == 1


def test_what_is_fitted_is_fitted_on_dev_before_any_test_split_is_answered() -> None:
    made = graph(PLAIN, "methods=[answer_only, adaptive]")
    (tune,) = [step for step in made.steps if step.kind == "tune"]
    assert tune.settings["split"] == "dev"
    assert tune.needs["predicted"].settings["split"] == "dev"
    arms = [arm for arm in made.arms if arm.method.label == "adaptive" and not arm.upper_bound]
    assert {arm.split for arm in arms} == {"test", "ood"}
    for arm in arms:
        assert arm.predicted.needs["tuned"] is tune
    splits = {
        step.settings["split"]
        for step in made.steps
        if step.hash in ancestors(tune)
        if step.kind == "predict"
    }
    assert splits == {"dev"}


def test_votes_are_arms_of_their_own_by_the_same_students() -> None:
    made = graph(PLAIN, "methods=[answer_only, single_stage]", "evaluate.votes=5")
    single = [arm for arm in made.arms if arm.method.label == "single_stage" and arm.split == "test"]
    assert [arm.chains for arm in single] == [1, 5]
    assert single[0].trained == single[1].trained
    assert single[1].predicted.settings["chains"] == 5
    assert single[0].predicted.hash == graph(PLAIN).arms[2].predicted.hash, "voting changes nothing else"


def test_a_baseline_trains_nothing_and_has_no_search() -> None:
    made = graph(SEARCHED, "methods=[answer_only, zero_shot]")
    assert not named(made, "train/causal/zero_shot")
    assert not [step for step in made.steps if step.kind == "choose" and "zero_shot" in step.name]
    (created,) = [step for step in made.steps if step.kind == "create"]
    arm = next(arm for arm in made.arms if arm.method.label == "zero_shot")
    assert list(arm.trained.values()) == [created]


def test_wrong_rationales_are_taken_for_those_that_learn_from_them() -> None:
    made = graph(PLAIN, "methods=[answer_only, single_stage, dpo]")
    (wrong,) = named(made, "curate-wrong")
    assert wrong.settings["kind"] == "wrong"
    readers = {step.settings["method"]["name"] for step in made.steps if wrong in step.needs.values()}
    assert readers == {"dpo"}


def test_a_student_that_learns_logits_hangs_on_the_model_that_gives_them() -> None:
    made = graph(APPRENTICED, "methods=[answer_only, logit]")
    (train,) = named(made, "train/causal/logit/")
    assert train.needs["teach"] is made.teach
    (plain,) = named(made, "train/causal/answer_only/")
    assert "teach" not in plain.needs


def test_a_method_can_be_for_some_students() -> None:
    students = "students=[{name: causal, config: tiny}, {name: seq2seq, config: tiny}]"
    made = graph(PLAIN, students, "methods=[answer_only, {name: single_stage, students: [causal]}]")
    assert {arm.student.label for arm in made.arms if arm.method.label == "single_stage"} == {"causal"}
    assert {arm.student.label for arm in made.arms if arm.method.label == "answer_only"} == {
        "causal",
        "seq2seq",
    }


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("methods=[logit]", "needs a teacher that gives logits"),
        ("methods=[rationalised]", "set 'sampling.hint: failed'"),
        ("methods=[{name: single_stage, students: [nobody]}]", "no student is labelled 'nobody'"),
        ("task={name: gsm8k, path: x, seed: 1}", "remove 'task.seed'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(override: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        recipe(override, text=PLAIN)


def test_preferences_are_learned_at_a_rate_of_their_own() -> None:
    first, second = DirectPreference(preference_rate=0.25).stages()
    assert (first.rate, second.rate) == (1.0, 0.25)
