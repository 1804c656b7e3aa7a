"""as_es: the rationale in segments, taught and asked turn by turn, until the answer is stated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tiny import BOOLEAN, CHOICE, quiet, scratch, spec
from understudy.answers import judge, write
from understudy.methods.as_es import AbstractiveExtractive
from understudy.training import train
from understudy.types import Question, Rationale, Sampling, Written


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


STORY = Question("Tom has 2 apples. Ann gives him 3 more. How many has he?", "5")
TOLD = "Tom has 2 apples. Ann gives 3 more. So we add them up. 2 + 3 = 5. He has 3 more."
PUT = "Question: Tom has 2 apples. Ann gives him 3 more. How many has he? Solution:"
WRITTEN = [
    "Extract: Tom has 2 apples. Ann gives 3 more.",
    "Infer: So we add them up. 2 + 3 = 5.",
    "Extract: He has 3 more.",
    "The answer is 5.",
]


def told(text: str = TOLD) -> Rationale:
    return Rationale(STORY.id, 0, text, "5")


def test_as_es_writes_segment_after_segment_until_the_answer() -> None:
    (group,) = AbstractiveExtractive().examples("turn1", STORY, [told()], "number")
    assert [example.target for example in group] == WRITTEN
    assert [example.source for example in group] == [
        f"{PUT} Next:",
        f"{PUT} {WRITTEN[0]} Next:",
        f"{PUT} {WRITTEN[0]} {WRITTEN[1]} Next:",
        f"{PUT} {WRITTEN[0]} {WRITTEN[1]} {WRITTEN[2]} Next:",
    ]
    assert {example.objective for example in group} == {"segment"}
    assert AbstractiveExtractive().examples("turn2", STORY, [told()], "number") == []


def test_as_es_asks_as_it_trains_and_stops_at_the_answer() -> None:
    method = AbstractiveExtractive()
    (group,) = method.examples("turn1", STORY, [told()], "number")
    written: dict[str, str] = {}
    for number, example in enumerate(group, 1):
        assert method.prompt(f"turn{number}", STORY, written) == example.source
        written[f"turn{number}"] = example.target
    assert method.prompt("turn5", STORY, written) is None
    assert method.prompt("turn6", STORY, written) is None
    assert method.prompt("turn2", STORY, {"turn1": ""}) is None, "nothing more comes of the same prompt"
    texts = [Written(stage, text, "stop", 1) for stage, text in written.items()]
    settled = method.settle(STORY, texts, "number", {})
    assert settled.text == f"{TOLD} The answer is 5."
    assert settled.written == tuple(texts)
    unfinished = method.settle(STORY, texts[:1], "number", {})
    assert judge(unfinished.text, "5", "number").name != "correct"


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        (2, ["Infer: Tom has 2 apples. Ann gives 3 more. So we add them up. 2 + 3 = 5. He has 3 more."]),
        (3, [WRITTEN[0], "Infer: So we add them up. 2 + 3 = 5. He has 3 more."]),
        (4, WRITTEN[:3]),
    ],
)
def test_as_es_always_has_a_turn_left_for_the_answer(turns: int, wanted: list[str]) -> None:
    method = AbstractiveExtractive(turns=turns)
    (group,) = method.examples("turn1", STORY, [told()], "number")
    assert [example.target for example in group] == [*wanted, "The answer is 5."]
    assert len(group) <= len(method.stages()) == turns


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Tom has apples.", "Extract:"),
        ("Tom has plenty of nice pears.", "Infer:"),
        ("Tom has 9 apples.", "Infer:"),  # all but the number
        ("...", ""),
        ("", ""),
    ],
)
def test_as_es_tells_what_is_taken_from_the_question(text: str, kind: str) -> None:
    (group,) = AbstractiveExtractive().examples("turn1", STORY, [told(text)], "number")
    segments = [example.target for example in group[:-1]]
    assert segments == ([f"{kind} {text}"] if kind else [])


def test_as_es_reads_options_and_context_as_the_question() -> None:
    for question, text in ((CHOICE, "An apple is a fruit."), (BOOLEAN, "Fish have no legs.")):
        given = Rationale(question.id, 0, text, question.answer)
        (group,) = AbstractiveExtractive().examples("turn1", question, [given], "text")
        assert group[0].target == f"Extract: {text}"


@pytest.mark.parametrize(("name", "steps"), [("causal", 80), ("seq2seq", 50)])
def test_as_es_answers_turn_by_turn_after_training(name: str, steps: int, tmp_path: Path) -> None:
    """Two questions by heart, asked as the evaluation asks: each turn reads what was written before."""
    method = AbstractiveExtractive(turns=4)
    questions = [STORY, Question("Ann has 4 pens. How many has she?", "4")]
    rationales = [told("Tom has 2 apples. We add up to 5."), Rationale(questions[1].id, 0, "Ann has 4.", "4")]
    groups = [
        group
        for question, given in zip(questions, rationales, strict=True)
        for group in method.examples("turn1", question, [given], "number")
    ]
    record = train(
        scratch(name),
        groups,
        spec(steps, batch_tokens=512, checkpoints=0, beta2=0.98),
        learning_rate=5e-3,
        seed=0,
        folder=tmp_path,
        progress=quiet,
    )
    assert record["final_loss"] < 0.1
    live = scratch(name).load(tmp_path / "model")
    for question, given in zip(questions, rationales, strict=True):
        said: list[Written] = []
        for stage in method.stages():
            prompt = method.prompt(stage.name, question, {part.stage: part.text for part in said})
            if prompt is not None:
                (text,) = live.generate([prompt], Sampling(max_tokens=24))
                said.append(Written(stage.name, text.text, text.finish_reason, text.tokens))
        settled = method.settle(question, said, "number", {})
        assert settled.text == f"{given.text} {write(given.answer, 'number')}"
        assert len(said) < 4, "nothing is asked for after the answer"
