"""The filters: each is one entry of a table, in the order in which they apply.

A completion is dropped for the first reason that applies and is asked about. What each check catches, asked
about or not, is counted apart, so that one sees what a filter would cost before switching it on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from understudy import answers
from understudy.checks.characters import t5_missing
from understudy.checks.equations import wrong
from understudy.checks.language import foreign
from understudy.checks.likeness import diverse, near_duplicates
from understudy.curate._spec import CurateSpec
from understudy.curate._texts import Text


class Check(NamedTuple):
    """A fault of one text."""

    reason: str
    key: str
    """The key of the recipe that asks about it; empty if it is always asked about."""
    catches: Callable[[Text, CurateSpec], bool]
    always: bool = True
    """Whether its catch is counted when it is switched off; not where it needs a bound or much time."""

    def wanted(self, spec: CurateSpec) -> bool:
        return not self.key or bool(getattr(spec, self.key))


class Choice(NamedTuple):
    """A fault that some texts of a question have beside the others: their places among them."""

    reason: str
    key: str
    catches: Callable[[Sequence[Text], CurateSpec], set[int]]
    always: bool = False

    def wanted(self, spec: CurateSpec) -> bool:
        return bool(getattr(spec, self.key))


def _too_short(text: Text, spec: CurateSpec) -> bool:
    return len(text.text.split()) < (spec.min_words or 0)


def _too_long(text: Text, spec: CurateSpec) -> bool:
    return spec.max_words is not None and len(text.text.split()) > spec.max_words


def _foreign(text: Text, spec: CurateSpec) -> bool:
    return spec.language is not None and foreign(text.text, spec.language)


# A cut-off text rarely holds an answer, so that reason comes first.
CHECKS = (
    Check("cut off", "complete", lambda text, _: text.completion.finish_reason == "length"),
    Check("no answer", "", lambda text, _: text.verdict.name == "no_answer"),
    Check("doubtful gold answer", "trusted_gold", lambda text, _: text.gold_doubted),
    Check("wrong answer", "right_answer", lambda text, _: text.verdict.name == "wrong"),
    Check("no rationale", "", lambda text, _: not text.text.strip()),
    Check("loops", "loops", lambda text, _: answers.loop(text.text) is not None),
    Check("too short", "min_words", _too_short, always=False),
    Check("too long", "max_words", _too_long, always=False),
    Check("another language", "language", _foreign, always=False),
    Check("wrong equation", "right_steps", lambda text, _: bool(wrong(text.text))),
    Check("betrays the hint", "unhinted", lambda text, _: text.hinted),
    Check("characters T5 lacks", "t5_writable", lambda text, _: bool(t5_missing(text.text))),
)


def _repeated(texts: Sequence[Text], _: CurateSpec) -> set[int]:
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(" ".join(text.text.split()), place)
    return set(range(len(texts))) - set(first.values())


def _near(texts: Sequence[Text], spec: CurateSpec) -> set[int]:
    earlier = near_duplicates([text.text for text in texts], spec.near_duplicates or 1)
    return {place for place, other in enumerate(earlier) if other is not None}


def _over(texts: Sequence[Text], spec: CurateSpec) -> set[int]:
    limit = spec.per_question or len(texts)
    if spec.pick == "diverse":
        return set(range(len(texts))) - set(diverse([text.text for text in texts], limit))
    return set(range(limit, len(texts)))


# They look at what the checks have left. The limit comes last, so that it counts good ones only.
CHOICES = (
    Choice("repeated", "distinct", _repeated, always=True),
    Choice("near duplicate", "near_duplicates", _near),
    Choice("over the limit per question", "per_question", _over),
)


class Sieve:
    """What was kept and counted so far."""

    def __init__(self, spec: CurateSpec) -> None:
        self.spec = spec
        self.checks = [check for check in CHECKS if check.always or check.wanted(spec)]
        self.choices = [choice for choice in CHOICES if choice.always or choice.wanted(spec)]
        self.kept: list[Text] = []
        self.dropped: Counter[str] = Counter()
        self.flagged = {reason: 0 for reason, *_ in (*self.checks, *self.choices)}
        self.correct = 0

    def put(self, texts: Sequence[Text]) -> None:
        """All that was said to one question, in the order of samples."""
        self.correct += sum(text.verdict.name == "correct" for text in texts)
        left = [text for text in texts if not self._fault(text)]
        for choice in self.choices:
            self.flagged[choice.reason] += len(choice.catches(texts, self.spec))
            if choice.wanted(self.spec):
                out = choice.catches(left, self.spec)
                self.dropped[choice.reason] += len(out)
                left = [text for place, text in enumerate(left) if place not in out]
        self.kept += left

    def _fault(self, text: Text) -> bool:
        """Count all that is wrong with a text, and drop it for the first fault that is asked about."""
        caught = [check for check in self.checks if check.catches(text, self.spec)]
        for check in caught:
            self.flagged[check.reason] += 1
        asked = [check.reason for check in caught if check.wanted(self.spec)]
        self.dropped.update(asked[:1])
        return bool(asked)
