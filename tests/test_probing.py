"""Probes on a student that reads its answer off its rationale, and on one that does not look at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from small import QUESTIONS as FORMS
from understudy import shelves
from understudy.errors import DataError, RecipeError
from understudy.evaluate import Asked, judge_all, predict
from understudy.ledger import Ledger
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.cascade import Cascade
from understudy.methods.dpo import DirectPreference
from understudy.methods.single_stage import SingleStage
from understudy.methods.two_stage import TwoStage
from understudy.probing import (
    NO_REASONING,
    Place,
    Probed,
    applies,
    outcome,
    place_of,
    probe_of,
    probed,
    requests_for,
)
from understudy.report.faithfulness import Probing, Reading, Which, attribution, faithfulness
from understudy.roles import Changed, Identity, Landed, Material, Method, Skipped
from understudy.types import (
    AnswerForm,
    Completion,
    Judged,
    Prediction,
    Question,
    Request,
    Sampling,
    Written,
)

SUMS = [Question(f"What is {n} + 10?", str(n + 10)) for n in range(20, 28)]


def last_number(text: str) -> str:
    found: list[str] = re.findall(r"\d+", text)
    return found[-1] if found else "0"


def thought(question: str) -> str:
    """ "I take 20. 20 + 10 = 30." """
    first, second = re.findall(r"\d+", question)
    return f"I take {first}. {first} + {second} = {int(first) + int(second)}."


class Student:
    """Thinks in two sentences. What it answers is the last number of what it reads, or, if it is not
    `faithful`, the sum of the question whatever stands in its rationale."""

    def __init__(self, name: str, writes: str, faithful: bool) -> None:
        self.identity = Identity("local", name)
        self.writes = writes
        self.faithful = faithful
        self.asked = 0

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        del sampling
        for position, request in enumerate(requests):
            self.asked += 1
            source = request.messages[0].content
            prefix = request.messages[1].content if len(request.messages) > 1 else ""
            text = self._text(source, prefix)
            yield [(position, Completion(request.question.id, 0, text, "stop", 5, len(text.split())))]

    def _text(self, source: str, prefix: str) -> str:
        question, _, solution = source.partition("Solution:")
        own = prefix or thought(question)
        read = (solution if self.writes == "answer" else own) if self.faithful else thought(question)
        if self.writes == "rationale":
            return f"So {last_number(read)}." if prefix else own
        if self.writes == "answer":
            return f"The answer is {last_number(read)}."
        if prefix.endswith("is"):
            return f"{last_number(read)}."
        return f"{'' if prefix else own} The answer is {last_number(read)}."

    def close(self) -> None:
        """Nothing is open."""


def students(method: Method, faithful: bool) -> dict[str, Student]:
    return {stage.name: Student(stage.name, stage.writes, faithful) for stage in method.stages()}


def answered(
    folder: Path, method: Method, who: Mapping[str, Student], questions: Sequence[Question], asked: Asked
) -> list[Prediction]:
    with Ledger(folder / "ledger.sqlite") as ledger:
        written = list(predict(questions, method, who, asked, ledger, lambda *_: None))
    return [Prediction(q.id, texts) for q, (texts,) in zip(questions, written, strict=True)]


def run(folder: Path, probe: str, method: Method, faithful: bool) -> tuple[dict[str, Any], Probed]:
    """What the probe does to a student's answers to the sums."""
    who, greedy = students(method, faithful), Sampling(max_tokens=64)
    before = answered(folder, method, who, SUMS, Asked(greedy))
    change = probed(probe_of(probe), method, SUMS, before, "number")
    asked = Asked(greedy, given=change.given, prefixes=change.prefixes)
    after = answered(folder, method, who, change.questions, asked)
    rows = judge_all(SUMS, before, "number"), judge_all(change.questions, after, "number")
    return outcome(*rows, change.origin, change.skipped), change


# ---------------------------------------------------------------- what probes find


@pytest.mark.parametrize("method", [SingleStage(), TwoStage()], ids=lambda method: method.name)
@pytest.mark.parametrize("probe", ["empty", "early:0.5", "filler", "swapped", "gold_free", "mistake"])
def test_a_faithful_student_follows_every_change_and_an_unfaithful_one_none(
    method: Method, probe: str, tmp_path: Path
) -> None:
    for name in ("faithful", "deaf"):
        (tmp_path / name).mkdir()
    found, _ = run(tmp_path / "faithful", probe, method, faithful=True)
    assert (found["n"], found["skipped"], found["changed"]) == (8, {}, 1.0)
    assert (found["accuracy_before"], found["accuracy"]) == (1.0, 0.0)
    assert (found["paired"]["only_a"], found["paired"]["only_b"]) == (0, 8)
    assert found["paired"]["difference"] == -1.0
    assert found["paired"]["p_value"] == pytest.approx(2 / 2**8)
    assert found["changed_interval"] == pytest.approx([1 / (1 + 3.841459 / 8), 1.0], abs=1e-6)
    found, _ = run(tmp_path / "deaf", probe, method, faithful=False)
    assert (found["n"], found["changed"], found["accuracy"]) == (8, 0.0, 1.0)
    assert found["paired"]["p_value"] == 1.0


def test_where_the_answer_stands_at_the_end_of_the_text_it_is_begun_with_what_was_changed(
    tmp_path: Path,
) -> None:
    _, change = run(tmp_path, "early:0.5", SingleStage(), faithful=True)
    assert change.prefixes == {"rationale": {q.id: f"I take {last_of(q)}. The answer is" for q in SUMS}}
    assert change.given == {}


def test_where_a_later_stage_reads_the_rationale_what_was_changed_stands_in_for_it(tmp_path: Path) -> None:
    _, change = run(tmp_path, "early:0.5", TwoStage(), faithful=True)
    assert change.given == {"rationale": {q.id: f"I take {last_of(q)}." for q in SUMS}}
    assert change.prefixes == {}


def last_of(question: Question) -> int:
    return int(question.answer) - 10


def test_after_a_mistake_stage_one_goes_on_and_stage_two_reads_both(tmp_path: Path) -> None:
    method, greedy = TwoStage(), Sampling(max_tokens=64)
    who = students(method, faithful=True)
    before = answered(tmp_path, method, who, SUMS, Asked(greedy))
    change = probed(probe_of("mistake"), method, SUMS, before, "number")
    after = answered(tmp_path, method, who, SUMS, Asked(greedy, prefixes=change.prefixes))
    for question, prediction in zip(SUMS, after, strict=True):
        wrong = change.prefixes["rationale"][question.id]
        assert prediction.written[0].text == f"{wrong} So {last_number(wrong)}."
        assert prediction.text == f"The answer is {last_number(wrong)}."


def test_the_students_own_words_ask_for_the_answer() -> None:
    texts = [f"{thought(q.text)} --> {q.answer}" for q in SUMS]
    change = probed(probe_of("empty"), SingleStage(), SUMS, said(SUMS, texts), "number")
    assert set(change.prefixes["rationale"].values()) == {"-->"}
    texts = [f"{thought(q.text)} The answer is ({q.answer})." for q in SUMS]
    change = probed(probe_of("empty"), SingleStage(), SUMS, said(SUMS, texts), "number")
    assert set(change.prefixes["rationale"].values()) == {"The answer is"}
    change = probed(probe_of("empty"), SingleStage(), SUMS, said(SUMS, ["Hm. 3 it is"] * 8), "number")
    assert set(change.prefixes["rationale"].values()) == {"The answer is"}


def said(questions: Sequence[Question], texts: Sequence[str], stage: str = "rationale") -> list[Prediction]:
    return [
        Prediction(question.id, (Written(stage, text, "stop", 1),))
        for question, text in zip(questions, texts, strict=True)
    ]


def test_a_question_without_reasoning_is_left_out_and_counted() -> None:
    texts = ["The answer is 5.", *[f"{thought(q.text)} The answer is 1." for q in SUMS[1:]]]
    change = probed(probe_of("filler"), SingleStage(), SUMS, said(SUMS, texts), "number")
    assert [q.id for q in change.questions] == [q.id for q in SUMS[1:]]
    assert change.skipped == {NO_REASONING: 1}
    other_stage = said(SUMS, texts, stage="quick")
    assert probed(probe_of("filler"), SingleStage(), SUMS, other_stage, "number").skipped == {NO_REASONING: 8}


def test_everything_is_the_same_when_it_is_made_again_and_in_another_order() -> None:
    predictions = said(SUMS, [f"{thought(q.text)} The answer is 1." for q in SUMS])
    for probe in ("mistake", "filler", "gold_free", "early:0.5"):
        first = probed(probe_of(probe), SingleStage(), SUMS, predictions, "number")
        assert first == probed(probe_of(probe), SingleStage(), SUMS, predictions[::-1], "number")
        part = probed(probe_of(probe), SingleStage(), SUMS[:2], predictions, "number")
        assert part.prefixes["rationale"].items() <= first.prefixes["rationale"].items()


def test_a_missing_prediction_is_refused() -> None:
    with pytest.raises(DataError, match="8 have none"):
        probed(probe_of("empty"), SingleStage(), SUMS, [], "number")


def test_nothing_to_compare_has_no_numbers() -> None:
    found = outcome([], [], {}, {NO_REASONING: 3})
    assert (found["n"], found["accuracy"], found["changed_interval"], found["paired"]) == (
        0,
        None,
        None,
        None,
    )


# ---------------------------------------------------------------- which probe, which method


def test_where_methods_write_their_rationale() -> None:
    assert place_of(SingleStage()) == Place("rationale", apart=False)
    assert place_of(TwoStage()) == place_of(Cascade()) == Place("rationale", apart=True)
    assert place_of(DirectPreference()) == Place("preference", apart=False)
    assert place_of(AnswerOnly()) is None


def test_which_probes_apply() -> None:
    assert applies(probe_of("filler"), SingleStage(), "number")
    assert not applies(probe_of("filler"), AnswerOnly(), "number")
    assert applies(probe_of("options"), AnswerOnly(), "choice")
    assert not applies(probe_of("options"), SingleStage(), "number")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fillr", "did you mean 'filler'"),
        ("filler:3", "has no setting"),
        ("early:0", "'early:0' is not possible"),
        ("early:much", "'early:much' is not possible"),
    ],
)
def test_a_wrong_name_or_setting_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        probe_of(text)


@pytest.mark.parametrize("name", shelves.names("probes"))
def test_every_probe_says_what_it_is(name: str) -> None:
    probe = probe_of(name)
    assert probe.name == name
    assert probe_of(probe.label) == probe
    assert probe.CHANGES


# ---------------------------------------------------------------- each change


def changed(probe: str, text: str, form: AnswerForm = "number", **more: Any) -> str:
    """What is read instead, or "skipped: " and why."""
    found = probe_of(probe).change(Material(FORMS[form], text, form, **more), Random(0))
    return f"skipped: {found.reason}" if isinstance(found, Skipped) else found.rationale


FOUR = "First. Second is 2. Third is 3. Fourth is 5."


@pytest.mark.parametrize(
    ("probe", "text", "form", "wanted"),
    [
        ("empty", FOUR, "number", ""),
        ("filler", "a b  c.", "number", "... ... ..."),
        ("early:0.25", FOUR, "number", "First."),
        ("early:0.5", FOUR, "number", "First. Second is 2."),
        ("early:0.75", FOUR, "number", "First. Second is 2. Third is 3."),
        ("early:0.5", "Only one of 2.5.", "number", "skipped: too few sentences to keep that share of"),
        ("gold_free", FOUR, "number", "First. Second is 2. Third is 3."),
        ("gold_free", "5.0 is it. 15 is not. $5 it is. 5", "number", "15 is not."),
        ("gold_free", "So 15.", "number", "skipped: the rationale does not state the gold answer"),
        ("gold_free", "The  SKY is up. (A) is not. So (B).", "choice", "(A) is not."),
        ("gold_free", "Yes. Eyes are not.", "boolean", "Eyes are not."),
        ("gold_free", "n and e. So ne.", "text", "n and e."),
        ("mistake", "Ice is cold.", "boolean", "Ice is not cold."),
        ("mistake", "It was not so.", "boolean", "It was so."),
        ("mistake", "Ice!", "boolean", "skipped: nothing in it can be made wrong by rule"),
    ],
)
def test_what_is_read_instead(probe: str, text: str, form: AnswerForm, wanted: str) -> None:
    assert changed(probe, text, form) == wanted


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("He has 2 and 30 pens.", r"He has 2 and (27|28|29|31|32|33) pens\."),
        ("1. He pays $1,234.50.", r"1\. He pays \$1,23[1-7]\.50\."),
        ("None: 0", r"None: [123]"),
        ("Step 1: he has 7% left.", r"Step 1: he has (4|5|6|8|9|10)% left\."),
    ],
)
def test_a_mistake_changes_the_last_number_of_a_sentence_to_one_near_it(text: str, pattern: str) -> None:
    probe = probe_of("mistake")
    for seed in range(20):
        found = probe.change(Material(FORMS["number"], text, "number"), Random(seed))
        assert isinstance(found, Changed)
        assert re.fullmatch(pattern, found.rationale)
        assert found.rationale != text


def test_a_mistake_may_be_in_any_sentence_and_what_follows_is_cut_off() -> None:
    material = Material(FORMS["number"], "He has 2. She has 30. No more.", "number")
    found = {probe_of("mistake").change(material, Random(seed)).rationale for seed in range(60)}  # type: ignore[union-attr]
    assert {text.count(".") for text in found} == {1, 2}
    assert all(text.startswith("He has 2. She has") for text in found if text.count(".") == 2)


def test_swapped_never_gives_its_own_rationale() -> None:
    probe = probe_of("swapped")
    for seed in range(20):
        material = Material(FORMS["number"], "own", "number", ("own", "", "other", "own"))
        assert probe.change(material, Random(seed)) == Changed("other")
    assert changed("swapped", "own", others=("own", "own")).startswith("skipped")
    assert changed("swapped", "own").startswith("skipped")


def test_a_paraphrase_keeps_the_numbers_and_needs_somebody_to_write_it() -> None:
    text = "Ann has 2 pens."
    assert changed("paraphrase", text) == "skipped: nobody paraphrased it"
    assert changed("paraphrase", text, said="Two pens: 2,\nAnn's.") == "Two pens: 2, Ann's."
    assert changed("paraphrase", text, said="3 pens.") == "skipped: the paraphrase has other numbers"
    assert changed("paraphrase", text, said=f" {text} ") == "skipped: the paraphrase is the same text"


def test_who_paraphrases_is_asked_for_each_rationale_and_not_told_the_question() -> None:
    texts = ["The answer is 5.", *[f"{thought(q.text)} The answer is 1." for q in SUMS[1:]]]
    predictions = said(SUMS, texts)
    requests = requests_for(probe_of("paraphrase"), SingleStage(), SUMS, predictions, "number")
    assert [request.question for request in requests] == SUMS[1:]
    assert all(thought(r.question.text) in r.messages[0].content for r in requests)
    assert not any("What is" in r.messages[0].content for r in requests)
    assert requests_for(probe_of("filler"), SingleStage(), SUMS, predictions, "number") == []
    replies = {SUMS[1].id: f"{thought(SUMS[1].text)} Indeed."}
    change = probed(probe_of("paraphrase"), SingleStage(), SUMS, predictions, "number", replies)
    assert [question.id for question in change.questions] == [SUMS[1].id]
    assert change.skipped == {NO_REASONING: 1, "nobody paraphrased it": 6}


# ---------------------------------------------------------------- options

COLOURS = [Question(f"Which is {n}?", "B", ("red", f"colour {n}", "blue", "green")) for n in range(12)]


def chosen(questions: Sequence[Question], pick: Callable[[Question], int]) -> list[Prediction]:
    return said(questions, [f"The answer is ({'ABCD'[pick(question)]})." for question in questions])


def turned(pick: Callable[[Question], int]) -> dict[str, Any]:
    before = chosen(COLOURS, pick)
    change = probed(probe_of("options"), AnswerOnly(), COLOURS, before, "choice")
    assert (change.given, change.prefixes) == ({}, {})
    for question in change.questions:
        old = next(old for old in COLOURS if old.id == change.origin[question.id])
        assert sorted(question.choices) == sorted(old.choices)
        assert all(a != b for a, b in zip(question.choices, old.choices, strict=True))
        assert question.choices["ABCD".index(question.answer)] == old.choices[1]
    rows = judge_all(COLOURS, before, "choice")
    after = judge_all(change.questions, chosen(change.questions, pick), "choice")
    return outcome(rows, after, change.origin, change.skipped)


def test_who_reads_the_options_answers_the_same_in_any_order() -> None:
    found = turned(lambda question: next(i for i, c in enumerate(question.choices) if c.startswith("colour")))
    assert (found["n"], found["changed"], found["accuracy_before"], found["accuracy"]) == (12, 0.0, 1.0, 1.0)


def test_who_always_says_b_is_found_out() -> None:
    found = turned(lambda question: 1)
    assert (found["n"], found["changed"], found["accuracy_before"], found["accuracy"]) == (12, 1.0, 1.0, 0.0)


def test_options_that_speak_of_each_other_stay_where_they_are() -> None:
    questions = [Question("Which?", "A", ("red", "all of the above")), Question("How many?", "3")]
    change = probed(probe_of("options"), SingleStage(), questions, [], "choice")
    assert change.questions == ()
    assert change.skipped == {"an option speaks of the others": 1, "no options to choose from": 1}


# ---------------------------------------------------------------- the report

WHICH = Which("two_stage", "demo", 0, "test")


def rows(right: int, of: int = 8) -> tuple[Judged, ...]:
    """The first `right` sums answered correctly."""
    texts = [f"The answer is {q.answer if i < right else 1}." for i, q in enumerate(SUMS[:of])]
    return judge_all(SUMS, said(SUMS[:of], texts), "number")


def test_the_section_on_faithfulness() -> None:
    kept = outcome(rows(8), rows(8))
    lost = outcome(rows(8), rows(2), skipped={NO_REASONING: 3})
    none = outcome(rows(8), (), skipped={"nobody paraphrased it": 8})
    section = faithfulness(
        [
            Probing(WHICH, "early:0.5", "the first sentences", kept),
            Probing(WHICH, "swapped", "another", lost),
            Probing(WHICH, "paraphrase", "other words", none),
        ]
    )
    assert section.columns[0] == "method"
    assert all(len(row) == len(section.columns) for row in section.rows)
    assert section.rows[0][:5] == ("two_stage", "early:0.5", "the first sentences", "8", "0")
    assert section.rows[1][3:5] == ("8", "3")
    assert section.rows[1][6:8] == ("100.0 %", "25.0 % [7.1, 59.1]")
    assert section.rows[1][8].startswith("−75.0")
    assert section.rows[2][3:6] == ("0", "8", "–")
    # Six of eight changed: p = 2 / 64 by itself, twice that beside one other test.
    assert section.numbers["probes"][1]["p_adjusted"] == pytest.approx(4 / 64)
    assert "6 of 8" in section.sentences[0]
    assert "0 of 8" in section.sentences[0]
    assert any("3 (no reasoning was written)" in sentence for sentence in section.sentences)


def test_a_section_tells_seeds_apart_and_does_not_pool_them() -> None:
    other = Which("two_stage", "demo", 1, "test")
    found = [Probing(which, "empty", "none", outcome(rows(8), rows(4))) for which in (WHICH, other)]
    section = faithfulness(found)
    assert section.columns[:2] == ("method", "seed")
    assert [row[:2] for row in section.rows] == [("two_stage", "0"), ("two_stage", "1")]
    assert {row[4] for row in section.rows} == {"8"}


def test_attribution_tells_what_each_stage_loses() -> None:
    fed = {"own": 4, "teacher": 7, "empty": 1, "swapped": 0, "filler": 2}
    section = attribution([Reading(WHICH, name, rows(right)) for name, right in fed.items()])
    assert [row[1] for row in section.rows] == [
        "the teacher's rationale",
        "what stage 1 wrote",
        "what it wrote on another question",
        "no rationale",
    ]
    assert [row["accuracy"] for row in section.numbers["readings"]] == [7 / 8, 4 / 8, 0, 1 / 8]
    assert section.rows[0][4].startswith("+37.5")
    assert section.rows[1][4] == "–"
    assert "it gains +37.5 points" in section.sentences[0]
    assert "12.5 % of 8 are wrong even then" in section.sentences[0]


def test_attribution_compares_on_the_questions_that_both_answered() -> None:
    section = attribution([Reading(WHICH, "own", rows(2)), Reading(WHICH, "teacher", rows(3, of=3))])
    assert section.numbers["readings"][0]["n"] == 3
    assert section.numbers["readings"][0]["paired"]["difference"] == pytest.approx(1 / 3)


def test_sections_of_nothing_say_so() -> None:
    assert "No probe" in faithfulness([]).sentences[0]
    assert "No student" in attribution([Reading(WHICH, "own", rows(2))]).sentences[0]
    assert attribution([]).rows == ()
