"""What is scored of a method whose questions have options, and the file that the scores are kept in.

A student is asked for the option that it finds most probable, beside being asked to write. An option stands
in the words of the method's own targets: "The answer is (B).". Where a stage writes the answer alone, the
options follow its prompt. Where it writes the rationale and then the answer, the rationale that the student
wrote at evaluation comes first, up to and with its last "The answer is"; where it wrote none, those words
are put behind what it did write. A student that nobody trained is scored right behind its prompt, as
harnesses do it.

The sums are compared as they are (acc), and divided by the option's number of characters (acc_norm), as lm-
evaluation-harness 0.4 does both (`process_results` in api/task.py): the first of equal ones is chosen. The
catch: the sentences that students learn name labels and are equally long, so for them the two agree.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from understudy import answers
from understudy.errors import StoreError
from understudy.roles import Method, Stage
from understudy.types import LABELS, AnswerForm, Prediction, Question

if TYPE_CHECKING:
    from understudy.students._scoring import Choosing

FILE = "scores.jsonl"
WINDOW = 256
"""Questions that are scored before their rows are on disk: what a kill costs at most."""
FORM: AnswerForm = "choice"

Reads = Literal["prompt", "own rationale"]
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """How a method's options are scored: by which stage's student, and what comes before them."""

    stage: Stage
    reads: Reads
    earlier: bool
    """Whether the prompt holds what earlier stages wrote."""

    @property
    def predicted(self) -> bool:
        """Whether what the students wrote at evaluation is needed."""
        return self.earlier or self.reads == "own rationale"


@dataclass(frozen=True, slots=True)
class Scored:
    """The options of one question, scored. Without `logprobs` the student was not asked about it, or its
    numbers are not finite; it then counts as not right."""

    question_id: str
    logprobs: tuple[float, ...]
    """Natural log-probability of each option, summed over its tokens."""
    characters: tuple[int, ...]
    """Of each option as it was scored, without what comes before it."""
    cue: bool = True
    """Whether the student's rationale stated an answer by itself, where one was read."""

    @property
    def best(self) -> int | None:
        """Position of the most probable option."""
        return _first_largest(self.logprobs)

    @property
    def best_for_its_length(self) -> int | None:
        """The same by log-probability for each character."""
        return _first_largest([p / n for p, n in zip(self.logprobs, self.characters, strict=True)])

    @property
    def confidence(self) -> float | None:
        """The most probable option's share of the probability of all options."""
        if not self.logprobs:
            return None
        top = max(self.logprobs)
        return 1 / math.fsum(math.exp(p - top) for p in self.logprobs)


def _first_largest(values: Sequence[float]) -> int | None:
    return max(range(len(values)), key=lambda at: (values[at], -at)) if values else None


# ---------------------------------------------------------------- what is scored


def way_of(method: Method) -> Way | str:
    """How a method's options are scored, or why they cannot be, as the end of a sentence."""
    asked = [stage for stage in method.stages() if stage.asked]
    last = asked[-1]
    if last.by == "teacher":
        return "its answers are the teacher's"
    if method.TUNED or type(method).settle is not Method.settle:
        return "it makes its answer of what was written by rules of its own"
    if any(stage.writes != "rationale" for stage in asked[:-1]) or last.writes == "rationale":
        return "it does not write its answer in one place"
    own = last.writes == "both" and last.by == "student"
    return Way(last, "own rationale" if own else "prompt", len(asked) > 1)


def options(question: Question) -> tuple[str, ...]:
    """The sentence that states each option, as targets end with it."""
    return tuple(answers.write(label, FORM) for label in LABELS[: len(question.choices)])


def posed(
    way: Way, method: Method, question: Question, prediction: Prediction | None
) -> tuple[Choosing, bool] | None:
    """What a student is to choose from, and whether the text that it wrote stated an answer. None where the
    method asks nothing about the question, or it has fewer than two options."""
    from understudy.students._scoring import Choosing

    written = {part.stage: part.text for part in prediction.written} if prediction else {}
    source = method.prompt(way.stage.name, question, written)
    if source is None or len(question.choices) < 2:
        return None
    if way.reads == "prompt":
        return Choosing(source, "", options(question)), True
    if way.stage.name not in written:
        return None
    prefix, stated = begun(written[way.stage.name])
    bare = tuple(option.removeprefix(answers.CUE).strip() for option in options(question))
    return Choosing(source, prefix, bare), stated


def begun(text: str) -> tuple[str, bool]:
    """A student's text up to and with the words that state its answer, the last of them; and whether it had
    them, for they are put behind a text that has not."""
    before, cue, _ = text.rpartition(answers.CUE)
    return (f"{before}{cue}", True) if cue else (f"{text} {answers.CUE}".strip(), False)


# ---------------------------------------------------------------- the file


def score_all(
    way: Way,
    method: Method,
    questions: Sequence[Question],
    predictions: Mapping[str, Prediction],
    scorer: Callable[[Sequence[Choosing]], Sequence[Sequence[float]]],
    folder: Path,
    progress: Progress,
) -> list[Scored]:
    """Score what the folder's file does not hold yet, window by window, and return all in the questions'
    order. A window's rows are on disk before the next one begins."""
    done = {row.question_id: row for row in _salvaged(folder / FILE)}
    left = [question for question in questions if question.id not in done]
    with (folder / FILE).open("a", encoding="utf-8") as stream:
        for start in range(0, len(left), WINDOW):
            progress((len(questions) - len(left) + start) / len(questions), f"{start:,} of {len(left):,}")
            window = left[start : start + WINDOW]
            for row in _scored(way, method, window, predictions, scorer):
                done[row.question_id] = row
                stream.write(json.dumps(asdict(row)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    return [done[question.id] for question in questions]


def _scored(
    way: Way,
    method: Method,
    questions: Sequence[Question],
    predictions: Mapping[str, Prediction],
    scorer: Callable[[Sequence[Choosing]], Sequence[Sequence[float]]],
) -> list[Scored]:
    asked = [posed(way, method, question, predictions.get(question.id)) for question in questions]
    sums = iter(scorer([one[0] for one in asked if one]))
    rows = []
    for question, one in zip(questions, asked, strict=True):
        logprobs = tuple(next(sums)) if one else ()
        if not one or not logprobs or not all(map(math.isfinite, logprobs)):
            rows.append(Scored(question.id, (), (), one[1] if one else True))
        else:
            rows.append(Scored(question.id, logprobs, tuple(map(len, one[0].options)), one[1]))
    return rows


def _salvaged(path: Path) -> list[Scored]:
    """The rows of a file whose last line may be torn: that line is cut off, so that more can follow."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
    return _read(path, whole)


def load_scores(folder: Path) -> list[Scored]:
    return _read(folder / FILE, (folder / FILE).read_bytes())


def _read(path: Path, data: bytes) -> list[Scored]:
    try:
        rows = [json.loads(line) for line in data.splitlines()]
        return [
            Scored(row["question_id"], tuple(row["logprobs"]), tuple(row["characters"]), row["cue"])
            for row in rows
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not readable ({error}): delete it and run again") from error
