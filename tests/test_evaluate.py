"""Evaluation: who reads what, in which order, and how often anybody is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tiny import BOOLEAN, CHOICE, NUMBER
from understudy.errors import DataError, TeacherError
from understudy.evaluate import Asked, judge_all, predict
from understudy.ledger import Ledger
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.step_by_step import StepByStep
from understudy.methods.two_stage import TwoStage
from understudy.roles import Identity, Landed, Method, Stage
from understudy.types import (
    Completion,
    Example,
    FinishReason,
    Prediction,
    Question,
    Request,
    Sampling,
    Written,
)

QUESTIONS = [NUMBER, CHOICE, BOOLEAN]
GREEDY = Sampling(max_tokens=8)


class Parrot:
    """Answers backwards with what `say` makes of a prompt, and remembers the prompts."""

    def __init__(self, say: Callable[[str], str], name: str = "parrot", stop_after: int = 99) -> None:
        self.identity = Identity("local", name)
        self.say = say
        self.stop_after = stop_after
        self.heard: list[str] = []

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        for position, request in reversed(list(enumerate(requests))):
            if len(self.heard) == self.stop_after:
                raise TeacherError("the parrot is tired; wake it")
            prompt = request.messages[-1].content
            self.heard.append(prompt)
            for sample in request.samples:
                text = self.say(prompt) + "!" * sample
                finish: FinishReason = "length" if text.endswith("...") else "stop"
                yield [
                    (position, Completion(request.question.id, sample, text, finish, 5, len(text.split())))
                ]

    def close(self) -> None:
        """Nothing is open."""


def ask(
    folder: Path,
    method: Method,
    students: Mapping[str, Parrot],
    given: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[list[Prediction], list[float]]:
    heard: list[float] = []
    with Ledger(folder / "ledger.sqlite") as ledger:
        asked = Asked(GREEDY, given=given or {})
        got = list(predict(QUESTIONS, method, students, asked, ledger, lambda share, _: heard.append(share)))
    return [Prediction(q.id, texts) for q, (texts,) in zip(QUESTIONS, got, strict=True)], heard


def test_predictions_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    got, heard = ask(tmp_path, AnswerOnly(), {"answer": Parrot(str.upper)})
    assert [p.question_id for p in got] == [q.id for q in QUESTIONS]
    assert [p.text for p in got] == [AnswerOnly().prompt("answer", q, {}).upper() for q in QUESTIONS]
    assert heard == pytest.approx([1 / 3, 2 / 3, 1])


def test_stage_two_reads_what_stage_one_wrote(tmp_path: Path) -> None:
    thinker = Parrot(lambda prompt: f"I think of {prompt.split()[-2]}", "thinker")
    answerer = Parrot(lambda prompt: "The answer is 5.", "answerer")
    got, heard = ask(tmp_path, TwoStage(), {"rationale": thinker, "answer": answerer})
    for question, prediction in zip(QUESTIONS, got, strict=True):
        thought, answer = prediction.written
        assert (thought.stage, answer.stage) == ("rationale", "answer")
        assert thought.text.startswith("I think of")
        assert TwoStage().prompt("answer", question, {"rationale": thought.text}) in answerer.heard
        assert prediction.text == "The answer is 5."
        assert prediction.tokens == len(thought.text.split()) + 4
    assert len(thinker.heard) == len(answerer.heard) == 3
    assert heard == pytest.approx([i / 6 for i in range(1, 7)])


def test_a_thought_that_was_cut_off_marks_the_whole_prediction(tmp_path: Path) -> None:
    students = {"rationale": Parrot(lambda _: "and so ...", "a"), "answer": Parrot(lambda _: "5", "b")}
    assert all(prediction.truncated for prediction in ask(tmp_path, TwoStage(), students)[0])


def test_given_text_stands_in_for_a_stage_and_costs_nothing(tmp_path: Path) -> None:
    answerer = Parrot(lambda prompt: f"read {prompt}")
    told = {question.id: f"told about {question.id}" for question in QUESTIONS}
    got, _ = ask(tmp_path, TwoStage(), {"answer": answerer}, {"rationale": told})
    for question, prediction in zip(QUESTIONS, got, strict=True):
        assert prediction.written[0] == Written("rationale", told[question.id], "stop", 0)
        assert (
            prediction.text
            == f"read {TwoStage().prompt('answer', question, {'rationale': told[question.id]})}"
        )


def chains_of(folder: Path, method: Method, students: Mapping[str, Parrot], asked: Asked) -> list[list[str]]:
    """Of the first question, the texts of each chain."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        got = list(predict(QUESTIONS, method, students, asked, ledger, lambda *_: None))
    return [[written.text for written in texts] for texts in got[0]]


def test_chains_are_drawn_apart_and_an_answer_read_off_each_is_not_drawn_again(tmp_path: Path) -> None:
    thinker, answerer = Parrot(lambda _: "hm", "a"), Parrot(lambda prompt: prompt.split()[-2], "b")
    asked = Asked(GREEDY, Sampling(temperature=1.0, max_tokens=8), chains=3)
    students = {"rationale": thinker, "answer": answerer}
    assert chains_of(tmp_path, TwoStage(), students, asked) == [
        ["hm", "hm"],
        ["hm!", "hm!"],
        ["hm!!", "hm!!"],
    ]
    assert (len(thinker.heard), len(answerer.heard)) == (3, 9)


def test_chains_that_read_the_same_ask_for_its_answer_once(tmp_path: Path) -> None:
    answerer = Parrot(lambda _: "The answer is 5.", "b")
    asked = Asked(
        GREEDY, Sampling(temperature=1.0, max_tokens=8), 3, {"rationale": {q.id: "so" for q in QUESTIONS}}
    )
    assert chains_of(tmp_path, TwoStage(), {"answer": answerer}, asked) == [["so", "The answer is 5."]] * 3
    assert len(answerer.heard) == 3


def test_a_prefix_is_what_the_answer_begins_with(tmp_path: Path) -> None:
    student = Parrot(str.upper)
    asked = Asked(GREEDY, prefixes={"answer": {NUMBER.id: "because"}})
    chains_of(tmp_path, AnswerOnly(), {"answer": student}, asked)
    assert student.heard.count("because") == 1  # the last message of one request, and of no other
    assert len(student.heard) == 3


def test_only_one_stage_is_asked_where_that_is_wanted(tmp_path: Path) -> None:
    asked = Asked(GREEDY, only="rationale")
    assert chains_of(tmp_path, TwoStage(), {"rationale": Parrot(lambda _: "hm")}, asked) == [["hm"]]


class Hesitant(Method):
    """Thinks about the first question alone, and warms up without being asked."""

    name: str = "hesitant"

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("warm", writes="both", share=0.5, asked=False),
            Stage("think", writes="rationale", share=0.5),
            Stage("answer", writes="answer", share=0, uses="think", stop=("END",)),
        )

    def examples(self, *_: object) -> list[tuple[Example, ...]]:
        return []

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str | None:
        if stage == "think":
            return f"think {question.id}" if question == NUMBER else None
        return f"answer {question.id} from {sorted(written)}"


def test_a_stage_with_nothing_to_write_is_left_out_and_one_that_only_prepares_is_not_asked(
    tmp_path: Path,
) -> None:
    student = Parrot(lambda prompt: prompt)
    got, _ = ask(tmp_path, Hesitant(), {"think": student, "answer": student})
    assert [[part.stage for part in p.written] for p in got] == [["think", "answer"], ["answer"], ["answer"]]
    assert got[0].text == f"answer {NUMBER.id} from ['think']"
    assert got[1].text == f"answer {CHOICE.id} from []"


def test_step_by_step_is_never_asked_to_explain(tmp_path: Path) -> None:
    student = Parrot(lambda _: "The answer is 5.")
    ask(tmp_path, StepByStep(), {"predict": student})
    assert {prompt.split()[0] for prompt in student.heard} == {"predict:"}


def test_asking_again_asks_nobody(tmp_path: Path) -> None:
    first, _ = ask(tmp_path, AnswerOnly(), {"answer": Parrot(str.upper)})
    again = Parrot(str.upper)
    assert ask(tmp_path, AnswerOnly(), {"answer": again})[0] == first
    assert again.heard == []


def test_another_student_is_asked_for_itself(tmp_path: Path) -> None:
    ask(tmp_path, AnswerOnly(), {"answer": Parrot(str.upper)})
    other = Parrot(str.lower, "other")
    got, _ = ask(tmp_path, AnswerOnly(), {"answer": other})
    assert len(other.heard) == 3
    assert all(prediction.text.islower() for prediction in got)


def test_an_interrupted_evaluation_asks_only_the_rest(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole, _ = ask(tmp_path / "whole", AnswerOnly(), {"answer": Parrot(str.upper)})
    with pytest.raises(TeacherError, match="tired"):
        ask(tmp_path, AnswerOnly(), {"answer": Parrot(str.upper, stop_after=2)})
    rest = Parrot(str.upper)
    assert ask(tmp_path, AnswerOnly(), {"answer": rest})[0] == whole
    assert len(rest.heard) == 1


def test_an_evaluation_interrupted_in_stage_two_does_not_think_again(tmp_path: Path) -> None:
    with pytest.raises(TeacherError):
        ask(
            tmp_path,
            TwoStage(),
            {"rationale": Parrot(str.upper, "a"), "answer": Parrot(str.upper, "b", stop_after=1)},
        )
    thinker, answerer = Parrot(str.upper, "a"), Parrot(str.upper, "b")
    ask(tmp_path, TwoStage(), {"rationale": thinker, "answer": answerer})
    assert (len(thinker.heard), len(answerer.heard)) == (0, 2)


def said(question: Question, text: str) -> Prediction:
    return Prediction(question.id, (Written("answer", text, "stop", 3),))


def test_verdicts() -> None:
    predictions = [
        said(CHOICE, "The answer is (B)."),
        said(CHOICE, "The answer is (A)."),
        said(CHOICE, "I cannot say."),
        said(CHOICE, ""),
    ]
    rows = judge_all(QUESTIONS, predictions, "choice")
    assert [row.verdict.name for row in rows] == ["correct", "wrong", "no_answer", "no_answer"]
    assert [row.prediction for row in rows] == predictions
    assert {row.question for row in rows} == {CHOICE}
    assert rows[1].verdict.extracted == "A"


def test_only_the_last_stage_is_judged() -> None:
    prediction = Prediction(
        NUMBER.id,
        (
            Written("rationale", "The answer is 5.", "stop", 5),
            Written("answer", "The answer is 6.", "stop", 5),
        ),
    )
    (row,) = judge_all([NUMBER], [prediction], "number")
    assert (row.verdict.name, row.verdict.extracted) == ("wrong", "6")


def test_a_gold_that_cannot_be_read_is_an_error_and_not_a_wrong_answer() -> None:
    broken = Question("How many?", "many")
    with pytest.raises(DataError, match="'many' cannot be read as a number"):
        judge_all([broken], [said(broken, "The answer is 5.")], "number")
