"""Which completions to ask for next, given what there is: sampling in rounds, as pure functions.

`next_round` looks at what one question has got and says what to ask for; nothing means that the question is
done. It is deterministic, so a run that was killed goes through the same rounds again and finds every answer
in the ledger. The number of a sample says all about how it is asked, so (question, sample) stays a key and a
larger `n` pays only the difference. Asking for a rationale with the answer shown where the teacher failed
without is the rationalisation of STaR (Zelikman et al. 2022). The catch: both that and stopping at the first
right answers choose what is trained on by the gold answer, so neither rate says how good the teacher is.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, model_validator

from understudy import answers
from understudy.ledger import transient
from understudy.prompts import PromptSpec
from understudy.roles import Spec
from understudy.types import AnswerForm, Completion, Question, Sampling

Number = TypeVar("Number", int, float)
Style = Literal["few_shot", "zero_shot", "bare"]

HINTED = 10_000
"""Added to the number of a sample that is asked for with the answer shown because all without were wrong."""
AGAIN = 20_000
"""Added to the number of a sample that is asked for again with more tokens because it was cut off."""


class PolicySpec(Spec):
    """How many completions a question gets, and how each of them is asked for."""

    n: int = Field(1, gt=0, le=HINTED)
    """Completions asked for per question; with `until_correct` or `settled`, at most."""
    until_correct: int | None = Field(None, gt=0)
    """Ask in rounds, and no further once so many are right."""
    settled: float | None = Field(None, gt=0, lt=1)
    """Ask in rounds, and no further once one answer, right or wrong, has more than this share of `n`; at 0.5
    no other answer can overtake it."""
    hint: Literal["never", "always", "failed"] = "never"
    """When the gold answer is shown: "failed" asks once more, and shows it, where no completion was right."""
    temperatures: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """Sample i is drawn at entry i of these, from the first again; empty: all at `temperature`."""
    styles: tuple[Style, ...] = ()
    """Sample i is asked for in entry i of these, from the first again; empty: all in the prompt's."""
    truncated: Literal["drop", "retry"] = "drop"
    """What to do about a completion that was cut off by its limit: leave it, or ask again once with more."""
    retry_max_tokens: int | None = Field(None, gt=0)
    """The limit when it is asked for again."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.until_correct is not None and self.until_correct > self.n:
            raise ValueError(f"until_correct cannot be more than n, which is {self.n}")
        if (self.truncated == "retry") != (self.retry_max_tokens is not None):
            raise ValueError("truncated 'retry' and retry_max_tokens belong together; give both or neither")
        return self

    @property
    def in_rounds(self) -> bool:
        """Whether what is asked for depends on what was answered."""
        return not (
            self.until_correct is None
            and self.settled is None
            and self.hint != "failed"
            and self.truncated == "drop"
        )


def contradictions(policy: PolicySpec, sampling: Sampling, prompt: PromptSpec) -> Iterator[tuple[str, str]]:
    """(key of `sampling` in the recipe, what is wrong) wherever it cannot go with the rest of the recipe."""
    styles = set(policy.styles or (prompt.style,))
    if policy.hint != "never" and "bare" in styles:
        yield "hint", "style 'bare' cannot show the answer: use few_shot or zero_shot, or 'hint: never'"
    if policy.hint == "failed" and prompt.show_answer:
        yield "hint", "prompt.show_answer shows every answer already: remove it, or 'hint: failed'"
    if "few_shot" in policy.styles and prompt.exemplars == 0:
        yield "styles", "style 'few_shot' needs at least one exemplar: raise prompt.exemplars"
    if policy.retry_max_tokens is not None and policy.retry_max_tokens <= sampling.max_tokens:
        yield (
            "retry_max_tokens",
            f"asking again with {policy.retry_max_tokens} tokens is no help when max_tokens is "
            f"{sampling.max_tokens}: raise it",
        )
    plain = [ask(policy, sample) for sample in range(policy.n)]
    cold = [one.style for one in plain if _or(one.temperature, sampling.temperature) == 0]
    if len(set(cold)) < len(cold):
        yield (
            "n",
            f"{len(cold)} of {policy.n} samples are drawn at temperature 0, where all of one style would be "
            "the same: raise the temperature or ask for fewer",
        )


# ---------------------------------------------------------------- one sample


@dataclass(frozen=True, slots=True)
class Ask:
    """One completion to be asked for. What is None is as the recipe has it."""

    sample: int
    temperature: float | None = None
    max_tokens: int | None = None
    style: Style | None = None
    hinted: bool = False
    """The gold answer is shown."""

    def sampling(self, base: Sampling) -> Sampling:
        return Sampling(
            temperature=_or(self.temperature, base.temperature),
            top_p=base.top_p,
            max_tokens=_or(self.max_tokens, base.max_tokens),
            stop=base.stop,
            seed=base.seed,
        )


def ask(policy: PolicySpec, sample: int) -> Ask:
    """How the sample of this number is asked for."""
    index = sample % HINTED
    return Ask(
        sample,
        temperature=policy.temperatures[index % len(policy.temperatures)] if policy.temperatures else None,
        max_tokens=policy.retry_max_tokens if sample >= AGAIN else None,
        style=policy.styles[index % len(policy.styles)] if policy.styles else None,
        hinted=shows_answer(policy, sample),
    )


def shows_answer(policy: PolicySpec, sample: int) -> bool:
    """Whether the sample of this number is asked for with the gold answer shown."""
    return policy.hint == "always" or is_hinted(sample)


class Seen(NamedTuple):
    """What a round needs to know of a completion."""

    sample: int
    right: bool = False
    wrong: str = ""
    """The wrong answer that was read; empty if there is none."""
    cut_off: bool = False
    unanswered: bool = False
    """It failed, and asking again may help."""


def look(question: Question, completion: Completion, form: AnswerForm) -> Seen:
    """Judge a completion. One that was cut off is never right: it is not trained on."""
    if completion.finish_reason != "stop":
        cut_off = completion.finish_reason == "length"
        return Seen(completion.sample, cut_off=cut_off, unanswered=transient(completion))
    verdict = answers.judge(completion.text, question.answer, form, question.choices)
    right = verdict.name == "correct"
    return Seen(completion.sample, right, "" if right else verdict.extracted or "")


# ---------------------------------------------------------------- rounds


def next_round(policy: PolicySpec, seen: Sequence[Seen]) -> list[Ask]:
    """What to ask for next, given all that one question has got; nothing when it is done.

    A question with an unanswered sample rests until that is answered: the next run asks for it.
    """
    if any(one.unanswered for one in seen):
        return []
    again = _cut_off(policy, seen)
    samples = again + _plain(policy, seen, len(again))
    return [ask(policy, sample) for sample in samples or _with_hint(policy, seen)]


def _cut_off(policy: PolicySpec, seen: Sequence[Seen]) -> list[int]:
    """Those that are to be asked for again, each only once."""
    if policy.truncated == "drop":
        return []
    there = {one.sample for one in seen}
    return [
        one.sample + AGAIN
        for one in seen
        if one.cut_off and one.sample < AGAIN and one.sample + AGAIN not in there
    ]


def _plain(policy: PolicySpec, seen: Sequence[Seen], pending: int) -> list[int]:
    """New samples without a hint: as many as could do if all of them, and what is pending, were good."""
    given = {one.sample: one for one in seen if not is_hinted(one.sample)}
    free = [sample for sample in range(policy.n) if sample not in given]
    wanted = len(free)
    right = sum(one.right for one in given.values())
    if policy.until_correct is not None:
        wanted = min(wanted, policy.until_correct - right - pending)
    if policy.settled is not None:
        votes = Counter(one.wrong for one in given.values() if one.wrong)
        short = _more_than(policy.settled, policy.n) - max(right, *votes.values(), 0)
        if short <= len(free) + pending:  # otherwise no answer can get there any more
            wanted = min(wanted, short - pending)
    return free[: max(0, wanted)]


def _more_than(share: float, n: int) -> int:
    """The least count that is more than this share of `n`: 0.29 of 100 is 29, whatever floats say."""
    return math.floor(round(share * n, 9)) + 1


def _with_hint(policy: PolicySpec, seen: Sequence[Seen]) -> list[int]:
    if policy.hint != "failed" or any(one.right or is_hinted(one.sample) for one in seen):
        return []
    return [HINTED]


def is_hinted(sample: int) -> bool:
    """Whether it was asked for with the answer shown because all without were wrong."""
    return sample % AGAIN >= HINTED


def _or(value: Number | None, otherwise: Number) -> Number:
    return otherwise if value is None else value


# ---------------------------------------------------------------- several teachers


def assign(questions: Sequence[Question], shares: Sequence[float], seed: int = 0) -> list[list[Question]]:
    """The questions that each of several teachers gets, in their order, in about these shares.

    A hash of the question and the seed decides, so adding questions or changing their order moves none, and
    other shares move only as many as they must. Shares are relative: (3, 1) is (0.75, 0.25).
    """
    bounds = list(accumulate(shares))
    parts: list[list[Question]] = [[] for _ in shares]
    for question in questions:
        digest = hashlib.sha256(f"{seed}:{question.id}".encode()).digest()
        point = int.from_bytes(digest[:6], "big") / 2**48 * bounds[-1]
        parts[min(bisect_right(bounds, point), len(shares) - 1)].append(question)
    return parts
