"""as_es: the rationale segment by segment, what is taken from the question and what is concluded apart.

After AS-ES learning (Xi et al., arXiv 2403.01969), with its unified single model: one student is asked again
and again, reads what it has written so far, and writes the next segment, until it states the answer.

    ... Solution: Next:                                             -> Extract: Tom has 2 apples and buys 3.
    ... Solution: Extract: Tom has 2 apples and buys 3. Next:       -> Infer: So he has 2 + 3 = 5.
    ... Solution: Extract: Tom ... 3. Infer: So he ... = 5. Next:   -> The answer is 5.

We have read the paper in part only. Ours is what makes a sentence extractive (its words are mostly the
question's, and all its numbers are), that neighbours of one kind are one segment, and that the student writes
the kind itself, for at test time nobody else knows it. The paper's variant with two models is not here. The
catch: every segment is read again for the next one, so a question costs more source tokens, and a student
that has not answered by the last turn has no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar, Literal

from pydantic import Field

from understudy.answers import CUE, write
from understudy.audit.sentences import sentences
from understudy.checks.likeness import normal
from understudy.prompts import render
from understudy.roles import Method, Stage
from understudy.types import AnswerForm, Example, Prediction, Question, Rationale, Written

__all__ = ["AbstractiveExtractive"]

_KINDS = {True: "Extract:", False: "Infer:"}
_MARK = re.compile(r"(?:Extract|Infer)\s?:\s*")


class AbstractiveExtractive(Method):
    """Fine-tuning on the next segment, given the question and the segments before it."""

    name: Literal["as_es"] = "as_es"
    SOURCE: ClassVar[str] = "Xi et al., AS-ES Learning, arXiv 2403.01969"
    turns: int = Field(6, ge=2)
    """Segments of a text at most, the answer included. In training what is too much goes into the last
    segment before the answer; at test time no further one is written."""
    overlap: float = Field(0.5, gt=0, le=1)
    """Part of a sentence's different words that must stand in the question for it to be extractive."""

    def stages(self) -> tuple[Stage, ...]:
        first = Stage("turn1", writes="both")
        rest = (Stage(f"turn{n}", writes="both", share=0, uses="turn1") for n in range(2, self.turns + 1))
        return (first, *rest)

    def examples(
        self, stage: str, question: Question, rationales: Sequence[Rationale], form: AnswerForm
    ) -> list[tuple[Example, ...]]:
        """A group for each rationale: one example a segment, and one for the answer."""
        if stage != "turn1":
            return []
        groups = []
        for rationale in rationales:
            targets = [*self._segments(rationale.text, question), write(rationale.answer, form)]
            sources = (_asked(question, targets[:at]) for at in range(len(targets)))
            groups.append(
                tuple(
                    Example(question.id, source, target, "segment")
                    for source, target in zip(sources, targets, strict=True)
                )
            )
        return groups

    def _segments(self, text: str, question: Question) -> list[str]:
        """The rationale in at most `turns` - 1 parts, each with its kind before it; nothing is lost."""
        starts = [start for start, _ in sentences(text)]
        spans = zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True) if starts else ()
        said = [" ".join(text[start:end].split()) for start, end in spans]
        asked = set(normal(render(question)).split())
        parts = [
            (extractive, " ".join(run))
            for extractive, run in groupby(said, lambda sentence: self._is_extractive(sentence, asked))
        ]
        most = self.turns - 1
        if len(parts) > most:
            rest = parts[most - 1 :]
            parts[most - 1 :] = [(all(kind for kind, _ in rest), " ".join(part for _, part in rest))]
        return [f"{_KINDS[extractive]} {part}" for extractive, part in parts]

    def _is_extractive(self, sentence: str, asked: set[str]) -> bool:
        words = set(normal(sentence).split())
        if any(character.isdigit() for word in words - asked for character in word):
            return False
        return bool(words) and len(words & asked) >= self.overlap * len(words)

    def prompt(self, stage: str, question: Question, written: Mapping[str, str]) -> str | None:
        """None once the answer is stated, or once nothing was written."""
        names = [one.name for one in self.stages()]
        earlier = names[: names.index(stage)]
        texts = [" ".join(written[name].split()) for name in earlier if name in written]
        if any(not text or text.startswith(CUE) for text in texts):
            return None
        return _asked(question, texts)

    def settle(
        self,
        question: Question,
        written: Sequence[Written],
        form: AnswerForm,
        tuned: Mapping[str, Any],
    ) -> Prediction:
        """The segments as one text, without their kinds."""
        del form, tuned
        texts = (
            _MARK.sub("", part.text, count=1) if _MARK.match(part.text) else part.text for part in written
        )
        return Prediction(question.id, tuple(written), " ".join(text for text in texts if text))


def _asked(question: Question, texts: Sequence[str]) -> str:
    return " ".join((render(question), "Solution:", *texts, "Next:"))
