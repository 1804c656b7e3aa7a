"""How many questions of dev a student answers right while it is still in training.

One stage is asked as it is at test time, greedily, by the engine that trains. The catch: a stage that reads
what another writes, or whose own text states no answer, has no accuracy by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from understudy import shelves
from understudy.errors import TrainingError
from understudy.evaluate import judged
from understudy.roles import Generated, LiveStudent, Method
from understudy.training.devices import ALONE, Place
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


@dataclass(frozen=True, slots=True)
class DevAccuracy:
    """The share of `questions` that a stage answers right. It knows nothing of a live student, so it can be
    written down and read by every process that shares a training."""

    questions: tuple[Question, ...]
    method: Method
    stage: str
    form: AnswerForm
    max_new_tokens: int

    def __call__(self, live: LiveStudent, place: Place = ALONE) -> float:
        """Of the student as it is; each of several processes asks it a part of the questions."""
        from understudy.students._completer import packed
        from understudy.training import together

        method = self.method
        asked = next(each for each in method.stages() if each.name == self.stage)
        prompts = [method.prompt(self.stage, question, {}) or "" for question in self.questions]
        sampling = Sampling(max_tokens=self.max_new_tokens, stop=asked.stop)
        lengths = live.source_tokens(prompts)
        rows = [(at, 0, length) for at, length in enumerate(lengths)]

        def right(batch: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
            said = live.generate([prompts[row[0]] for row in batch], sampling)
            verdicts = [self._right(row[0], text) for row, text in zip(batch, said, strict=True)]
            return float(sum(verdicts)), float(len(verdicts))

        return together.mean(list(packed(rows, self.max_new_tokens, BATCH_TOKENS)), right, live, place)

    def _right(self, at: int, said: Generated) -> bool:
        question = self.questions[at]
        written = Written(self.stage, said.text, said.finish_reason, said.tokens)
        settled = Prediction(question.id, (written,))
        if len(self.method.stages()) == 1:
            settled = self.method.settle(question, (written,), self.form, {})
        return judged(question, settled, self.form).verdict.name == "correct"

    # ------------------------------------------------------------ between processes

    def plain(self) -> dict[str, Any]:
        """Plain values, of which `of` makes the same again."""
        rows = [asdict(question) for question in self.questions]
        return {
            "questions": [{key: value for key, value in row.items() if key != "id"} for row in rows],
            "method": self.method.model_dump(mode="json"),
            "stage": self.stage,
            "form": self.form,
            "max_new_tokens": self.max_new_tokens,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> DevAccuracy:
        questions = [Question(**{**row, "choices": tuple(row["choices"])}) for row in plain["questions"]]
        settings = plain["method"]
        method = shelves.load("methods", str(settings["name"]))(**settings)
        return cls(tuple(questions), method, plain["stage"], plain["form"], plain["max_new_tokens"])


def accuracy_on(
    questions: Sequence[Question],
    method: Method,
    stage: str,
    form: AnswerForm,
    max_new_tokens: int,
    many: int,
) -> DevAccuracy:
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
    return DevAccuracy(tuple(chosen), method, stage, form, max_new_tokens)
