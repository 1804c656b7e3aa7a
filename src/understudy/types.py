"""The frozen nouns that flow from a question to a score.

Question -> Completion -> Rationale -> Example -> Prediction -> Verdict -> Score. All are plain and
immutable: live clients, models and tensors never enter a record, so every one of them can be written
as a JSON line and read back. Everything is joined by `Question.id`.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

AnswerForm = Literal["number", "choice", "boolean", "text", "letters", "list"]
FinishReason = Literal["stop", "length", "content_filter", "error"]
VerdictName = Literal["correct", "wrong", "no_answer"]
RationaleKind = Literal["right", "wrong", "hinted", "counterfactual"]
"""Of a rationale: reaches the gold answer; does not; does, having been shown it because all without were
wrong; was asked for with a wrong answer shown as the right one, and reaches that."""

LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Question:
    """One labelled question.

    `answer` is the gold: a number as written in the data set, a label ("A", "B", ...: position in
    `choices`, whatever the data set called its options), "yes" or "no", or free text.
    """

    text: str
    answer: str
    choices: tuple[str, ...] = ()
    context: str = ""
    rationale: str = ""
    """A human or programmatic rationale that came with the data; empty when there is none."""
    source: str = ""
    """The data set's own id or line, for error messages and joins with outside files."""
    steps: int | None = None
    """Number of reasoning steps where the data set knows it: the difficulty axis of the report."""
    id: str = field(init=False)
    """16 hex digits of SHA-256 over text, context and choices: not over the answer, the order of the
    file or the source, so that an overlap of two splits is a set intersection."""

    def __post_init__(self) -> None:
        parts = [
            " ".join(unicodedata.normalize("NFC", part).split())
            for part in (self.text, self.context, *self.choices)
        ]
        digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        object.__setattr__(self, "id", digest[:16])


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A few-shot example shown to a teacher: written by us, never taken from a test set."""

    question: str
    rationale: str
    answer: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How text is drawn. `temperature` 0 is greedy. Every field enters the ledger's key."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a completer is asked: one prompt, and which of its samples are wanted.

    `samples` are indices, not a count: asking for 8 after 4 asks for (4, 5, 6, 7).
    """

    question: Question
    messages: tuple[Message, ...]
    samples: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer, as it came, before anyone parsed it."""

    question_id: str
    sample: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning: str = ""
    """Hidden reasoning that a server returned apart from the text; never trained on by default."""
    error: str = ""
    """Why there is no usable text (`finish_reason` is then "error"): "kind" or "kind: detail"."""
    latency_s: float = 0.0
    """Seconds from the first attempt to the reply; 0 where nobody measured it."""
    attempts: int = 1
    raw: str = ""
    """The server's whole reply, for the ledger alone, which keeps it and hands out completions without."""
    variant: str = ""
    """"hinted" if the gold answer was shown with the question, so that a right answer proves nothing."""
    logprob: float | None = None
    """Sum of the natural log-probabilities of its generated tokens; None where nobody measured it."""
    cached_tokens: int = 0
    """Of the prompt's, those that the server says it had in its cache: for the price that the ledger records,
    which hands out completions without."""


@dataclass(frozen=True, slots=True)
class Rationale:
    """Reasoning towards an answer. `text` ends before the sentence that states the answer."""

    question_id: str
    sample: int
    text: str
    answer: str
    """The answer that it reaches: the gold one, unless its kind is "wrong" or "counterfactual"."""
    teacher: str = ""
    kind: RationaleKind = "right"


@dataclass(frozen=True, slots=True)
class Example:
    """One source -> target pair for training. `objective` names its term in the loss: the loss of a
    batch is the sum over objectives of `weight` x the mean cross-entropy over their target tokens."""

    question_id: str
    source: str
    target: str
    objective: str = "answer"
    weight: float = 1.0
    cut: int = 0
    """Character of `target` where its answer part begins; 0 where nobody asks for that."""
    silent: bool = False
    """What stands before `cut` is read and bears no loss."""
    difficulty: float = 0.0
    """For stages that are trained on easy examples first: any scale, low is easy."""


@dataclass(frozen=True, slots=True)
class Written:
    """What one stage of a student wrote at test time."""

    stage: str
    text: str
    finish_reason: FinishReason
    tokens: int
    logprob: float | None = None
    """Sum of the log-probabilities of its tokens, where they were measured."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A student's whole output on one question. The judge reads `settled` where a method makes its answer
    of what was written, such as by calculating it, and the last stage's text otherwise."""

    question_id: str
    written: tuple[Written, ...]
    settled: str | None = None
    share: float | None = None
    """Of the votes, where several predictions voted for this one's answer."""

    @property
    def text(self) -> str:
        return self.written[-1].text if self.settled is None else self.settled

    @property
    def tokens(self) -> int:
        """Tokens generated over all stages: the cost of the answer."""
        return sum(part.tokens for part in self.written)

    @property
    def truncated(self) -> bool:
        return any(part.finish_reason == "length" for part in self.written)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judge's word on one text: what it read, where, by which rule, and whether it is right."""

    name: VerdictName
    extracted: str | None
    span: tuple[int, int] | None = None
    """Characters [start, end) of the text that `extracted` came from."""
    rule: str = ""
    reason: str = ""
    """Why this is the verdict, in plain words."""
    strict: VerdictName = "no_answer"
    """The verdict of the strict reading: only the sentence that prompts ask for counts."""
    strict_extracted: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A prediction beside its question and verdict: the row that metrics and reports read."""

    question: Question
    prediction: Prediction
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Score:
    """A measured number: never without its n, and never without an interval where one exists."""

    name: str
    value: float
    n: int
    interval: tuple[float, float] | None = None
    unit: str = ""
    explanation: str = ""
