"""Preparing splits: what is cut, dropped, limited or refused, each proved on questions one can count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from understudy.contamination import LEVELS, Level
from understudy.data import DataSpec, Prepared, load_prepared, load_questions, prepare
from understudy.errors import DataError, StoreError
from understudy.roles import Source, Task
from understudy.rows import NoSplitError
from understudy.types import AnswerForm, Question


def sums(first: int, count: int) -> list[Question]:
    """Questions "1 + 1?", "2 + 1?", ... whose ids tell them apart."""
    return [Question(f"{n} + 1?", str(n + 1), source=f"line {n}") for n in range(first, first + count)]


def toy(
    splits: Mapping[str, list[Question]], form: AnswerForm = "number", counts: Mapping[str, int] | None = None
) -> Task:
    def load(split: str, source: Source) -> list[Question]:
        if split not in splits:
            raise NoSplitError(f"the task 'toy' has no split '{split}'; there are {', '.join(splits)}")
        return list(splits[split])

    return Task(
        name="toy",
        title="Toy",
        form=form,
        splits=tuple(splits),
        load=load,
        exemplars=(),
        licence="none",
        homepage="",
        counts=counts or {},
    )


def run(task: Task, *evaluation: str, extra: tuple[str, ...] = (), **spec: Any) -> Prepared:
    return prepare(task, Source(), DataSpec(**spec), evaluation or ("test",), extra)


def texts(questions: tuple[Question, ...]) -> list[str]:
    return [question.text for question in questions]


def test_dev_is_the_last_tenth_of_train() -> None:
    prepared = run(toy({"train": sums(1, 20), "test": sums(101, 5)}))
    assert texts(prepared.splits["train"]) == [f"{n} + 1?" for n in range(1, 19)]
    assert texts(prepared.splits["dev"]) == ["19 + 1?", "20 + 1?"]
    assert prepared.notes == ("dev is the last 2 of the 20 questions of train.",)
    assert prepared.form == "number"


def test_dev_is_cut_before_train_is_limited_so_they_never_meet() -> None:
    task = toy({"train": sums(1, 10), "test": sums(101, 5)})
    prepared = run(task, train=9, dev=4)
    assert texts(prepared.splits["train"]) == [f"{n} + 1?" for n in range(1, 7)]
    assert texts(prepared.splits["dev"]) == [f"{n} + 1?" for n in range(7, 11)]
    smaller = run(task, train=3, dev=4)
    assert smaller.splits["train"] == prepared.splits["train"][:3]
    assert smaller.splits["dev"] == prepared.splits["dev"]
    assert "train is limited to its first 3 of 6 questions." in smaller.notes


def test_a_dev_split_of_its_own_is_used() -> None:
    prepared = run(toy({"train": sums(1, 10), "dev": sums(51, 4), "test": sums(101, 5)}), dev=2, test=3)
    assert {name: len(questions) for name, questions in prepared.splits.items()} == {
        "train": 10,
        "dev": 2,
        "test": 3,
    }
    assert "test is limited to its first 3 of 5 questions." in prepared.notes


def test_a_cut_dev_can_be_evaluated_on() -> None:
    prepared = run(toy({"train": sums(1, 10), "test": sums(101, 5)}), "dev", "test", dev=3, test=1)
    assert [len(prepared.splits[name]) for name in ("train", "dev", "test")] == [7, 3, 1]


def test_extra_splits_are_loaded_whole() -> None:
    prepared = run(
        toy({"train": sums(1, 10), "teacher": sums(51, 8), "test": sums(101, 5)}), extra=("teacher",), train=2
    )
    assert len(prepared.splits["teacher"]) == 8


def test_dev_must_leave_something_of_train() -> None:
    with pytest.raises(DataError, match=r"10 questions are too few for a dev of 10; lower data\.dev"):
        run(toy({"train": sums(1, 10), "test": sums(101, 5)}), dev=10)


DUPLICATES = [*sums(1, 10), *sums(1, 2), *sums(1, 1)]


def test_duplicates_are_an_error_that_shows_the_first() -> None:
    with pytest.raises(DataError) as raised:
        run(toy({"train": DUPLICATES, "test": sums(101, 5)}))
    assert str(raised.value) == (
        '2 questions occur more than once in train (first: line 1: "1 + 1?"); '
        "set data.duplicates=drop to keep the first of each"
    )


def test_duplicates_are_dropped_when_asked_and_counted() -> None:
    prepared = run(toy({"train": DUPLICATES, "test": sums(101, 5)}), duplicates="drop", dev=1)
    assert len(prepared.splits["train"]) + len(prepared.splits["dev"]) == 10
    assert (
        "2 questions occur more than once in train; the first of each was kept and 3 dropped."
        in prepared.notes
    )


def test_duplicates_with_different_golds_are_said_apart() -> None:
    train = [*sums(1, 10), *sums(1, 1), Question("3 + 1?", "5", source="line 12")]
    with pytest.raises(DataError, match=r"1 of them with different gold answers \(first: line 3"):
        run(toy({"train": train, "test": sums(101, 5)}))


@pytest.mark.parametrize("where", ["train", "dev", "teacher"])
def test_overlap_with_an_evaluation_split_is_an_error(where: str) -> None:
    splits = {"train": sums(1, 10), "dev": sums(31, 5), "teacher": sums(51, 5), "test": sums(101, 5)}
    splits[where] = [*splits[where], *sums(101, 2)]
    with pytest.raises(
        DataError, match=rf'2 questions of test occur also in {where} \(first: line 101: "101'
    ):
        run(toy(splits), extra=("teacher",))
    prepared = run(toy(splits), extra=("teacher",), overlap="drop")
    assert texts(prepared.splits[where]) == texts(tuple(splits[where][:-2]))
    assert len(prepared.splits["test"]) == 5
    assert f"2 questions of test occur also in {where} (2 exact); 2 removed from {where}." in prepared.notes


def test_overlap_of_dev_and_train_is_removed_from_train() -> None:
    splits = {"train": sums(1, 10), "dev": sums(10, 5), "test": sums(101, 5)}
    with pytest.raises(DataError, match="1 question of dev occurs also in train"):
        run(toy(splits))
    prepared = run(toy(splits), overlap="drop")
    assert [len(prepared.splits[name]) for name in ("train", "dev")] == [9, 5]


SEVEN = "Ann has seven red pens"
CHOICES = ("up", "down")
LONG = "on Monday she gives two of them to Ben and on Tuesday she buys three"
ALIKE: dict[Level, tuple[Question, Question]] = {
    "exact": (Question(SEVEN, "1"), Question(f" {SEVEN}", "1")),
    "normalised": (Question(SEVEN, "1"), Question(f"{SEVEN.upper()}!", "1")),
    "13-gram": (Question(f"{SEVEN}, {LONG}", "1"), Question(f"Cara has four caps, {LONG}", "1")),
    # 8 runs of five words in the one, 7 of the same in the other.
    "near": (
        Question(f"{SEVEN} and buys two more for Ben now", "1"),
        Question(f"{SEVEN} and buys two more for Ben", "1"),
    ),
}


@pytest.mark.parametrize("by", LEVELS)
@pytest.mark.parametrize("how", LEVELS)
def test_what_counts_as_the_same_question(how: Level, by: Level) -> None:
    held_out, trained = ALIKE[how]
    task = toy({"train": [*sums(1, 5), trained], "dev": sums(51, 2), "test": [*sums(101, 2), held_out]})
    prepared = run(task, overlap="drop", overlap_by=by)
    assert len(prepared.splits["train"]) == (5 if LEVELS.index(how) <= LEVELS.index(by) else 6)


def test_other_options_are_the_same_question_unless_options_count() -> None:
    def which(*choices: str) -> Question:
        return Question("Which is it?", "A", choices, source=" ".join(choices))

    splits = {
        "train": [which("a", "b"), which("c", "d"), Question("What?", "A", CHOICES)],
        "dev": [Question("Who?", "A", CHOICES)],
        "test": [which("c", "d"), which("e", "f")],
    }
    task = toy(splits, "choice")
    with pytest.raises(DataError) as raised:
        run(task)
    assert str(raised.value) == (
        '2 questions of test occur also in train (first: c d: "Which is it?"); set data.overlap=drop to '
        'remove them from train, or a stricter data.overlap_by ("exact" compares options too)'
    )
    prepared = run(task, overlap="drop")
    assert texts(prepared.splits["train"]) == ["What?"]
    assert "2 questions of test occur also in train (1 exact, 1 normalised); 2 removed from train." in (
        prepared.notes
    )
    assert len(run(task, overlap="drop", overlap_by="exact").splits["train"]) == 2


def test_an_error_shows_both_where_they_differ() -> None:
    splits = {
        "train": [*sums(1, 5), Question("Is ICE cold", "1", source="line 6")],
        "test": [Question("Is ice cold?", "1", source="line 9")],
    }
    with pytest.raises(
        DataError,
        match=r'first: line 9: "Is ice cold\?", the same at level normalised as line 6: "Is ICE cold"',
    ):
        run(toy(splits))


def test_a_dev_that_is_cut_from_train_shares_no_text_with_the_rest() -> None:
    repeated = [Question("1 + 1 ?", "2"), *sums(11, 1)]
    prepared = run(toy({"train": [*sums(1, 8), *repeated], "test": sums(101, 5)}), dev=2)
    assert texts(prepared.splits["dev"]) == ["1 + 1 ?", "11 + 1?"]
    assert texts(prepared.splits["train"]) == [f"{n} + 1?" for n in range(2, 9)]
    assert prepared.notes == (
        "dev is the last 2 of the 10 questions of train.",
        "1 question of dev occurs also in train (1 normalised); 1 removed from train.",
    )
    assert (
        len(
            run(
                toy({"train": [*sums(1, 8), *repeated], "test": sums(101, 5)}), dev=2, overlap_by="exact"
            ).splits["train"]
        )
        == 8
    )


def test_the_full_test_split_counts_for_overlap_even_when_it_is_limited() -> None:
    with pytest.raises(DataError, match="occurs also in train"):
        run(toy({"train": [*sums(1, 10), *sums(105, 1)], "test": sums(101, 5)}), test=1)


def test_the_same_file_for_two_splits_is_told_as_such() -> None:
    with pytest.raises(
        DataError, match="every question of train is also in test; give each split its own file"
    ):
        run(toy({"train": sums(1, 5), "test": sums(1, 5)}), overlap="drop")


def test_an_evaluation_split_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(DataError, match="no split 'hard'; there are train, test"):
        run(toy({"train": sums(1, 5), "test": sums(101, 5)}), "hard")


def test_train_is_no_evaluation_split() -> None:
    with pytest.raises(DataError, match="'train' cannot be an evaluation split"):
        run(toy({"train": sums(1, 5), "test": sums(101, 5)}), "train")


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(DataError, match="the split 'test' of the task 'toy' is empty"):
        run(toy({"train": sums(1, 5), "test": []}))


def test_an_official_count_that_differs_is_noted() -> None:
    prepared = run(toy({"train": sums(1, 5), "test": sums(101, 5)}, counts={"train": 5, "test": 6}))
    assert [note for note in prepared.notes if "official" in note] == [
        "test has 5 questions on the Hub; the official count of Toy is 6."
    ]


def test_a_gold_that_cannot_be_read_names_its_line() -> None:
    train = [*sums(1, 5), Question("Who?", "Ann", source="line 6")]
    with pytest.raises(
        DataError, match="train of 'toy', line 6: the gold answer 'Ann' cannot be read as a number"
    ):
        run(toy({"train": train, "test": sums(101, 5)}))


FORMS: dict[str, tuple[Question, Question]] = {
    "choice": (Question("Which?", "A", ("x", "y")), Question("What?", "B", ("x", "y"))),
    "boolean": (Question("Is it?", "yes"), Question("Was it?", "no")),
    "number": (Question("1?", "1"), Question("2?", "2")),
    "text": (Question("1?", "1"), Question("Who?", "ann")),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_users_own_file_is_found_and_told(form: str) -> None:
    first, second = FORMS[form]
    splits = {
        "train": [first, second],
        "test": [Question(f"{q.text} really?", q.answer, q.choices) for q in (first, second)],
    }
    prepared = run(toy(splits, "text"))
    assert prepared.form == form
    assert any(f"the answers are read as {form}" in note for note in prepared.notes) == (form != "text")


def test_splits_that_differ_in_form_ask_for_the_form() -> None:
    splits = {"train": sums(1, 5), "test": [Question("Who?", "ann")]}
    with pytest.raises(DataError, match=r"train: number, test: text.*set task\.form"):
        run(toy(splits, "text"))
    assert prepare(toy(splits, "text"), Source(form="text"), DataSpec(), ("test",)).form == "text"


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    odd = Question("Which\nis \u2028 “odd”? \ud800", "B", ("x", "é"), "context", "because\nso", "line 1", 3)
    prepared = Prepared("choice", {"train": (odd,), "test": ()}, ("one note.",))
    prepared.save(tmp_path / "data")
    assert load_prepared(tmp_path / "data") == prepared
    assert load_questions(tmp_path / "data" / "train.jsonl") == (odd,)


def test_a_saved_question_that_was_changed_is_refused(tmp_path: Path) -> None:
    Prepared("number", {"train": tuple(sums(1, 2))}).save(tmp_path)
    path = tmp_path / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("2 + 1?", "2 + 2?"), encoding="utf-8")
    with pytest.raises(DataError, match="line 2: the id is not that of the text"):
        load_questions(path)
    path.write_text('{"name": "x"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: not a saved question"):
        load_questions(path)


def test_a_damaged_summary_is_refused(tmp_path: Path) -> None:
    Prepared("number", {}).save(tmp_path)
    (tmp_path / "prepared.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        load_prepared(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be saved"):
        Prepared("number", {}).save(tmp_path / "data")
