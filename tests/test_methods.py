"""Methods: golden examples, word for word, and at test time the same prompt as in training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from small import QUESTIONS, RATIONALES
from tiny import BOOLEAN, CHOICE, FORMS, NUMBER, TEXT, rationale
from understudy import answers, shelves
from understudy.errors import DataError, RecipeError, TrainingError
from understudy.methods.adaptive import Adaptive
from understudy.methods.answer_first import AnswerFirst
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.cascade import Cascade
from understudy.methods.curriculum import Curriculum
from understudy.methods.diverse import Diverse
from understudy.methods.few_shot import FewShot
from understudy.methods.lm_guided import LmGuided
from understudy.methods.mix import Mix
from understudy.methods.mt_cot import MultiTaskChain
from understudy.methods.mt_ra import MultiTaskRationalization
from understudy.methods.mt_re import MultiTaskReasoning
from understudy.methods.rationalised import Rationalised
from understudy.methods.single_stage import SingleStage
from understudy.methods.step_by_step import StepByStep
from understudy.methods.two_stage import TwoStage
from understudy.methods.zero_shot import ZeroShot
from understudy.prompts import PromptSpec, messages
from understudy.recipe import Recipe, parse_recipe
from understudy.roles import Method, Task
from understudy.types import AnswerForm, FinishReason, Prediction, Question, Rationale, Written

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
    (AnswerFirst(), "answer", [("{read} Answer:", "{state} Explanation: {reason}", "answer", 1.0)]),
    (
        Cascade(rationale_weight=0.75),
        "rationale",
        [
            ("{read} Solution:", "{reason}", "rationale", 0.75),
            ("{read} Solution: {reason} Answer:", "{state}", "answer", 0.25),
        ],
    ),
    (
        MultiTaskReasoning(),
        "answer",
        [
            ("{read} Answer:", "{state}", "answer", 0.5),
            ("{read} Rationale:", "{reason}", "rationale", 0.5),
        ],
    ),
    (
        MultiTaskRationalization(rationale_weight=0.25),
        "answer",
        [
            ("{read} [Answer Prediction]:", "{state}", "answer", 0.75),
            ("{read} [Explanation Generation]:", "{state} Explanation: {reason}", "rationale", 0.25),
        ],
    ),
    (
        MultiTaskChain(),
        "answer",
        [
            ("{read} [Answer Prediction]:", "{state}", "answer", 0.5),
            ("{read} [Explanation Generation]:", "{reason} {state}", "rationale", 0.5),
        ],
    ),
    (Diverse(), "rationale", [("{read}", "{reason} {state}", "rationale", 1.0)]),
    (Mix(), "rationale", [("{read}", "{reason} {state}", "rationale", 1.0)]),
    (Rationalised(), "rationale", [("{read}", "{reason} {state}", "rationale", 1.0)]),
    (Curriculum(), "rationale", [("{read}", "{reason} {state}", "rationale", 1.0)]),
    (LmGuided(), "rationale", [("{read} Solution:", "{reason}", "rationale", 1.0)]),
    (
        Adaptive(rationale_weight=0.75),
        "predict",
        [
            ("predict: {read}", "{state}", "answer", 0.25),
            ("reason: {read}", "{reason} {state}", "rationale", 0.75),
        ],
    ),
]
IDS = [f"{method.name}-{stage}" for method, stage, _ in GOLDEN]
EVERY: list[Method] = [shelves.load("methods", name)() for name in shelves.names("methods")]
ARITHMETIC: Task = shelves.load("tasks", "arithmetic")


def written(stage: str, text: str, tokens: int = 1, finish: FinishReason = "stop", **more: Any) -> Written:
    return Written(stage, text, finish, tokens, **more)


def verdict(prediction: Prediction, question: Question = NUMBER, form: AnswerForm = "number") -> str:
    """As the evaluation judges it."""
    cut_off = prediction.written[-1].finish_reason == "length"
    text = prediction.text
    return answers.judge(text, question.answer, form, question.choices, cut_off=cut_off).name


# ---------------------------------------------------------------- all of them


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


@pytest.mark.parametrize(
    ("method", "groups", "rows"),
    [
        *[(method, 3, 1) for method in (SingleStage(), TwoStage(), AnswerFirst(), Diverse(), Curriculum())],
        *[(method, 3, 1) for method in (Rationalised(), LmGuided())],
        *[(method, 3, 2) for method in (StepByStep(), Cascade(), MultiTaskReasoning(), Adaptive())],
        *[(method, 3, 2) for method in (MultiTaskRationalization(), MultiTaskChain())],
    ],
)
def test_one_group_for_each_rationale(method: Method, groups: int, rows: int) -> None:
    rationales = [rationale(NUMBER, sample) for sample in range(3)]
    for stage in method.stages():
        if not stage.trained:
            assert method.examples(stage.name, NUMBER, rationales, "number") == []
            continue
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
        asked = method.for_task(ARITHMETIC)
        texts = {stage.name: "written" for stage in asked.stages()}
        for stage in texts:
            assert "Secret" not in (asked.prompt(stage, told, texts) or "")


def test_weights_and_shares_follow_the_recipe() -> None:
    ((predict, explain),) = StepByStep(rationale_weight=0.2).examples(
        "predict", NUMBER, [rationale(NUMBER)], "number"
    )
    assert (predict.weight, explain.weight) == (0.8, 0.2)
    assert [stage.share for stage in TwoStage(rationale_share=0.6).stages()] == [0.6, 0.4]


def test_line_breaks_of_a_question_become_spaces() -> None:
    poem = Question("One\ntwo?", "2", context="a\n\nb")
    assert SingleStage().prompt("rationale", poem, {}) == "Question: One two? Context: a b"


# ---------------------------------------------------------------- answer_first


def test_answer_first_stops_where_the_explanation_begins_unless_told_not_to() -> None:
    assert [stage.stop for stage in AnswerFirst().stages()] == [("Explanation:",)]
    assert [stage.stop for stage in AnswerFirst(stop_after_answer=False).stages()] == [()]


@pytest.mark.parametrize("stop", [True, False])
def test_an_explanation_has_no_say_in_what_is_judged(stop: bool) -> None:
    method = AnswerFirst(stop_after_answer=stop)
    text = "The answer is 5. Explanation: At first the answer is 2. Then the answer is 6."
    whole = written("answer", text, finish="length")
    settled = method.settle(NUMBER, [whole], "number", {})
    assert settled.written == (whole,), "what was written is paid for and shown"
    assert settled.text == "The answer is 5."
    assert verdict(settled) == "correct"
    assert verdict(Prediction(NUMBER.id, (whole,))) == "wrong", "else the explanation would be read"
    stopped = method.settle(NUMBER, [written("answer", "The answer is 5.")], "number", {})
    assert (stopped.settled, verdict(stopped)) == (None, "correct")


@pytest.mark.parametrize("form", QUESTIONS)
def test_an_answer_counts_though_its_explanation_was_cut_off(form: AnswerForm) -> None:
    question = QUESTIONS[form]
    text = f"{answers.write(question.answer, form)} Explanation: Because of"
    settled = AnswerFirst().settle(question, [written("answer", text, finish="length")], form, {})
    assert verdict(settled, question, form) == "correct"


# ---------------------------------------------------------------- cascade and two_stage


def test_cascade_is_two_stage_with_one_student() -> None:
    both, one = TwoStage().stages(), Cascade().stages()
    assert [stage.name for stage in one] == [stage.name for stage in both]
    assert [(stage.share, stage.uses) for stage in one] == [(1, ""), (0, "rationale")]
    for stage in ("rationale", "answer"):
        own = {"rationale": "2 + 3 = 6."}
        assert Cascade().prompt(stage, NUMBER, own) == TwoStage().prompt(stage, NUMBER, own)


def test_two_stage_says_whose_rationales_it_reads() -> None:
    assert [(stage.reads, stage.folds) for stage in TwoStage().stages()] == [("teacher", 2)] * 2
    crossed = TwoStage(reads="both", folds=5).stages()
    assert [(stage.reads, stage.folds) for stage in crossed] == [("teacher", 2), ("both", 5)]
    with pytest.raises(ValidationError, match="folds"):
        TwoStage(folds=1)


# ---------------------------------------------------------------- diverse


def test_diverse_takes_the_first_different_rationales() -> None:
    texts = ["Two and three.", "two  and THREE.", "Count up.", "Add.", "Sum."]
    drawn = [Rationale(NUMBER.id, sample, text, "5") for sample, text in enumerate(texts)]
    groups = Diverse(degree=3).examples("rationale", NUMBER, drawn[::-1], "number")
    assert [group[0].target.removesuffix(" The answer is 5.") for group in groups] == [
        "Two and three.",
        "Count up.",
        "Add.",
    ]
    one = Diverse(degree=1).examples("rationale", NUMBER, drawn, "number")
    assert one == groups[:1]
    assert len(Diverse().examples("rationale", NUMBER, drawn, "number")) == 4
    with pytest.raises(ValidationError, match="degree"):
        Diverse(degree=0)


@pytest.mark.parametrize("form", QUESTIONS)
def test_the_arrow_layout_is_read_by_the_judge(form: AnswerForm) -> None:
    question, reason = QUESTIONS[form], RATIONALES[form]
    ((example,),) = Diverse(layout="arrow").examples("rationale", question, [reason], form)
    assert example.target.startswith(f"{reason.text} --> ")
    assert "answer is" not in example.target
    settled = Diverse(layout="arrow").settle(question, [written("rationale", example.target)], form, {})
    assert verdict(settled, question, form) == "correct"


# ---------------------------------------------------------------- mix


def _mixed(method: Mix, question: Question, *texts: str, teacher: str = "") -> list[str]:
    drawn = [Rationale(question.id, sample, text, "5", teacher) for sample, text in enumerate(texts)]
    groups = method.examples("rationale", question, drawn, "number")
    return [group[0].target.removesuffix(" The answer is 5.") for group in groups]


def test_mix_by_length_takes_what_is_longer_than_the_median_or_the_rest() -> None:
    texts = ["Five long words stand here.", "Two here.", "Three words here."]
    assert _mixed(Mix(share=1), NUMBER, *texts) == ["Five long words stand here."]
    assert _mixed(Mix(share=0), NUMBER, *texts) == ["Two here.", "Three words here."]
    for share in (0, 1):
        assert _mixed(Mix(share=share), NUMBER, "Only.") == ["Only."]
        assert _mixed(Mix(share=share), NUMBER, "Same.", "Sane.") == ["Same.", "Sane."]
        assert _mixed(Mix(share=share), NUMBER) == []


def test_mix_by_teacher_takes_one_teachers_or_the_others() -> None:
    drawn = [rationale(NUMBER, n) for n in range(3)]
    drawn = [replace(r, teacher=name) for r, name in zip(drawn, ("big", "small", "tiny"), strict=True)]
    strong, weak = Mix(by="teacher", strong="big", share=1), Mix(by="teacher", strong="big", share=0)
    for method, places in ((strong, [0]), (weak, [1, 2])):
        groups = method.examples("rationale", NUMBER, drawn, "number")
        assert [group[0].target.partition(" The answer")[0] for group in groups] == [
            drawn[place].text for place in places
        ]
    assert len(strong.examples("rationale", NUMBER, drawn[1:], "number")) == 2, "one kind only: what there is"


def test_about_one_question_in_five_is_long_and_always_the_same_ones() -> None:
    questions = [Question(f"Which is {n}?", "5") for n in range(2000)]
    long = [_mixed(Mix(), question, "Long enough.", "Short.") == ["Long enough."] for question in questions]
    assert 340 < sum(long) < 460  # 400 expected, 18 is one standard deviation
    more = [_mixed(Mix(share=0.5), q, "Long enough.", "Short.") == ["Long enough."] for q in questions]
    assert all(now or not before for before, now in zip(long, more, strict=True)), "a larger share adds"


@pytest.mark.parametrize("settings", [{"by": "teacher"}, {"strong": "big"}])
def test_mix_by_teacher_names_the_strong_one(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="'strong' names the strong teacher"):
        Mix(**settings)


# ---------------------------------------------------------------- rationalised and curriculum


def test_hinted_rationales_stand_in_only_where_none_is_right() -> None:
    right, hinted = rationale(NUMBER), replace(rationale(NUMBER, 1), kind="hinted")
    assert Rationalised().wants() == {"hinted"}
    both = Rationalised().examples("rationale", NUMBER, [hinted, right], "number")
    assert [group[0].target for group in both] == ["2 + 3 = 5. The answer is 5."]
    (alone,) = Rationalised().examples("rationale", NUMBER, [hinted], "number")
    assert (alone[0].target, alone[0].objective, alone[0].weight) == (
        "2 + 3 = 5. Again 1. The answer is 5.",
        "rationale",
        1.0,
    )
    weak = Rationalised(weight=0.5)
    ((apart,),) = weak.examples("rationale", NUMBER, [hinted], "number")
    assert (apart.objective, apart.weight) == ("hinted", 0.5)
    ((usual,),) = weak.examples("rationale", NUMBER, [right], "number")
    assert (usual.objective, usual.weight) == ("rationale", 1.0)


@pytest.mark.parametrize(
    ("by", "steps", "text", "difficulty"),
    [
        ("steps", 4, "One. Two.", 4),
        ("steps", None, "One is 1.5. Two! Three", 2),
        ("steps", None, "no full stop", 1),
        ("steps", 0, "One. Two.", 0),
        ("length", 4, "One. Two.", 9),
    ],
)
def test_what_a_curriculum_takes_for_difficult(by: Any, steps: Any, text: str, difficulty: float) -> None:
    question = Question("How many?", "5", steps=steps)
    given = [Rationale(question.id, 0, text, "5")]
    ((example,),) = Curriculum(by=by).examples("rationale", question, given, "number")
    assert example.difficulty == difficulty
    ((plain,),) = SingleStage().examples("rationale", question, given, "number")
    assert replace(example, difficulty=0.0) == plain, "only the order differs"
    assert [stage.order for stage in Curriculum().stages()] == ["easy_first"]


# ---------------------------------------------------------------- few_shot and zero_shot


@pytest.mark.parametrize("method", [FewShot(), ZeroShot(), FewShot(shots=2), FewShot(who="teacher")])
def test_a_baseline_asks_in_the_teachers_own_words(method: FewShot | ZeroShot) -> None:
    for name in ("arithmetic", "arc_easy", "strategyqa"):
        task: Task = shelves.load("tasks", name)
        shots = method.shots if isinstance(method, FewShot) else 8
        style: Any = method.name
        (asked,) = messages(CHOICE, task, PromptSpec(style=style, exemplars=shots))
        assert method.for_task(task).prompt("rationale", CHOICE, {}) == asked.content


def test_a_baseline_trains_nobody() -> None:
    for method in (FewShot(), ZeroShot()):
        (stage,) = method.stages()
        assert (stage.by, stage.trained, stage.share) == ("untrained", False, 0)
        assert method.examples("rationale", NUMBER, [rationale(NUMBER)], "number") == []
    for method in (FewShot(who="teacher"), ZeroShot(who="teacher")):
        (stage,) = method.stages()
        assert (stage.by, stage.trained, stage.stop) == ("teacher", False, ())


def test_a_run_on_into_another_question_is_where_a_baseline_stops() -> None:
    (stage,) = FewShot().for_task(ARITHMETIC).stages()
    prompt = FewShot().for_task(ARITHMETIC).prompt("rationale", NUMBER, {})
    assert all(end in prompt for end in stage.stop), "as the prompt itself puts its questions"


def test_few_shot_shows_its_own_exemplars_or_the_tasks() -> None:
    own = [{"question": "1 + 1?", "rationale": "Count on.", "answer": "2"}]
    method = _recipe(f"{{name: few_shot, exemplars: {own}}}").methods[1].method.for_task(ARITHMETIC)
    assert "Count on. The answer is 2." in (method.prompt("rationale", NUMBER, {}) or "")
    assert ARITHMETIC.exemplars[0].question not in (method.prompt("rationale", NUMBER, {}) or "")
    few = FewShot(shots=1).for_task(ARITHMETIC)
    assert few.exemplars == ARITHMETIC.exemplars[:1]
    assert FewShot(**few.model_dump(mode="json")) == few, "the exemplars stand in the settings of a step"
    with pytest.raises(RecipeError, match="zero_shot"):
        FewShot().for_task(shelves.load("tasks", "jsonl"))


# ---------------------------------------------------------------- lm_guided


def _recipe(method: str) -> Recipe:
    text = f"""
name: x
task: arithmetic
teacher: template
students: [{{name: causal, config: tiny}}]
methods: [answer_only, {method}]
"""
    return parse_recipe(text, "x.yaml", (), {})


def test_the_reader_of_lm_guided_is_a_teacher_by_its_name() -> None:
    assert LmGuided().answerer() is None
    recipe = _recipe("{name: lm_guided, reader: {name: recorded, path: a.jsonl}}")
    reader = recipe.methods[1].method.answerer()
    assert reader is not None
    assert (reader.name, reader.model_dump(mode="json")["path"]) == ("recorded", "a.jsonl")
    assert parse_recipe(recipe.dump(), "again", (), {}) == recipe
    settings = json_of(recipe.methods[1].method)
    assert LmGuided(**settings) == recipe.methods[1].method, "a step builds it from plain settings"


@pytest.mark.parametrize(
    ("reader", "sentence"),
    [
        ("opennai", "did you mean 'openai'"),
        ("{name: recorded, pth: a}", "unknown key 'pth'"),
        ("{name: recorded}", "'methods.1.reader.path' is missing"),
        ("{model: x}", "should be one of the teachers"),
        ("3", "'methods.1.reader' should be a mapping of keys"),
        (
            "{name: student, split: dev, student: {name: causal, config: tiny}}",
            "cannot be a model that this run trains",
        ),
    ],
)
def test_a_wrong_reader_is_named_in_a_sentence(reader: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as wrong:
        _recipe(f"{{name: lm_guided, reader: {reader}}}")
    assert sentence in str(wrong.value)


def test_lm_guided_leaves_the_reader_to_finish_a_sentence() -> None:
    asked = LmGuided().prompt("answer", NUMBER, {"rationale": "2 + 3 = 5."})
    assert asked == f"{READ[NUMBER.id]} 2 + 3 = 5. The answer is"
    single = SingleStage().examples("rationale", NUMBER, [rationale(NUMBER)], "number")[0][0]
    assert f"{single.source} {single.target}".startswith(asked), "so an apprentice goes on as it was taught"
    assert LmGuided().prompt("answer", NUMBER, {"rationale": ""}) == f"{READ[NUMBER.id]} The answer is"


@pytest.mark.parametrize(
    ("question", "form", "said"),
    [
        (NUMBER, "number", "5."),
        (NUMBER, "number", "The answer is 5."),
        (NUMBER, "number", "Let's see. 2 + 3 = 5. So Tom has 5 apples."),
        (NUMBER, "number", "Of 9 ways this is best. **Answer: 5**"),
        (CHOICE, "choice", "(B)."),
        (CHOICE, "choice", "(B) apple, since apples grow on trees."),
        (BOOLEAN, "boolean", "no. Pedals need legs."),
        (TEXT, "text", "nb. Ann ends in n."),
    ],
)
def test_an_answer_counts_whether_it_goes_on_or_begins_anew(
    question: Question, form: AnswerForm, said: str
) -> None:
    both = [written("rationale", "It is so."), written("answer", said)]
    settled = LmGuided().settle(question, both, form, {})
    assert settled.written == tuple(both)
    assert verdict(settled, question, form) == "correct"


def test_no_answer_stays_no_answer() -> None:
    settled = LmGuided().settle(NUMBER, [written("answer", "I do not know.")], "number", {})
    assert (settled.settled, verdict(settled)) == (None, "no_answer")


def json_of(method: Method) -> dict[str, Any]:
    return method.model_dump(mode="json")


# ---------------------------------------------------------------- adaptive

RIGHT, WRONG = "The answer is 5.", "The answer is 6."


def chain(certainty: float, quick: str, slow: str = RIGHT) -> tuple[Question, list[Written]]:
    """Four tokens at that probability each; the reasoned answer costs twenty."""
    logprob = 4 * math.log(certainty)
    return NUMBER, [written("predict", quick, 4, logprob=logprob), written("reason", slow, 20)]


DEV = [chain(0.9, RIGHT), chain(0.8, RIGHT), chain(0.4, WRONG), chain(0.2, WRONG)]


def test_the_threshold_keeps_the_accuracy_at_the_fewest_tokens() -> None:
    tuned = Adaptive(tolerance=0).tune(DEV, "number")
    assert tuned["threshold"] == pytest.approx(0.8)
    assert [round(point["threshold"], 6) for point in tuned["curve"]] == [0, 0.2, 0.4, 0.8, 0.9, 2.0]
    assert [point["accuracy"] for point in tuned["curve"]] == [0.5, 0.5, 0.75, 1, 1, 1]
    assert [point["tokens"] for point in tuned["curve"]] == [4, 4, 9, 14, 19, 24]
    assert [point["at_once"] for point in tuned["curve"]] == [1, 1, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize(("tolerance", "threshold"), [(0, 0.8), (0.25, 0.4), (0.5, 0)])
def test_tolerance_trades_accuracy_for_tokens(tolerance: float, threshold: float) -> None:
    assert Adaptive(tolerance=tolerance).tune(DEV, "number")["threshold"] == pytest.approx(threshold)


def test_reasoning_that_does_harm_is_left_away() -> None:
    harmed = [chain(c, RIGHT, WRONG) for c in (0.9, 0.3)]
    tuned = Adaptive().tune(harmed, "number")
    assert [Adaptive().settle(q, w, "number", tuned).tokens for q, w in harmed] == [4, 4]
    assert tuned["curve"][-1]["accuracy"] == 0


def test_what_is_settled_is_what_was_fitted() -> None:
    tuned = Adaptive(tolerance=0).tune(DEV, "number")
    settled = [Adaptive().settle(question, texts, "number", tuned) for question, texts in DEV]
    assert [prediction.tokens for prediction in settled] == [4, 4, 24, 24]
    assert [[part.stage for part in p.written] for p in settled[1:3]] == [["predict"], ["predict", "reason"]]
    assert {verdict(prediction) for prediction in settled} == {"correct"}
    untuned = Adaptive().settle(*DEV[0], "number", {})
    assert len(untuned.written) == 2, "without a threshold it always reasons"


def test_a_large_dev_set_gives_a_short_curve() -> None:
    many = [chain(0.001 * n, RIGHT if n > 500 else WRONG) for n in range(1, 1000)]
    tuned = Adaptive(tolerance=0).tune(many, "number")
    assert len(tuned["curve"]) <= 102
    assert 0.5 < tuned["threshold"] < 0.52
    assert tuned["curve"][-1]["at_once"] == 0


def test_certainty_must_have_been_measured_and_dev_must_be_there() -> None:
    blind = (NUMBER, [written("predict", RIGHT), written("reason", RIGHT)])
    with pytest.raises(TrainingError, match="not measured"):
        Adaptive().tune([*DEV, blind], "number")
    with pytest.raises(DataError, match=r"data\.dev"):
        Adaptive().tune([], "number")
    tuned = {"threshold": 0.5}
    assert len(Adaptive().settle(*blind, "number", tuned).written) == 2, "unknown is not sure"
