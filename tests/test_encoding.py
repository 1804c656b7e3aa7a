"""Where the answer part of a target begins, and what bears no loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from test_writing import t5_tokenizer
from tiny import STUDENTS, TEXTS, scratch
from understudy.students._live import IGNORED
from understudy.training.objective import objective, token_weights
from understudy.types import Example

NAMES = tuple(STUDENTS)
KINDS = ("word", "char", "bpe", "t5")
RATIONALE = "2 + 3 = 5."
TARGET = f"{RATIONALE} The answer is 5."
TRAINED = [*TEXTS, RATIONALE, f" {TARGET}", f" {TARGET}"]


def student(name: str, kind: str, folder: Path) -> Any:
    if kind == "t5":
        return STUDENTS[name](config="tiny", tokenizer=t5_tokenizer(folder)).create([], 0)
    return scratch(name, kind).create(TRAINED, 0)


PAIRS = [(name, kind) for name in NAMES for kind in KINDS]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """One student for each architecture and tokenizer."""
    return {(name, kind): student(name, kind, tmp_path_factory.mktemp("t5")) for name, kind in PAIRS}


def parts(live: Any, target: str, cut: int) -> tuple[str, str]:
    """What the tokens before the cut say, and those from it on, without the end of text."""
    plain, row = live.encode([Example("q", "Question:", target), Example("q", "Question:", target, cut=cut)])
    assert row["target"] == plain["target"], "a cut changes no id"
    assert plain["cut"] == 0
    ids = row["target"][:-1]
    return live.codec.decode(ids[: row["cut"]]), live.codec.decode(ids[row["cut"] :])


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("space", [0, 1])
def test_the_answer_part_begins_at_its_word(lives: Any, pair: tuple[str, str], space: int) -> None:
    # The cut may stand before the space that precedes the word, or after it.
    cut = TARGET.index("The") - space
    before, after = parts(lives[pair], TARGET, cut)
    assert (before.strip(), after.strip()) == (RATIONALE, "The answer is 5.")


@pytest.mark.parametrize("kind", ["char", "t5", "bpe"])
def test_braces_and_lines_are_no_obstacle(lives: Any, kind: str) -> None:
    live = scratch("seq2seq", kind).create([" a{b}\n\nThe answer <is>"], 0) if kind != "t5" else None
    live = live or lives["seq2seq", "t5"]
    target = "a{b}\n\nThe answer <is>"
    before, after = parts(live, target, target.index("The"))
    assert (before.strip(), after.strip()) == ("a{b}", "The answer <is>")


@settings(deadline=None, max_examples=100)
@given(cut=st.integers(1, len(TARGET)), pair=st.sampled_from(PAIRS))
def test_wherever_the_cut_is_the_answer_part_holds_all_of_it(
    lives: Any, cut: int, pair: tuple[str, str]
) -> None:
    before, after = parts(lives[pair], TARGET, cut)
    assert after.strip().endswith(TARGET[cut:].strip())
    assert TARGET.startswith(before.strip())
    # Characters are tokens, so there nothing is merged.
    if pair[1] == "char":
        assert after.strip() == TARGET[cut:].strip()


def test_a_cut_inside_a_word_begins_with_the_token_that_holds_it(lives: Any) -> None:
    before, after = parts(lives["causal", "word"], TARGET, TARGET.index("swer"))
    assert (before.strip(), after.strip()) == (f"{RATIONALE} The", "answer is 5.")


@pytest.mark.parametrize("pair", PAIRS)
def test_after_a_cut_at_the_end_only_the_end_is_left(lives: Any, pair: tuple[str, str]) -> None:
    (row,) = lives[pair].encode([Example("q", "Question:", TARGET, cut=len(TARGET), silent=True)])
    assert row["cut"] == len(row["target"]) - 1


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_silent_is_read_and_bears_no_loss(lives: Any, pair: tuple[str, str]) -> None:
    live = lives[pair]
    cut = TARGET.index("The")
    loud, marked, silent = live.encode(
        [
            Example("q", "Question:", TARGET, cut=at, silent=quiet)
            for at, quiet in ((0, True), (cut, False), (cut, True))
        ]
    )
    batch = live.collate([loud, marked, silent])
    name = "input_ids" if live.kind == "causal" else "decoder_input_ids"
    assert torch.equal(batch[name][0], batch[name][2])
    rows = [row[row != IGNORED].tolist() for row in batch["labels"]]
    assert rows[0] == rows[1] == loud["target"]
    assert rows[2] == loud["target"][silent["cut"] :]
    # They stand where they stood: what comes before is blank.
    first = int((batch["labels"][0] != IGNORED).nonzero()[0])
    assert torch.equal(
        batch["labels"][2][first + silent["cut"] :], batch["labels"][0][first + silent["cut"] :]
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_mean_over_what_is_heard(lives: Any, name: str) -> None:
    live = lives[name, "word"]
    rows = live.encode([Example("q", "Question:", TARGET, cut=TARGET.index("The"), silent=True)])
    batch = live.collate(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = live.model(**batch).logits
    got = objective(logits, labels, token_weights(labels, rows))
    logprobs = logits.log_softmax(-1)[0]
    heard = (labels[0] != IGNORED).nonzero().flatten().tolist()
    # The, answer, is, 5, a full stop, the end of text.
    assert len(heard) == 6
    assert got.item() == pytest.approx(-sum(float(logprobs[at, labels[0, at]]) for at in heard) / 6, rel=1e-5)
