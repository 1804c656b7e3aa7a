"""Methods: golden examples, word for word, and at test time the same prompt as in training."""

from __future__ import annotations

import pytest

from tiny import BOOLEAN, CHOICE, FORMS, NUMBER, TEXT, rationale
from understudy import answers, shelves
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.single_stage import SingleStage
from understudy.methods.step_by_step import StepByStep
from understudy.methods.two_stage import TwoStage
from understudy.roles import Method
from understudy.types import AnswerForm, Question

# The one line in which a student reads each question, and the sentence that states its answer.
READ = {
    NUMBER.id: "Question: Tom has 2 apples and buys 3 more. How many has he?",
    CHOICE.id: "Question: Which is a fruit? Options: (A) stone (B) apple (C) cloud",
    BOOLEAN.id: "Question: Can a fish ride a bicycle? Context: Fish have no legs.",
    TEXT.id: 'Question: Take the last letters of "Ann Bob" and join them.',
}
STATED = {
    NUMBER.id: "The answer is 5.",
    CHOICE.id: "The answer is (B).",
    BOOLEAN.id: "The answer is no.",
    TEXT.id: "The answer is nb.",
}
REASONED = {
    NUMBER.id: "2 + 3 = 5.",
    CHOICE.id: "Apples grow on trees.",
    BOOLEAN.id: "Pedals need legs.",
    TEXT.id: "Ann ends in n, Bob in b.",
}

# Method, stage, and (source, target, objective, weight) of one group's examples, in the words above.
GOLDEN: list[tuple[Method, str, list[tuple[str, str, str, float]]]] = [
    (AnswerOnly(), "answer", [("{read} Answer:", "{state}", "answer", 1.0)]),
    (SingleStage(), "rationale", [("{read}", "{reason} {state}", "rationale", 1.0)]),
    (TwoStage(), "rationale", [("{read} Solution:", "{reason}", "rationale", 1.0)]),
    (TwoStage(), "answer", [("{read} Solution: {reason} Answer:", "{state}", "answer", 1.0)]),
    (
        StepByStep(),
        "predict",
        [
            ("predict: {read}", "{state}", "answer", 0.5),
            ("explain: {read}", "{reason}", "rationale", 0.5),
        ],
    ),
]
IDS = [f"{method.name}-{stage}" for method, stage, _ in GOLDEN]
EVERY: list[Method] = [shelves.load("methods", name)() for name in shelves.names("methods")]


@pytest.mark.parametrize(("method", "stage", "wanted"), GOLDEN, ids=IDS)
@pytest.mark.parametrize(("form", "question"), FORMS, ids=[form for form, _ in FORMS])
def test_golden(
    method: Method,
    stage: str,
    wanted: list[tuple[str, str, str, float]],
    form: AnswerForm,
    question: Question,
) -> None:
    (group,) = method.examples(stage, question, [rationale(question)], form)
    words = {"read": READ[question.id], "reason": REASONED[question.id], "state": STATED[question.id]}
    assert [(e.source, e.target, e.objective, e.weight) for e in group] == [
        (source.format(**words), target.format(**words), objective, weight)
        for source, target, objective, weight in wanted
    ]
    assert {e.question_id for e in group} == {question.id}


@pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)
@pytest.mark.parametrize(("form", "question"), FORMS, ids=[form for form, _ in FORMS])
def test_a_student_is_asked_as_it_was_taught(method: Method, form: AnswerForm, question: Question) -> None:
    written: dict[str, str] = {}
    for stage in method.stages():
        (group,) = method.examples(stage.name, question, [rationale(question)], form)
        assert method.prompt(stage.name, question, written) == group[0].source
        written[stage.name] = group[0].target
    last = written[method.stages()[-1].name]
    assert answers.judge(last, question.answer, form, question.choices).name == "correct"


@pytest.mark.parametrize(
    ("method", "groups", "rows"), [(SingleStage(), 3, 1), (TwoStage(), 3, 1), (StepByStep(), 3, 2)]
)
def test_one_group_for_each_rationale(method: Method, groups: int, rows: int) -> None:
    rationales = [rationale(NUMBER, sample) for sample in range(3)]
    for stage in method.stages():
        got = method.examples(stage.name, NUMBER, rationales, "number")
        assert [len(group) for group in got] == [rows] * groups
        assert len({tuple(e.source + e.target for e in group) for group in got}) == groups


@pytest.mark.parametrize("count", [0, 1, 3])
def test_answer_only_has_one_example_however_many_rationales(count: int) -> None:
    rationales = [rationale(NUMBER, sample) for sample in range(count)]
    assert len(AnswerOnly().examples("answer", NUMBER, rationales, "number")) == 1


def test_the_control_never_sees_a_rationale() -> None:
    ((example,),) = AnswerOnly().examples("answer", NUMBER, [rationale(NUMBER)], "number")
    assert REASONED[NUMBER.id] not in example.source + example.target


def test_stage_two_reads_what_it_is_given_and_not_the_teacher() -> None:
    asked = TwoStage().prompt("answer", NUMBER, {"rationale": "2 + 3 = 6."})
    assert asked == f"{READ[NUMBER.id]} Solution: 2 + 3 = 6. Answer:"


def test_the_gold_rationale_of_a_question_is_in_no_prompt() -> None:
    told = Question("How many?", "7", rationale="Secret: 3 + 4 = 7.")
    for method in EVERY:
        written = {stage.name: "written" for stage in method.stages()}
        for stage in written:
            assert "Secret" not in method.prompt(stage, told, written)


def test_weights_and_shares_follow_the_recipe() -> None:
    ((predict, explain),) = StepByStep(rationale_weight=0.2).examples(
        "predict", NUMBER, [rationale(NUMBER)], "number"
    )
    assert (predict.weight, explain.weight) == (0.8, 0.2)
    assert [stage.share for stage in TwoStage(rationale_share=0.6).stages()] == [0.6, 0.4]


@pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)
def test_stages_share_one_budget(method: Method) -> None:
    assert sum(stage.share for stage in method.stages()) == pytest.approx(1)


def test_line_breaks_of_a_question_become_spaces() -> None:
    poem = Question("One\ntwo?", "2", context="a\n\nb")
    assert SingleStage().prompt("rationale", poem, {}) == "Question: One two? Context: a b"
