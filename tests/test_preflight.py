"""What a tokenizer can write: the escape that seq2seq students write with, and the look before training."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from shared_data import shared_data, shared_model
from tiny import quiet, scratch, spec
from understudy.audit.tokenizers import tokenizers
from understudy.errors import TrainingError
from understudy.roles import Student, TrainSpec
from understudy.rows import read
from understudy.students import _escape
from understudy.students._escape import escape, unescape
from understudy.students._tokenizers import KINDS, Closed, make_tokenizer
from understudy.students.causal import Causal
from understudy.students.seq2seq import Seq2Seq
from understudy.training import train
from understudy.types import Example, Sampling

SPECIAL = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
ASCII = "".join(map(chr, range(32, 127))) + "\n\t"
STAND_INS = "®′•«»„‘£×÷−≈≠≤≥√π²³"
LATEX = "\\frac{1}{2}\n\n  x^2 < ~3`  "


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with T5's tokenizer as a checkpoint has it."""
    folder = tmp_path_factory.mktemp("t5")
    shutil.copy(shared_model("t5-tokenizer") / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(SPECIAL), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def codec(t5: Path) -> Closed:
    found = Seq2Seq(config="tiny", tokenizer=str(t5)).codec()
    assert found is not None
    return found


def back(codec: Closed, text: str) -> str:
    return codec.decode(codec.targets([text])[0])


# ---------------------------------------------------------------- the escape


def test_what_is_written_for_what() -> None:
    assert escape("\\frac{1}{2} × 3") == "•frac«1»«2» ®* 3"
    assert escape("plain words, 3 + 4 = 7. (A) 50% $2 #1 @x_y [z]") == (
        "plain words, 3 + 4 = 7. (A) 50% $2 #1 @x_y [z]"
    )
    assert escape("a  b\n c ") == "a£ b′ c£"
    assert escape("«£5»") == "®«®£5®»"


@given(some.text())
@example("®")
@example("®®-")
@example(" ")
def test_escaping_is_undone_for_every_text(text: str) -> None:
    assert unescape(escape(text)) == text


def test_a_mark_before_nothing_of_ours_stands_for_itself() -> None:
    assert unescape("Coke® is") == "Coke® is"
    assert unescape("end®") == "end®"


@settings(max_examples=400, deadline=None)
@given(text=some.text(ASCII + STAND_INS, max_size=60))
@example(text=ASCII)
@example(text=LATEX)
@example(text="\n\n\n   \t \n")
@example(text="</s><pad><unk><extra_id_0>")
@example(text="")
def test_t5_writes_every_ascii_text_back(codec: Closed, text: str) -> None:
    assert codec.escapes
    assert back(codec, text) == text


def test_what_t5_writes_without_it(codec: Closed) -> None:
    plain = Closed(codec.tokenizer, False)
    lost = [sign for sign in ASCII if sign not in back(plain, f"a{sign}b")]
    assert lost == ["<", "\\", "^", "`", "{", "}", "~", "\n", "\t"]
    assert back(plain, "a  b\nc") == "a b c"
    assert back(plain, "a , b .") == "a , b ."


def test_the_common_ones_cost_one_token(codec: Closed) -> None:
    def tokens(text: str) -> int:
        return len(codec.targets([text])[0])

    for sign in "\n{}\\^<":
        assert tokens(f"1{sign}{sign}{sign}{sign}2") <= tokens(f"1{sign}2") + 3, sign


@pytest.mark.parametrize("text", ["{", " ", "®", "\n ", "®-", "a"])
def test_a_megabyte_takes_its_length(text: str) -> None:
    long = text * (1_000_000 // len(text))
    started = time.process_time()
    assert unescape(escape(long)) == long
    assert time.process_time() - started < 2.0


# ---------------------------------------------------------------- who escapes


def test_a_given_tokenizer_decides_and_the_recipe_can_overrule(t5: Path) -> None:
    def escapes(**settings: Any) -> bool:
        found = Seq2Seq(config="tiny", tokenizer=str(t5), **settings).codec()
        assert found is not None
        return found.escapes

    assert escapes()
    assert escapes(escape=True)
    assert not escapes(escape=False)
    with pytest.raises(ValidationError):
        Seq2Seq(config="tiny", escape="sometimes")


def test_a_tokenizer_that_writes_all_of_ascii_needs_none(tmp_path: Path) -> None:
    make_tokenizer("bpe", ["some text"], 300).save_pretrained(tmp_path)
    codec = Seq2Seq(config="tiny", tokenizer=str(tmp_path)).codec()
    assert codec is not None
    assert not codec.escapes
    assert back(codec, LATEX) == LATEX


def test_a_tokenizer_that_cannot_write_the_stand_ins_cannot_escape(tmp_path: Path) -> None:
    make_tokenizer("word", ["some text"], 300).save_pretrained(tmp_path)
    named = {"config": "tiny", "tokenizer": str(tmp_path)}
    codec = Seq2Seq(**named).codec()
    assert codec is not None
    assert not codec.escapes
    with pytest.raises(TrainingError, match="set escape to auto or false"):
        Seq2Seq(**named, escape=True).create([], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_from_scratch_is_as_before(kind: str) -> None:
    live: Any = Seq2Seq(config="tiny", tokenizer=kind).create([LATEX, "«£»"], 0)
    assert not live.codec.escapes
    (row,) = live.encode([Example("q", LATEX, "«£»")])
    assert row["source"] == live.tokenizer(LATEX)["input_ids"]
    assert live.codec.decode(row["source"][:-1]) == LATEX
    assert live.codec.decode(row["target"][:-1]) == "«£»"


# ---------------------------------------------------------------- a student that escapes

WRITTEN = "if {a}:\n  \\x^2 < `3`"


@pytest.fixture(scope="module")
def learnt(t5: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny T5 with T5's tokenizer that knows one text by heart."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learnt")
    groups = [(Example("q", "Write\nit {down}.", WRITTEN),)]
    student = Seq2Seq(config="tiny", tokenizer=str(t5))
    train(student, groups, spec(60), learning_rate=5e-3, seed=0, folder=folder, progress=quiet)
    yield folder / "model"
    torch.set_num_threads(threads)


def test_newlines_and_braces_are_learnt_and_written(learnt: Path) -> None:
    live: Any = Seq2Seq(checkpoint=str(learnt)).load(learnt)
    assert live.codec.escapes
    (written,) = live.generate(["Write\nit {down}."], Sampling(max_tokens=40))
    assert (written.text, written.finish_reason) == (WRITTEN, "stop")
    (row,) = live.encode([Example("q", "Write\nit {down}.", WRITTEN)])
    assert live.tokenizer.unk_token_id not in (*row["source"], *row["target"])
    assert live.source_tokens(["Write\nit {down}."]) == [len(row["source"])] == [written.source_tokens]


def test_a_stop_string_is_looked_for_in_what_was_meant(learnt: Path) -> None:
    live = Seq2Seq(checkpoint=str(learnt)).load(learnt)
    (stopped,) = live.generate(["Write\nit {down}."], Sampling(max_tokens=40, stop=("\n",)))
    assert (stopped.text, stopped.finish_reason) == ("if {a}:", "stop")


def test_a_saved_student_knows_whether_it_escapes(learnt: Path, tmp_path: Path) -> None:
    shutil.copytree(learnt, tmp_path, dirs_exist_ok=True)
    file = tmp_path / _escape.FILE
    assert json.loads(file.read_text(encoding="utf-8")) == {"escape": True}
    again: Any = Seq2Seq(checkpoint=str(tmp_path), escape=False).load(tmp_path)
    assert again.codec.escapes, "what it was trained on counts, not what the recipe says now"
    # Fine-tuned further, it goes on as it began.
    file.write_text('{"escape": false}', encoding="utf-8")
    onwards: Any = Seq2Seq(checkpoint=str(tmp_path)).create([], 0)
    assert not onwards.codec.escapes
    file.unlink()
    from_elsewhere: Any = Seq2Seq(checkpoint=str(tmp_path)).create([], 0)
    assert from_elsewhere.codec.escapes
    file.write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match="damaged"):
        Seq2Seq(checkpoint=str(tmp_path)).load(tmp_path)


# ---------------------------------------------------------------- before training

LIMITS = TrainSpec(max_source_tokens=12, max_target_tokens=12)


def look(students: dict[str, Student], texts: Sequence[str], limits: TrainSpec = LIMITS) -> Any:
    groups = [(Example("q", "Why?", text),) for text in texts]
    return tokenizers(students, {"single_stage": groups}, limits)


def test_what_is_lost_is_counted(t5: Path) -> None:
    plain = Seq2Seq(config="tiny", tokenizer=str(t5), escape=False)
    section = look({"t5": plain}, ["{a}\n{b}", "a  b", "½", "{", "{"])
    measured = section.numbers["t5"]["methods"]["single_stage"]
    # Two braces open and two close in the first text, two more open in the last ones, and ½ becomes 1/2.
    assert measured["lost"] == 7
    assert dict(measured["worst"]) == {"{": 4, "}": 2, "½": 1}
    assert measured["spaces"] == 2
    assert measured["characters"] == 14
    assert section.sentences[0].startswith(
        "t5: 7 of 14 target characters (50.00 %) and 2 runs of white space do not come back (most often { 4"
    )
    assert section.rows == (("t5", "single_stage", "5", "14", "7", "2", "0"),)


def test_what_the_escape_saves_is_told(t5: Path) -> None:
    section = look({"t5": Seq2Seq(config="tiny", tokenizer=str(t5))}, ["{a}\n{b}", "a  b"])
    assert section.numbers["t5"]["methods"]["single_stage"]["lost"] == 0
    assert section.numbers["t5"]["without_escape"]["lost"] == 4
    assert section.sentences[0].startswith(
        "t5: all 11 target characters come back. Texts are escaped: without that, 4 characters (36.36 %) and "
        "2 runs of white space would not"
    )


def test_what_is_too_long_is_counted_as_training_counts_it(t5: Path) -> None:
    student = Seq2Seq(config="tiny", tokenizer=str(t5))
    short, long = Example("q", "Why?", "No."), Example("q", "Why?", "no " * 20)
    groups = [(short, long), (short,), (Example("q", "why " * 20, "No."),)]
    section = tokenizers({"t5": student}, {"single_stage": groups}, LIMITS)
    # A group goes as a whole.
    assert section.numbers["t5"]["methods"]["single_stage"]["left_out"] == 3
    assert "3 of 4 examples (75.00 %) are left out of training" in section.sentences[1]


@pytest.mark.parametrize("kind", [Causal, Seq2Seq])
def test_the_look_counts_what_training_counts(t5: Path, tmp_path: Path, kind: type[Student]) -> None:
    student = kind(config="tiny", tokenizer=str(t5))  # type: ignore[call-arg]
    groups = [(Example("q", "Why? " * n, "No. " * n),) for n in range(1, 9)]
    limits = spec(1, max_source_tokens=13, max_target_tokens=10)
    section = tokenizers({"t5": student}, {"m": groups}, limits)
    done = train(student, groups, limits, learning_rate=1e-3, seed=0, folder=tmp_path, progress=quiet)
    assert section.numbers["t5"]["methods"]["m"]["left_out"] == done["too_long"] > 0


def test_a_tokenizer_that_is_trained_here_writes_everything() -> None:
    section = look({"own": scratch("seq2seq")}, ["{a}\n"])
    assert section.rows == ()
    assert "every character of theirs can be written" in section.sentences[0]


def test_nothing_to_look_at_says_so(t5: Path) -> None:
    assert look({}, []).sentences == ("There is no student whose tokenizer could be looked at.",)
    assert look({"t5": Seq2Seq(config="tiny", tokenizer=str(t5))}, []).sentences[0].startswith("t5: all 0")


def test_a_checkpoint_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot load the checkpoint"):
        look({"none": Seq2Seq(checkpoint=str(tmp_path / "absent"))}, ["a"])


# ---------------------------------------------------------------- real rationales

REAL = [
    ("math_gemini_level1_ranked.json.gz", "solution"),
    ("gsm8k_gemini_level2_ranked.json.gz", "output"),
    ("SVAMP_llama_level4_ranked.json.gz", "output"),
]


@pytest.mark.parametrize(("file", "column"), REAL)
def test_real_rationales_come_back(t5: Path, file: str, column: str) -> None:
    path = shared_data("eit_cot_distill") / file
    texts = [str(row.fields[column]) for row in read(path)][:1000]
    student = Seq2Seq(config="tiny", tokenizer=str(t5))
    entry = look({"t5": student}, texts, TrainSpec()).numbers["t5"]
    measured, plain = entry["methods"]["single_stage"], entry["without_escape"]
    assert plain["lost"] + plain["spaces"] > 500
    assert (measured["lost"], measured["spaces"]) == (0, 0)
    assert measured["target_tokens"] < 1.06 * plain["target_tokens"]
