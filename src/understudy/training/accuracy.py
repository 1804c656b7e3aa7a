"""How many questions of dev a student answers right while it is still in training.

One stage is asked as it is at test time, greedily, by the engine that trains. The catch: a stage that reads
what another writes, or whose own text states no answer, has no accuracy by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy.errors import TrainingError
from understudy.evaluate import judged
from understudy.roles import LiveStudent, Method
from understudy.types import AnswerForm, Prediction, Question, Sampling, Written

BATCH_TOKENS = 16384
"""Source and new tokens of a batch, padding included."""


def answers_alone(method: Method, stage: str) -> bool:
    """Whether what a stage writes for a bare question states its answer."""
    before: list[str] = []
    for each in method.stages():
        if each.name == stage:
            return each.writes != "rationale" and "rationale" not in before
        before.append(each.writes)
    return False


def accuracy_on(
    questions: Sequence[Question],
    method: Method,
    stage: str,
    form: AnswerForm,
    max_new_tokens: int,
    many: int,
) -> Callable[[LiveStudent], float]:
    """Of `many` of the questions, evenly spaced, the share that the stage answers right. A method that makes
    its answer of what was written does so here too, where it has this one stage. Raises TrainingError."""
    if not answers_alone(method, stage):
        raise TrainingError(
            f"the stage '{stage}' of the method '{method.name}' answers nothing by itself: set "
            "train.stopping.metric to dev_loss"
        )
    if not questions:
        raise TrainingError("dev has no question to answer: set train.stopping.metric to dev_loss")
    many = min(many, len(questions))
    chosen = [questions[index * len(questions) // many] for index in range(many)]
    asked = next(each for each in method.stages() if each.name == stage)
    prompts = [method.prompt(stage, question, {}) or "" for question in chosen]
    sampling = Sampling(max_tokens=max_new_tokens, stop=asked.stop)
    alone = len(method.stages()) == 1

    def right(question: Question, written: Written) -> bool:
        settled = Prediction(question.id, (written,))
        settled = method.settle(question, (written,), form, {}) if alone else settled
        return judged(question, settled, form).verdict.name == "correct"

    def measure(live: LiveStudent) -> float:
        from understudy.students._completer import packed

        lengths = live.source_tokens(prompts)
        correct = 0
        rows = [(place, 0, length) for place, length in enumerate(lengths)]
        for batch in packed(rows, max_new_tokens, BATCH_TOKENS):
            places = [row[0] for row in batch]
            for place, said in zip(
                places, live.generate([prompts[place] for place in places], sampling), strict=True
            ):
                correct += right(chosen[place], Written(stage, said.text, said.finish_reason, said.tokens))
        return correct / many

    return measure
