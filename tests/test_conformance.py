"""The judge's verdicts beside recorded ones: on real collections, and on toys with a verdict flipped."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from shared_data import shared_data

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import conformance
import judge_throughput
import known_verdicts
from conformance import COLLECTIONS, PAGE, compare, page, put
from conformance_tables import Compared, Section, accuracies, right_for_the_wrong_reason, verdicts
from hand_judgements import HAND_JUDGEMENTS, HandJudgement
from judge_throughput import Peer
from known_verdicts import Group, Known

OPENAI, LLM_ADAPTERS, _ = COLLECTIONS


def known(key: str, output: str, theirs: bool | None, gold: str = "5") -> Known:
    return Known(key, "What is 2 + 3?", output, gold, theirs)


def judged(*rows: Known, accuracy: float | None = None, unreadable: int = 0) -> Compared:
    return compare(Group("toy", "number", rows, accuracy, unreadable))


RIGHT = known("a", "The answer is 5.", True)
WRONG = known("b", "The answer is 6.", False)
SILENT = known("c", "I do not know.", False)


# ---------------------------------------------------------------- toys


def test_equal_verdicts_fall_short_of_nothing() -> None:
    section = verdicts(OPENAI, [judged(RIGHT, WRONG, SILENT)])
    assert section.shortfalls == ()
    assert "| toy | 3 | 1 | 1 | 0 |" in section.lines
    (summary,) = section.summary
    title, n, agreement, bar, silent, differ = summary.strip("| ").split(" | ")
    assert (title, n, agreement, bar) == (OPENAI.title, "3", "3 of 3 (100.00 %)", "all of them")
    assert (silent, differ) == ("1", "0")


def test_a_flipped_verdict_falls_short_and_is_not_judged() -> None:
    section = verdicts(OPENAI, [judged(RIGHT, replace(WRONG, theirs=True))])
    bar, unjudged = section.shortfalls
    assert bar == "openai: agreement on 1 of 2 (50.00 %), the bar is all of them"
    assert unjudged == "openai, b: our verdict differs and nobody has judged who is right"
    assert section.lines[-1] == (
        "| b | What is 2 + 3? | The answer is 6. | 5 | correct | wrong: 6 | not judged |  |"
    )


def test_a_judged_difference_within_the_bar_falls_short_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [replace(RIGHT, key=str(number)) for number in range(199)]
    odd = replace(SILENT, key="odd", theirs=True)
    monkeypatch.setitem(HAND_JUDGEMENTS, "llm_adapters", {"odd": HandJudgement("ours", "it says nothing")})
    section = verdicts(LLM_ADAPTERS, [judged(*rows, odd)])
    assert section.shortfalls == ()
    assert section.lines[-1].endswith("| correct | no answer | ours | it says nothing |")
    below = verdicts(LLM_ADAPTERS, [judged(*rows[:198], odd)])
    assert below.shortfalls == ("llm_adapters: agreement on 198 of 199 (99.50 %), the bar is 99.5 %",)


def test_an_accuracy_has_to_be_equal_and_unreadable_golds_count_as_wrong() -> None:
    equal = judged(RIGHT, WRONG, SILENT, accuracy=25.0, unreadable=1)
    assert accuracies("BBH", {"cot": [equal], "direct": [equal]}).shortfalls == ()
    off = judged(RIGHT, WRONG, SILENT, accuracy=33.0, unreadable=1)
    section = accuracies("BBH", {"cot": [equal], "direct": [off]})
    assert section.shortfalls == ("BBH, direct, toy: 25.00 %, recorded 33.00 %",)
    assert section.lines[-1] == "| toy | number | 4 | 25.0 | 25.0 | 33.0 | 25.0 |"
    assert [line.split(" | ")[2] for line in section.summary] == ["1 of 1 accuracies", "0 of 1 accuracies"]


def test_right_answers_with_wrong_reasoning_are_counted_by_both() -> None:
    rows = (replace(RIGHT, also=False), replace(RIGHT, also=True), replace(WRONG, theirs=True, also=False))
    note = right_for_the_wrong_reason([judged(*rows)])
    assert "2 of 3 where people judge the answer, 1 where we do" in note


def test_cells_hold_no_bar_and_no_long_text() -> None:
    odd = known("k", "one " * 50 + "| The answer is 6.", True)
    line = verdicts(OPENAI, [judged(odd)]).lines[-1]
    assert "| … one one one one one one one \\| The answer is 6. |" in line


def test_the_page_stands_between_the_markers() -> None:
    text = f"head\n{conformance.BEGIN}\nold\n{conformance.END}\ntail\n"
    assert put("new \\1", text) == f"head\n{conformance.BEGIN}\nnew \\1\n{conformance.END}\ntail\n"
    with pytest.raises(click.ClickException, match="put the two markers there"):
        put("new", "no markers")


def test_a_missing_collection_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bbh").mkdir()
    monkeypatch.setenv("UNDERSTUDY_SHARED_DATA", str(tmp_path))
    with pytest.raises(click.ClickException, match="does not hold mr_gsm8k; set"):
        known_verdicts.root("bbh", "mr_gsm8k")


# ---------------------------------------------------------------- real collections


@pytest.fixture(scope="module")
def folder() -> Path:
    return {shared_data(name).parent for name in known_verdicts.FOLDERS}.pop()


@pytest.fixture(scope="module")
def found(folder: Path) -> list[tuple[str, Section]]:
    return conformance.sections(folder)


def test_every_collection_reaches_its_bar(found: list[tuple[str, Section]]) -> None:
    assert [line for _, section in found for line in section.shortfalls] == []


def test_the_collections_are_whole(found: list[tuple[str, Section]]) -> None:
    counts = [line.split(" | ")[1:3] for _, section in found for line in section.summary]
    assert [count for count, _ in counts] == ["6,511", "6,511", "5,276", "4,076", "590"]
    assert [agreement for _, agreement in counts[:3]] == [
        "27 of 27 accuracies",
        "27 of 27 accuracies",
        "5,276 of 5,276 (100.00 %)",
    ]


def test_recorded_verdicts_are_read_as_their_collections_count_them(folder: Path) -> None:
    models = known_verdicts.openai(folder)
    assert [sum(row.theirs is True for row in model.rows) for model in models] == [286, 515, 458, 742]
    chains = [row for group in known_verdicts.llm_adapters(folder) for row in group.rows]
    assert sum(row.theirs is False for row in chains) == 965
    assert sum(row.also is False for row in chains) == 982
    people = [row for group in known_verdicts.mr_gsm8k(folder) for row in group.rows]
    assert (len(people), sum(row.theirs is True for row in people)) == (590, 19)


def test_every_hand_judgement_is_still_needed(folder: Path) -> None:
    for collection in COLLECTIONS:
        compared = [compare(group) for group in collection.load(folder)]
        keys = {row.key for one in compared for row, _ in one.differing}
        assert HAND_JUDGEMENTS[collection.name].keys() == keys


def test_the_page_is_what_the_command_writes(found: list[tuple[str, Section]]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert put(page(found), text) == text, "run `python benchmarks/conformance.py --write`"


# ---------------------------------------------------------------- peers


def test_a_peer_is_held_against_the_same_verdicts() -> None:
    rows = [RIGHT, WRONG, replace(WRONG, theirs=True), known("d", "In all 2 + 3 = 5", True)]
    assert judge_throughput.agreement(Peer("ours", judge_throughput.ours), rows) == "3 (75.00 %)"
    assert judge_throughput.agreement(Peer("deaf", lambda _text, _gold: False), rows) == "1 (25.00 %)"
    assert judge_throughput.agreement(judge_throughput.math_verify_reader(), rows) == "3 (75.00 %)"
