"""The hint leak: sentences, the independent reader, and what the section says of both."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from audit_toys import SKY, STONE, material, said
from understudy.audit.leak import leak
from understudy.audit.material import Material
from understudy.audit.reader import PASSAGE, READING, ReadBack, prompt, read_back
from understudy.audit.sentences import sentences, without_last
from understudy.ledger import Ledger
from understudy.roles import Completer, Identity, Landed
from understudy.types import Completion, FinishReason, Question, Request, Sampling

# ---------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs $3.50. That is 3.5 m. Good.", ["It costs $3.50.", "That is 3.5 m.", "Good."]),
        ("Dr. Who met Mr. X at 5 a.m. today. Done.", ["Dr. Who met Mr. X at 5 a.m. today.", "Done."]),
        ("Plants, e.g. trees, grow. Yes.", ["Plants, e.g. trees, grow.", "Yes."]),
        ("So R. Kelly sings. He does.", ["So R. Kelly sings.", "He does."]),
        ("It is option B. So be it.", ["It is option B.", "So be it."]),
        ("1. First.\n2. Second.", ["1. First.", "2. Second."]),
        ("It is the sun.2. Flowers wilt.3. End", ["It is the sun.", "2. Flowers wilt.", "3. End"]),
        ("Stars shine.The end", ["Stars shine.", "The end"]),
        ("2 + 3 = 5\n\n5 * 2 = 10", ["2 + 3 = 5", "5 * 2 = 10"]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("Well... maybe.", ["Well...", "maybe."]),
        ("", []),
        (" .\n** ", []),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == parts


@pytest.mark.parametrize(
    ("text", "rest"),
    [("One. Two.\n **\n", "One."), ("Only 3.5 of it.", ""), ("", ""), ("1. One.\n2. Two.", "1. One.")],
)
def test_the_last_sentence_is_taken_away(text: str, rest: str) -> None:
    assert without_last(text) == rest


@pytest.mark.parametrize("unit", [". ", "a.", "1. ", "R. ", ".", "\n", "x", " ", "....  ", ".*", "e.g"])
def test_a_megabyte_is_split_in_seconds(unit: str) -> None:
    """About one on an idle core; what grows with the square of the length would take many minutes."""
    started = time.process_time()
    without_last(unit * (1_000_000 // len(unit)))
    assert time.process_time() - started < 4


# ---------------------------------------------------------------- the reader


class Reader:
    """Says B where the reasoning to read holds "blue", fails on "later" and "never", else says A."""

    identity = Identity("toy", "reader")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        assert sampling == READING
        for position, request in reversed(list(enumerate(requests))):
            text = request.messages[-1].content
            self.asked.append(text)
            _, _, passage = text.partition(PASSAGE)
            error = "unanswered" if "later" in passage else "too long" if "never" in passage else ""
            reply = "The answer is (B)." if "blue" in passage else "The answer is (A)."
            finish: FinishReason = "error" if error else "stop"
            yield [
                (position, Completion(request.question.id, 0, "" if error else reply, finish, error=error))
            ]

    def close(self) -> None:
        pass


def read(made: Material, folder: Path, limit: int | None = None, reader: Completer | None = None) -> ReadBack:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return read_back(made, reader or Reader(), ledger, limit)


SAID = (
    "It is blue. It is far away. The answer is (B).",
    "It is far away. It is blue. The answer is (B).",
    "It is wet and blue. It is near. The answer is (A).",
    "Only one sentence. The answer is (B).",
    "I do not know.",
)


def told(*texts: str, question: Question = SKY) -> Material:
    return material([question], [said(question, i, text) for i, text in enumerate(texts)], "choice")


def test_a_reader_sees_the_question_and_the_cut_rationale() -> None:
    assert prompt(SKY, "choice", "It is blue.").splitlines() == [
        "Read the reasoning and say to which answer it leads. "
        'Reply with the sentence "The answer is (<letter>)."',
        "",
        "Question: Which is up? Options: (A) the sea (B) the sky",
        "Reasoning to read: It is blue.",
    ]
    assert PASSAGE not in prompt(SKY, "choice")
    assert prompt(SKY, "boolean").startswith('Answer the question. Reply with the sentence "The answer is <a')


def test_the_rationale_is_read_without_its_end_and_against_its_own_answer(tmp_path: Path) -> None:
    reader = Reader()
    got = read(told(*SAID), tmp_path, reader=reader)
    assert [one.answered.completion.sample for one in got.reads] == [0, 1, 2]
    assert [one.after.name for one in got.reads] == ["correct", "wrong", "wrong"]
    assert [one.alone.name for one in got.reads] == ["wrong", "wrong", "correct"]
    assert [one.completion.sample for one in got.nothing_left] == [3]
    assert (got.reader, got.unanswered) == ("reader", 0)
    assert sum(PASSAGE in text for text in reader.asked) == 3
    assert sum(PASSAGE not in text for text in reader.asked) == 1, "the question alone is asked once"
    assert not any("The answer is (B)" in text.partition(PASSAGE)[2] for text in reader.asked)


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    read(told(*SAID), tmp_path)
    again = Reader()
    assert len(read(told(*SAID), tmp_path, reader=again).reads) == 3
    assert again.asked == []


def test_what_could_not_be_asked_is_counted_and_other_failures_are_answers(tmp_path: Path) -> None:
    texts = (
        "Now. Then. The answer is (B).",
        "later. Then. The answer is (B).",
        "never. Then. The answer is (B).",
    )
    got = read(told(*texts), tmp_path)
    assert got.unanswered == 1
    assert [(one.answered.completion.sample, one.after.name) for one in got.reads] == [
        (0, "wrong"),
        (2, "no_answer"),
    ]


def test_a_limit_reads_evenly_over_all(tmp_path: Path) -> None:
    made = told(*(f"Point {i}. It is blue. The answer is (B)." for i in range(10)))
    got = read(made, tmp_path, limit=4)
    assert [one.answered.completion.sample for one in got.reads] == [0, 2, 5, 7]
    assert len(read(made, tmp_path, limit=99).reads) == 10


def test_a_material_without_readable_answers_asks_nothing(tmp_path: Path) -> None:
    reader = Reader()
    got = read(told("I do not know."), tmp_path, reader=reader)
    assert (got.reads, got.nothing_left, reader.asked) == ((), (), [])
    assert "no right rationale" in leak(told("I do not know."), got).sentences[-1]


# ---------------------------------------------------------------- the section


def hint_toys(shown: bool | None) -> Material:
    texts = [
        "The sky is above the sea. It is blue. The answer is (B).",
        "The answer is (B). The sky is above the sea. The answer is (B).",
        "The sea is below. As the correct answer is given as (B), it is the sky. The answer is (B).",
        "The sea is wet. The answer is (A).",
    ]
    completions = [said(SKY, i, text) for i, text in enumerate(texts)]
    return material([SKY, STONE], completions, "choice", shown_answer=shown)


def test_the_section_counts_each_detection_of_all_and_of_the_right_ones() -> None:
    section = leak(hint_toys(True))
    counted = {row[0]: row[1:] for row in section.rows}
    assert counted["the answer stands before any reasoning"][:2] == ("1", "4")
    assert counted["the wording betrays the hint"][:2] == ("1", "4")
    assert counted["either of the two"][3:5] == ("2", "3")
    assert section.numbers["either"]["right"]["share"] == pytest.approx(2 / 3)
    assert section.sentences[0].startswith("2 of 4 (50.0 %, 95 % interval [")
    assert section.sentences[1] == "The teacher was shown the gold answer."
    assert section.numbers["shown_answer"] is True
    assert section.numbers["reader"] is None
    assert "No independent reader" in section.sentences[-1]


@pytest.mark.parametrize(("shown", "words"), [(False, "was not shown"), (None, "not known")])
def test_the_section_says_whether_the_answer_was_shown(shown: bool | None, words: str) -> None:
    assert words in leak(hint_toys(shown)).sentences[1]


def test_the_section_says_what_the_rationales_carry(tmp_path: Path) -> None:
    made = told(*SAID)
    section = leak(made, read(made, tmp_path))
    counted = {row[0]: row[1:] for row in section.rows}
    assert counted["the reader finds the answer in the cut rationale"][:2] == ("1", "3")
    assert counted["the reader finds it in the question alone"][3:5] == ("0", "2")
    assert counted["one sentence: nothing left to read"][3:5] == ("1", "3")
    text = " ".join(section.sentences)
    assert "finds the answer of 1 of 2 (50.0 %" in text
    assert "+50.0 points (exact McNemar p = 1.000; 1 found only with the rationale, 0 only without)" in text
    assert "1 rationales are one sentence long" in text


def test_an_empty_material_has_a_section() -> None:
    section = leak(told())
    assert section.sentences[0].startswith("0 of 0")
    assert section.numbers["either"]["all"]["share"] is None
