"""Many examples: named by all that they say, tokenized by every core, read as they were written."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny import GROUPS, STUDENTS, SUMS, TEXTS, quiet, scratch, spec
from understudy.batches import plan
from understudy.students._flops import count
from understudy.training import encode, packing, tokens, train
from understudy.training.encode import Texts, longest_row
from understudy.types import Example

NAMES = tuple(STUDENTS)
LIMITS = (64, 64)
ONE = Example("a", "ab", "c", "answer", 1.0, 1)


@pytest.fixture(scope="module")
def live() -> Any:
    return scratch("causal").create(TEXTS, 0)


# ---------------------------------------------------------------- a name by content

OTHERS: dict[str, list[tuple[Example, ...]]] = {
    "a character goes from the source to the target": [(replace(ONE, source="a", target="bc"),), (ONE,)],
    "a character goes from one example to the next": [
        (replace(ONE, source="a"),),
        (replace(ONE, source="bab"),),
    ],
    "two groups are one": [(ONE, ONE)],
    "one group": [(ONE,)],
    "a third": [(ONE,), (ONE,), (ONE,)],
    "an empty group": [(ONE,), (ONE,), ()],
    "an objective": [(replace(ONE, objective="rationale"),), (ONE,)],
    "objectives the other way round": [(ONE,), (replace(ONE, objective="rationale"),)],
    "a weight": [(replace(ONE, weight=0.5),), (ONE,)],
    "a cut": [(replace(ONE, cut=0),), (ONE,)],
    "silence": [(replace(ONE, silent=True),), (ONE,)],
    "half a surrogate pair": [(replace(ONE, source="\ud83d"),), (ONE,)],
    "a whole one": [(replace(ONE, source="\ud83d\ude00"),), (ONE,)],
    "the character that it means": [(replace(ONE, source="\U0001f600"),), (ONE,)],
}


def test_a_name_says_all_that_tokens_are_made_of(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> dict[str, str | None]:
        found = {what: tokens.name_of(live, groups, LIMITS) for what, groups in OTHERS.items()}
        return {**found, "as it was": tokens.name_of(live, [(ONE,), (ONE,)], LIMITS)}

    before = names()
    assert len(set(before.values())) == len(before), "no two of them are alike"
    same = [(replace(ONE, question_id="b", difficulty=3.0),), (replace(ONE, question_id="c"),)]
    assert tokens.name_of(live, same, LIMITS) == before["as it was"], "what no token shows"
    monkeypatch.setattr(tokens, "_AT_ONCE", 1)
    assert len(set(names().values())) == len(before), "nor where they are hashed one by one"


# ---------------------------------------------------------------- by every core


@pytest.mark.parametrize("given", ["false", None])
def test_parts_made_ahead_are_those_of_one_go(
    live: Any, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if given is not None:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", given)
    groups = [(SUMS[at % 4], SUMS[(at + 1) % 4]) if at % 3 else (SUMS[at % 4],) for at in range(50)]
    wanted = [tuple(live.encode(list(group))) for group in groups]
    seen: list[tuple[str | None, bool]] = []
    plain = live.encode

    def watched(examples: Any) -> Any:
        here = threading.current_thread() is threading.main_thread()
        seen.append((os.environ.get("TOKENIZERS_PARALLELISM"), here))
        return plain(examples)

    monkeypatch.setattr(live, "encode", watched)
    assert list(encode.encode(live, groups, spec())[0]) == wanted
    assert seen == [(given, True)], "few groups are one part, made here"
    seen.clear()
    monkeypatch.setattr(encode, "AT_ONCE", 7)
    found, kept = encode.encode(live, groups, spec())
    assert (list(found), kept) == (wanted, groups)
    assert seen == [("true", False)] * 8
    assert os.environ.get("TOKENIZERS_PARALLELISM") == given, "as it was"


def test_what_is_left_out_keeps_its_place(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "AT_ONCE", 2)
    long = (Example("long", "1 + " * 100, "2"),)
    groups = [GROUPS[0], long, GROUPS[1], GROUPS[2], long]
    found, kept = encode.encode(live, groups, spec(max_source_tokens=50))
    assert kept == [GROUPS[0], GROUPS[1], GROUPS[2]]
    assert found.arrays["kept"].tolist() == [0, 2, 3]


def test_an_error_in_a_later_part_is_heard(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "AT_ONCE", 1)
    plain = live.encode

    def failing(examples: Any) -> Any:
        if examples[0] == SUMS[2]:
            raise ValueError("no such text")
        return plain(examples)

    monkeypatch.setattr(live, "encode", failing)
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    with pytest.raises(ValueError, match="no such text"):
        encode.encode(live, GROUPS, spec())
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before


# ---------------------------------------------------------------- texts for a vocabulary


def test_texts_are_made_when_somebody_looks() -> None:
    texts = Texts(GROUPS[:1], [(SUMS[1], SUMS[2])])
    wanted = [text for e in SUMS[:3] for text in (e.source, f" {e.target}")]
    assert len(texts) == 6
    assert "_made" not in vars(texts)
    assert (list(texts), texts[1], texts[-2:]) == (wanted, wanted[1], wanted[-2:])


def test_a_training_that_goes_on_makes_no_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch("causal").create(TEXTS, 0).save(tmp_path / "start")

    def never(*_: Any) -> Any:
        raise AssertionError("these are texts of a student that has its vocabulary")

    monkeypatch.setattr(Texts, "__iter__", never)
    monkeypatch.setattr(Texts, "__getitem__", never)
    given: dict[str, Any] = {"learning_rate": 1e-3, "seed": 0, "folder": tmp_path / "out", "progress": quiet}
    assert train(scratch("causal"), GROUPS, spec(1), start=tmp_path / "start", **given)["steps"] == 1


# ---------------------------------------------------------------- on disk


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_mapped_tokens_are_those_of_their_rows(tmp_path: Path, name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    groups = [(SUMS[0], SUMS[1]), (replace(SUMS[2], target="It is 11, for 5 + 6 = 11."),), (SUMS[3],)]
    encode.encode(live, groups, spec())[0].save(tmp_path / "kept")
    mapped = tokens.load(tmp_path / "kept")
    rows = [tuple(live.encode(list(group))) for group in groups]
    flops = count(live.model)
    sizes = [encode.size(group, name, flops) for group in rows]
    table = mapped.sizes(name, flops)
    assert list(table) == sizes
    assert plan(table, 40, "epochs", 3, 0) == plan(sizes, 40, "epochs", 3, 0)
    assert mapped.longest(name) == longest_row(rows, name)
    assert packing.extents_of(mapped, name) == packing.extents_of(rows, name)
    flat = sorted((row for group in rows for row in group), key=lambda r: len(r["source"] + r["target"]))
    assert mapped.shortest(2) == flat[:2]
    assert all(type(part) is np.ndarray for part in mapped._plain.values()), (
        "a look costs no more than it must"
    )
