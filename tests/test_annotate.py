"""Annotation: everything asked, in order, through the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from test_ledger import Toy
from understudy.annotate import annotate
from understudy.errors import TeacherError
from understudy.ledger import Ledger
from understudy.prompts import PromptSpec
from understudy.roles import Task
from understudy.types import Completion, Question, Request, Sampling

TASK = Task("toy", "Toy", "number", ("train",), lambda split, source: [], (), "none", "")
QUESTIONS = [Question(text, "1") for text in ("one?", "two?", "three?")]
BARE = PromptSpec(style="bare")


def test_the_order_is_that_of_questions_then_samples(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        # The toy answers backwards.
        got = annotate(
            QUESTIONS, TASK, Toy(), BARE, Sampling(), 2, ledger, lambda *counts: heard.append(counts)
        )
    assert [(c.question_id, c.sample) for c in got] == [(q.id, s) for q in QUESTIONS for s in (0, 1)]
    assert got[2].text == "toy: Question: two? #0"
    assert heard == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("stop", [TeacherError("broken; mend it"), KeyboardInterrupt()])
def test_an_interrupted_annotation_goes_on_where_it_was(tmp_path: Path, stop: BaseException) -> None:
    class Interrupted(Toy):
        def complete(
            self, requests: Sequence[Request], sampling: Sampling
        ) -> Iterator[tuple[int, Completion]]:
            for count, item in enumerate(super().complete(requests, sampling)):
                if count == 4:
                    raise stop
                yield item

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(type(stop)):
            annotate(QUESTIONS, TASK, Interrupted(), BARE, Sampling(), 2, ledger)
        assert ledger.asked == 4
        assert len(annotate(QUESTIONS, TASK, Toy(), BARE, Sampling(), 2, ledger)) == 6
        assert (ledger.asked, ledger.reused) == (6, 4)
