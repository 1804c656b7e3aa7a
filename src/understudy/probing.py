"""Change what a student reads before it answers, and look whether its answer follows.

A method that reasons writes its rationale as a text of its own, which a later stage reads, or at the head of
the text that ends with its answer. In the first case the changed rationale stands in for that text; in the
second it becomes the beginning of what the student writes, and where it must answer at once the words that
state an answer follow. The material is always the student's own greedy predictions, and every draw depends on
the probe and the question alone. The catch: a changed rationale is unlike anything that a student
was trained on, so some of what changes is confusion; `filler` and `swapped` show how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from pydantic import ValidationError

from understudy import answers, shelves
from understudy.errors import DataError, RecipeError
from understudy.roles import Changed, Material, Method, Probe, Skipped
from understudy.statistics import mcnemar_exact, paired_bootstrap, wilson
from understudy.types import LABELS, AnswerForm, Judged, Prediction, Question, Request

NO_REASONING = "no reasoning was written"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a method's rationale stands."""

    stage: str
    apart: bool
    """Whether it is a text of its own, which a later stage reads."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What students are to be asked, and what they read: plain, and the same whenever it is made."""

    questions: tuple[Question, ...]
    """Asked instead of the split's, in their order, without those that it cannot be applied to."""
    given: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`evaluate.Asked.given`: stage -> question id -> text that stands in for what the stage would write."""
    prefixes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`evaluate.Asked.prefixes`: stage -> question id -> text that the stage's own begins with."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Id of a question that is asked -> id of the split's question that it was made from."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> questions that were left out for it."""


def probe_of(text: str) -> Probe:
    """The probe that a recipe names: "swapped", or "early:0.5" with its setting. Raises RecipeError."""
    name, colon, value = text.partition(":")
    kind: type[Probe] = shelves.load("probes", name)
    fields = [key for key in kind.model_fields if key != "name"]
    if colon and not fields:
        raise RecipeError(f"the probe '{name}' has no setting: write '{name}' instead of '{text}'")
    try:
        return kind(name=name, **({fields[0]: value} if colon else {}))
    except ValidationError as error:
        raise RecipeError(f"the probe '{text}' is not possible: {error.errors()[0]['msg']}") from error


def place_of(method: Method) -> Place | None:
    """Where `method` writes its rationale; None where it writes none, or in several texts."""
    stages = [stage for stage in method.stages() if stage.asked]
    reasons = [stage for stage in stages if stage.writes != "answer"]
    if len(reasons) != 1:
        return None
    apart = reasons[0].writes == "rationale"
    return Place(reasons[0].name, apart) if not apart or reasons[0] is not stages[-1] else None


def applies(probe: Probe, method: Method, form: AnswerForm) -> bool:
    """Whether the probe can say anything about a method."""
    return form == "choice" if probe.OF_QUESTION else place_of(method) is not None


# ---------------------------------------------------------------- changing


def probed(
    probe: Probe,
    method: Method,
    questions: Sequence[Question],
    predictions: Sequence[Prediction],
    form: AnswerForm,
    said: Mapping[str, str] | None = None,
) -> Probed:
    """What is to be asked. `predictions` are the method's own on those questions, in any order; `said` maps
    question ids to the replies to `requests_for`. Raises DataError where a prediction is missing."""
    place = place_of(method)
    asked: list[Question] = []
    reads: dict[str, str] = {}
    origin: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    for material, cue in _materials(probe, place, questions, predictions, form, said or {}):
        old = material.question
        change = _changed(probe, material)
        if isinstance(change, Skipped):
            skipped[change.reason] += 1
            continue
        new = change.question or old
        asked.append(new)
        origin[new.id] = old.id
        at_once = not (probe.GOES_ON or (place and place.apart))
        reads[new.id] = f"{change.rationale} {cue}".strip() if at_once else change.rationale
    stands: dict[str, dict[str, str]] = {place.stage: reads} if place and not probe.OF_QUESTION else {}
    given = bool(place and place.apart) and not probe.GOES_ON
    return Probed(tuple(asked), stands if given else {}, {} if given else stands, origin, dict(skipped))


def requests_for(
    probe: Probe,
    method: Method,
    questions: Sequence[Question],
    predictions: Sequence[Prediction],
    form: AnswerForm,
) -> list[Request]:
    """What somebody else must be asked before `probed`; nothing for most probes."""
    if not probe.ASKS:
        return []
    materials = _materials(probe, place_of(method), questions, predictions, form, {})
    return [
        Request(material.question, probe.messages(material))
        for material, _ in materials
        if material.rationale
    ]


def _changed(probe: Probe, material: Material) -> Changed | Skipped:
    if not (material.rationale or probe.OF_QUESTION):
        return Skipped(NO_REASONING)
    draw = Random(f"{probe.label} {material.question.id}")  # noqa: S311 - a repeatable draw, not a secret
    return probe.change(material, draw)


def _materials(
    probe: Probe,
    place: Place | None,
    questions: Sequence[Question],
    predictions: Sequence[Prediction],
    form: AnswerForm,
    said: Mapping[str, str],
) -> Iterator[tuple[Material, str]]:
    """Of each question, in their order, its material and the words with which its answer is asked for."""
    if probe.OF_QUESTION:
        yield from ((Material(question, "", form), "") for question in questions)
        return
    by_id = {prediction.question_id: prediction for prediction in predictions}
    if missing := sum(question.id not in by_id for question in questions):
        raise DataError(f"a probe needs a prediction on every question, and {missing} have none")
    texts = [_text(by_id[question.id], place) for question in questions]
    apart = place is not None and place.apart
    own = [
        text.strip() if apart else answers.reasoning(text, form, question.choices)
        for question, text in zip(questions, texts, strict=True)
    ]
    for question, text, rationale in zip(questions, texts, own, strict=True):
        material = Material(question, rationale, form, own, said.get(question.id, ""))
        yield material, _cue(text, rationale, form, question.choices)


def _text(prediction: Prediction, place: Place | None) -> str:
    """What was written where the rationale stands; nothing where that stage had nothing to write."""
    stage = place.stage if place else ""
    return next((part.text for part in prediction.written if part.stage == stage), "")


def _cue(text: str, rationale: str, form: AnswerForm, choices: Sequence[str]) -> str:
    """The student's own words between its reasoning and its answer, or those of the usual sentence."""
    span = answers.read(text, form, choices).span
    if not rationale or span is None or not text.startswith(rationale):
        return answers.CUE
    return text[len(rationale) : span[0]].strip().rstrip("([{$*_`\"'“ ") or answers.CUE


# ---------------------------------------------------------------- what came of it


def outcome(
    before: Sequence[Judged],
    after: Sequence[Judged],
    origin: Mapping[str, str] | None = None,
    skipped: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What became of the answers, as plain values; numbers that do not exist are None.

    `before` are the split's judged rows, `after` those of the questions that the probe could be applied to;
    `origin` and `skipped` stand in `Probed`. Everything is measured on the questions of `after`. An answer
    has changed if it names something else, or if there is one where there was none, or the reverse.
    """
    by_id = {row.question.id: row for row in before}
    pairs = [(by_id[(origin or {}).get(row.question.id, row.question.id)], row) for row in after]
    was, now = [_right(old) for old, _ in pairs], [_right(new) for _, new in pairs]
    changed = sum(_answer(old) != _answer(new) for old, new in pairs)
    n = len(pairs)
    return {
        "n": n,
        "skipped": dict(skipped or {}),
        **_proportion("accuracy", sum(now), n),
        **_proportion("accuracy_before", sum(was), n),
        **_proportion("changed", changed, n),
        "no_answer": sum(new.verdict.name == "no_answer" for _, new in pairs),
        "paired": paired(now, was),
    }


def _proportion(name: str, count: int, n: int) -> dict[str, Any]:
    interval = list(wilson(count, n)) if n else None
    return {name: count / n if n else None, f"{name}_count": count, f"{name}_interval": interval}


def paired(a: Sequence[bool], b: Sequence[bool]) -> dict[str, Any] | None:
    """Accuracy of a minus that of b on the same questions, with the exact test and the counts under it."""
    if not a:
        return None
    difference, low, high = paired_bootstrap(a, b)
    return {**asdict(mcnemar_exact(a, b)), "difference": difference, "interval": [low, high]}


def _right(row: Judged) -> bool:
    return row.verdict.name == "correct"


def _answer(row: Judged) -> str | None:
    """What was answered; of an option its text, for its label is another where options were turned round."""
    said, choices = row.verdict.extracted, row.question.choices
    if said is not None and choices and said in LABELS[: len(choices)]:
        return " ".join(choices[LABELS.index(said)].split())
    return said
