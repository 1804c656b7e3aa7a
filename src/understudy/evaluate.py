"""Ask a method's students, stage by stage, and judge what came of it.

Students answer through the ledger like any completer, so a killed evaluation continues where it was and
judging again costs nothing. What a stage reads is what the stage before it *wrote*, unless its text is
given: a two-stage student that is given the teacher's rationale shows an upper bound. A question can be
answered by several chains of texts, which then vote.

Questions are worked on in windows, each through all stages, so that memory holds the texts of one window. A
window is never larger than what a student sorts by length at a time, so what a killed evaluation still has to
ask falls into the very batches that it would have fallen into: texts, drawn ones too, come out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import Field, field_validator, model_validator

from understudy import answers
from understudy.engines.ray import RaySpec
from understudy.errors import RecipeError
from understudy.generators.contract import CAN, EXACT, REFERENCE, ComputeType, EngineName, settled
from understudy.ledger import Ledger
from understudy.probing import probe_of
from understudy.roles import Completer, Method, Spec, Stage
from understudy.streams import WINDOW, windows
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
    engine: EngineName = "auto"
    """What runs a trained student: `transformers`, `ctranslate2`, `vllm`, `static`, or the faster of those
    that can. Any but transformers is first measured against it. In float32 it changes speed, not answers."""
    compute_type: ComputeType = "float32"
    """The number format in which a trained student computes. Any but float32 changes answers."""
    ray: RaySpec | None = None
    """Let the actors of a Ray cluster write, each with a copy of the trained students. Changes speed, not
    answers."""
    teacher: bool = False
    """Also ask the teacher on the evaluation splits, greedily and without the answer: its accuracy
    there, and the rationales that a two-stage student's upper bound reads. Costs teacher tokens."""
    votes: int | None = Field(None, gt=1)
    """Also draw so many answers of each student and let the majority decide (self-consistency)."""
    vote_temperature: float = Field(0.7, gt=0)
    """At which those are drawn. Where an answer is read off a rationale, only the rationale is drawn."""
    score_options: bool = False
    """Also let the students of a multiple-choice task say how probable they find each option: accuracy by
    log-likelihood, and calibration."""
    probes: tuple[str, ...] = ()
    """Also change what a reasoning student reads before it answers, and look whether its answer follows."""

    @field_validator("probes")
    @classmethod
    def _known(cls, probes: tuple[str, ...]) -> tuple[str, ...]:
        for text in probes:
            try:
                probe_of(text)
            except RecipeError as error:
                raise ValueError(str(error)) from error
        return probes

    @model_validator(mode="after")
    def _possible(self) -> EvaluateSpec:
        if self.engine != "auto" and self.compute_type not in CAN[self.engine]:
            formats = " or ".join(CAN[self.engine])
            raise ValueError(f"the engine {self.engine} computes in {formats}, not in {self.compute_type}")
        if self.ray and self.ray.batch != RaySpec().batch:
            raise ValueError("evaluate.ray takes no batch: evaluate.batch_tokens says how large batches are")
        if self.score_options and self.compute_type == "int8":
            raise ValueError("options are scored in float32 or bfloat16, not in int8: change compute_type")
        return self

    def decisive(self, drawn: bool) -> dict[str, Any]:
        """What of engine and format decides what is written; empty where every choice writes the same."""
        if self.compute_type != EXACT:
            return {"engine": settled(self.engine, self.compute_type), "compute_type": self.compute_type}
        # Two engines never draw alike, so "auto" and transformers draw with the same one.
        return {"engine": self.engine} if drawn and self.engine not in ("auto", REFERENCE) else {}


Chain = tuple[Question, list[Written]]
"""A question and what was written on it so far, stage by stage."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a method's students are asked, beyond the questions."""

    sampling: Sampling
    """How everybody answers, unless chains are drawn."""
    drawn: Sampling | None = None
    """How the texts of a chain are drawn that are not an answer read off a rationale; None draws none."""
    chains: int = 1
    """Chains of texts per question, for a vote."""
    given: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Stage -> question id -> text that stands in for what the stage would have written."""
    prefixes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Stage -> question id -> text that the stage's own begins with."""
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    """Stage -> the ledger of who writes it, where that is not the students'."""
    only: str = ""
    """The one stage that is asked; all of them where it is empty."""


def predict(
    questions: Sequence[Question],
    method: Method,
    students: Mapping[str, Completer],
    asked: Asked,
    ledger: Ledger,
    progress: Progress,
) -> Iterator[list[tuple[Written, ...]]]:
    """Yield of each question, in order, the texts of every chain, stage by stage. The ids must be distinct.

    `students` maps each stage to who writes it. A stage that has nothing to write for a question is not in
    its texts. Nobody is asked before the first is wanted, and `ledger` must stay open until the last.
    """
    done = 0
    for window in windows(questions, max(1, WINDOW // asked.chains)):

        def heard(share: float, detail: str, done: int = done, window: Sequence[Question] = window) -> None:
            of = f"{done:,} of {len(questions):,} questions, then " if len(window) < len(questions) else ""
            progress((done + share * len(window)) / len(questions), of + detail)

        yield from _through_stages(window, method, students, asked, ledger, heard)
        done += len(window)


def _through_stages(
    questions: Sequence[Question],
    method: Method,
    students: Mapping[str, Completer],
    asked: Asked,
    ledger: Ledger,
    progress: Progress,
) -> list[list[tuple[Written, ...]]]:
    """The same for one window."""
    stages = [stage for stage in method.stages() if stage.asked and asked.only in ("", stage.name)]
    chains: list[Chain] = [(question, []) for question in questions for _ in range(asked.chains)]
    for number, stage in enumerate(stages):
        if stage.name in asked.given:
            for question, written in chains:
                written.append(Written(stage.name, asked.given[stage.name][question.id], "stop", 0))
            continue

        def landed(count: int, total: int, number: int = number) -> None:
            progress((number + count / total) / len(stages), f"{count:,} of {total:,} answers")

        # An answer that is read off a drawn rationale is not drawn again: the vote is over rationales.
        drawn = asked.drawn if number == 0 or stage.writes != "answer" else None
        sampling = drawn or asked.sampling
        sampling = replace(sampling, stop=(*sampling.stop, *stage.stop))
        requests, places = _requests(stage, method, asked, chains, apart=drawn is not None)
        own = asked.ledgers.get(stage.name, ledger)
        for place, completion in own.complete(students[stage.name], requests, sampling, landed):
            for chain in places[place][completion.sample]:
                chains[chain][1].append(
                    Written(
                        stage.name,
                        _whole(requests[place], completion.text),
                        completion.finish_reason,
                        completion.completion_tokens,
                        completion.logprob,
                    )
                )
    texts = [tuple(written) for _, written in chains]
    return [texts[start : start + asked.chains] for start in range(0, len(texts), asked.chains)]


def _requests(
    stage: Stage, method: Method, asked: Asked, chains: Sequence[Chain], apart: bool
) -> tuple[list[Request], list[list[list[int]]]]:
    """What is asked, and of each request, of each of its samples, the chains that its text belongs to.

    Equal prompts of a question are asked once: as one sample, or one for each chain where they are to be
    drawn `apart`.
    """
    prompts: list[tuple[Question, str]] = []
    places: list[list[list[int]]] = []
    known: dict[tuple[str, str], int] = {}
    for number, (question, written) in enumerate(chains):
        prompt = method.prompt(stage.name, question, _texts(written))
        if prompt is None:
            continue
        place = known.setdefault((question.id, prompt), len(places))
        if place == len(places):
            prompts.append((question, prompt))
            places.append([])
        if apart or not places[place]:
            places[place].append([number])
        else:
            places[place][0].append(number)
    prefixes = asked.prefixes.get(stage.name, {})
    requests = [
        Request(question, _messages(prompt, prefixes.get(question.id, "")), tuple(range(len(samples))))
        for (question, prompt), samples in zip(prompts, places, strict=True)
    ]
    return requests, places


def _messages(prompt: str, prefix: str) -> tuple[Message, ...]:
    asked = (Message("user", prompt),)
    return (*asked, Message("assistant", prefix)) if prefix else asked


def _whole(request: Request, text: str) -> str:
    """The text with the prefix that it was to begin with, which was read and not written again."""
    last = request.messages[-1]
    return f"{last.content} {text}".strip() if last.role == "assistant" else text


def judge_all(
    questions: Sequence[Question], predictions: Sequence[Prediction], form: AnswerForm
) -> tuple[Judged, ...]:
    """Each prediction beside its question and verdict, in the order of `predictions`."""
    by_id = {question.id: question for question in questions}
    return tuple(judged(by_id[prediction.question_id], prediction, form) for prediction in predictions)


def judged(question: Question, prediction: Prediction, form: AnswerForm) -> Judged:
    """The prediction beside its question and verdict."""
    cut_off = prediction.written[-1].finish_reason == "length"
    verdict = answers.judge(prediction.text, question.answer, form, question.choices, cut_off=cut_off)
    return Judged(question, prediction, verdict)


def _texts(written: Sequence[Written]) -> dict[str, str]:
    return {part.stage: part.text for part in written}
