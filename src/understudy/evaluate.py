"""Ask a method's students, stage by stage, and judge what the last one wrote.

Students answer through the ledger like any completer, so a killed evaluation continues where it was and
judging again costs nothing. What a stage reads is what the stage before it *wrote*, unless its text is
given: a two-stage student that is given the teacher's rationale shows an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import Field

from understudy import answers
from understudy.ledger import Ledger
from understudy.roles import Completer, Method, Spec
from understudy.types import (
    AnswerForm,
    Judged,
    Message,
    Prediction,
    Question,
    Request,
    Sampling,
    Written,
)

Progress = Callable[[float, str], None]


class EvaluateSpec(Spec):
    """What is measured."""

    splits: tuple[str, ...] = ("test",)
    max_new_tokens: int = Field(256, gt=0)
    batch_tokens: int = Field(16384, gt=0)
    """Source + new tokens of a generation batch, padding included. Changes speed, not answers."""
    teacher: bool = False
    """Also ask the teacher on the evaluation splits, greedily and without the answer: its accuracy
    there, and the rationales that a two-stage student's upper bound reads. Costs teacher tokens."""


def predict(
    questions: Sequence[Question],
    method: Method,
    students: Mapping[str, Completer],
    sampling: Sampling,
    ledger: Ledger,
    progress: Progress,
    given: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Prediction]:
    """One prediction per question, in order.

    `students` maps each stage to who writes it; `given` maps a stage to text by question id, which then
    stands in for what that stage would have written. The ids of `questions` must be distinct.
    """
    given = given or {}
    stages = method.stages()
    written: dict[str, list[Written]] = {question.id: [] for question in questions}
    for number, stage in enumerate(stages):
        if stage.name in given:
            for question in questions:
                written[question.id].append(Written(stage.name, given[stage.name][question.id], "stop", 0))
            continue
        requests = [
            _request(question, method.prompt(stage.name, question, _texts(written[question.id])))
            for question in questions
        ]

        def landed(count: int, total: int, number: int = number) -> None:
            progress((number + count / total) / len(stages), f"{count} of {total} questions")

        for _, completion in ledger.complete(students[stage.name], requests, sampling, landed):
            written[completion.question_id].append(
                Written(stage.name, completion.text, completion.finish_reason, completion.completion_tokens)
            )
    return [Prediction(question.id, tuple(written[question.id])) for question in questions]


def judge_all(
    questions: Sequence[Question], predictions: Sequence[Prediction], form: AnswerForm
) -> tuple[Judged, ...]:
    """Each prediction beside its question and verdict, in the order of `predictions`."""
    by_id = {question.id: question for question in questions}
    return tuple(_judged(by_id[prediction.question_id], prediction, form) for prediction in predictions)


def _judged(question: Question, prediction: Prediction, form: AnswerForm) -> Judged:
    cut_off = prediction.written[-1].finish_reason == "length"
    verdict = answers.judge(prediction.text, question.answer, form, question.choices, cut_off=cut_off)
    return Judged(question, prediction, verdict)


def _request(question: Question, prompt: str) -> Request:
    return Request(question, (Message("user", prompt),))


def _texts(written: Sequence[Written]) -> dict[str, str]:
    return {part.stage: part.text for part in written}
