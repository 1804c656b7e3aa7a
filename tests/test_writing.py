"""Answers that begin with a prefix, the log-probability of what was written, and where writing stops."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shared_data import shared_model
from test_students import same
from tiny import GROUPS, STUDENTS, SUMS, TEXTS, quiet, scratch, spec
from understudy.ledger import Ledger
from understudy.roles import Identity
from understudy.students._completer import StudentCompleter
from understudy.students._live import read_back
from understudy.students._tokenizers import Closed, make_tokenizer
from understudy.students.seq2seq import LiveSeq2Seq
from understudy.training import train
from understudy.types import Completion, Example, Message, Question, Request, Sampling

NAMES = tuple(STUDENTS)
GREEDY = Sampling(max_tokens=12)
SOURCES = [example.source for example in SUMS]
WORDS = ["The", "answer", "is", "3."]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, _one_thread: None) -> Mapping[str, Any]:
    """Each architecture's student that has learnt the four sums by heart."""
    lives = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        train(scratch(name), GROUPS, spec(60), learning_rate=5e-3, seed=0, folder=folder, progress=quiet)
        lives[name] = scratch(name).load(folder / "model")
    return lives


# ---------------------------------------------------------------- prefixes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", range(5))
def test_a_text_goes_on_from_its_own_beginning(trained: Mapping[str, Any], name: str, count: int) -> None:
    live = trained[name]
    (whole,) = live.generate(SOURCES[:1], GREEDY)
    (rest,) = live.generate(SOURCES[:1], GREEDY, [" ".join(WORDS[:count])])
    assert rest.text == " ".join(WORDS[count:])
    # "3." is a number and a full stop; every other word is one token.
    given = count + (count == 4)
    assert (rest.tokens, rest.source_tokens) == (whole.tokens - given, whole.source_tokens + given)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_given_is_not_counted_as_said(trained: Mapping[str, Any], name: str) -> None:
    live = trained[name]
    (whole,) = live.generate(SOURCES[:1], GREEDY)
    (begun,) = live.generate(SOURCES[:1], Sampling(max_tokens=2))
    (rest,) = live.generate(SOURCES[:1], GREEDY, [begun.text])
    assert begun.logprob + rest.logprob == pytest.approx(whole.logprob, abs=1e-5)
    assert rest.logprob > whole.logprob


@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_can_lead_elsewhere(trained: Mapping[str, Any], name: str) -> None:
    (rest,) = trained[name].generate(SOURCES[:1], GREEDY, ["The answer is 7"])
    assert rest.text == "."


@pytest.mark.parametrize("name", NAMES)
def test_no_prefix_is_as_none(trained: Mapping[str, Any], name: str) -> None:
    live = trained[name]
    assert live.generate(SOURCES, GREEDY, [""] * 4) == live.generate(SOURCES, GREEDY)
    spaced = live.generate(SOURCES[:2], GREEDY, ["The answer ", " "])
    same(spaced, live.generate(SOURCES[:2], GREEDY, ["The answer", ""]))


PREFIXES = ["", "The answer is", "The", "The answer is 11"]


@pytest.mark.parametrize("name", NAMES)
def test_prefixes_of_any_lengths_share_a_batch(trained: Mapping[str, Any], name: str) -> None:
    live = trained[name]
    one_by_one = [live.generate([s], GREEDY, [p])[0] for s, p in zip(SOURCES, PREFIXES, strict=True)]
    assert len({one.source_tokens for one in one_by_one}) > 2
    same(live.generate(SOURCES, GREEDY, PREFIXES), one_by_one)


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_is_laid_as_training_lays_it(name: str, kind: str) -> None:
    live: Any = scratch(name, kind).create(TEXTS, 0)
    (row,) = live.encode([Example("q", SOURCES[0], "The answer is 3.")])
    (begun,) = live.codec.begun(["The answer is"])
    assert len(begun) >= 3
    assert row["target"][: len(begun)] == begun


def t5_tokenizer(folder: Path) -> str:
    shutil.copy(shared_model("t5-tokenizer") / "tokenizer.json", folder)
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    return str(folder)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_t5_does_not_see_the_padding_before_a_prefix(tmp_path: Path, attention: str) -> None:
    live: Any = STUDENTS["seq2seq"](config="tiny", tokenizer=t5_tokenizer(tmp_path)).create([], 0)
    live.model.set_attn_implementation(attention)
    # Random biases tell positions apart; as they are made they are nearly equal.
    torch.manual_seed(0)
    bias = live.model.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    torch.nn.init.normal_(bias, std=2.0)
    prefixes = ["", "The sky is green", "The", "A long text {with braces} and\na second line"]
    sources = ["The house is wonderful.", "Why?", "How many apples has Tom?", "The sky is"]
    one_by_one = [live.generate([s], GREEDY, [p])[0] for s, p in zip(sources, prefixes, strict=True)]
    assert len({one.logprob for one in one_by_one}) == 4
    same(live.generate(sources, GREEDY, prefixes), one_by_one)


def test_where_positions_are_absolute_prefixes_are_not_padded() -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = make_tokenizer("word", [text.lstrip() for text in TEXTS], 100)
    torch.manual_seed(0)
    shape = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        **shape,
        decoder_start_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        forced_eos_token_id=None,
        init_std=0.5,
    )
    live = LiveSeq2Seq(BartForConditionalGeneration(config), Closed(tokenizer, escapes=False))
    one_by_one = [live.generate([s], GREEDY, [p])[0] for s, p in zip(SOURCES, PREFIXES, strict=True)]
    same(live.generate(SOURCES, GREEDY, PREFIXES), one_by_one)
    assert live._together([1, 0, 1]) == [[1], [0, 2]]


def test_a_real_decoder_goes_on_with_its_story() -> None:
    live = STUDENTS["causal"](checkpoint=str(shared_model("stories260K") / "hf")).create([], 0)
    source = "Once upon a time, there was a little girl named"
    (whole,) = live.generate([source], Sampling(max_tokens=16))
    words = whole.text.split()
    prefixes = [" ".join(words[:count]) for count in (1, 3, 5)]
    rests = live.generate([source] * 3, Sampling(max_tokens=8), prefixes)
    for prefix, rest in zip(prefixes, rests, strict=True):
        assert f"{prefix} {rest.text}"[: len(whole.text)] == whole.text[: len(prefix) + 1 + len(rest.text)]


# ---------------------------------------------------------------- log-probabilities


def by_hand(live: Any, source: str, out: Sequence[int], given: int) -> list[float]:
    """The log-probability of every token of an output after the first `given`, from one pass over all."""
    (row,) = live.codec.sources([source])
    if live.kind == "seq2seq":
        inputs = {"input_ids": torch.tensor([row]), "decoder_input_ids": torch.tensor([out])}
    else:
        inputs = {"input_ids": torch.tensor([out])}
    with torch.no_grad():
        logprobs = live.model(**inputs).logits[0].log_softmax(-1)
    return [float(logprobs[at - 1, out[at]]) for at in range(given, len(out))]


def recorded(live: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Everything that the model itself returns from now on, row by row."""
    rows: list[list[int]] = []
    generate = live.model.generate

    def listening(**inputs: Any) -> Any:
        out = generate(**inputs)
        rows.extend(out.tolist())
        return out

    monkeypatch.setattr(live.model, "generate", listening)
    return rows


SAMPLINGS = [
    GREEDY,
    Sampling(max_tokens=3),
    Sampling(temperature=1.0, max_tokens=12),
    Sampling(temperature=3.0, top_p=0.8, max_tokens=12),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("prefix", ["", "The answer"])
@pytest.mark.parametrize("name", NAMES)
def test_the_log_probability_is_that_of_one_pass_over_the_text(
    trained: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, prefix: str, sampling: Sampling
) -> None:
    live = trained[name]
    out = recorded(live, monkeypatch)
    torch.manual_seed(3)
    for source in SOURCES[:2]:
        (got,) = live.generate([source], sampling, [prefix])
        read = live.codec.begun([prefix])[0]
        given = len(read) + (1 if name == "seq2seq" else len(live.codec.sources([source])[0]))
        wanted = by_hand(live, source, out[-1], given)
        assert len(wanted) == got.tokens
        assert got.logprob == pytest.approx(math.fsum(wanted), abs=1e-4)
        assert got.logprob < 0


@pytest.mark.parametrize("name", NAMES)
def test_a_sure_student_says_so(trained: Mapping[str, Any], name: str) -> None:
    known, unknown = trained[name].generate([SOURCES[0], "Question: 9 + 9 + 1"], GREEDY)
    assert -0.5 < known.logprob < 0
    assert unknown.logprob < known.logprob


def test_padding_after_the_end_counts_for_nothing(trained: Mapping[str, Any]) -> None:
    live = trained["causal"]
    both = live.generate(SOURCES[:2], GREEDY, ["The answer is 3.", ""])
    assert [one.tokens for one in both] == [1, 6]
    same(both[:1], live.generate(SOURCES[:1], GREEDY, ["The answer is 3."]))


# ---------------------------------------------------------------- stop strings


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_after_a_stop_string(
    trained: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    live = trained[name]
    whole = live.generate(SOURCES[:2], GREEDY)
    out = recorded(live, monkeypatch)
    (stopped,) = live.generate(SOURCES[:1], replace(GREEDY, stop=("answer is",)))
    assert (stopped.text, stopped.finish_reason, stopped.tokens) == ("The", "stop", 3)
    given = 1 if name == "seq2seq" else stopped.source_tokens
    assert len(out[-1]) - given == 3
    assert stopped.logprob == pytest.approx(math.fsum(by_hand(live, SOURCES[0], out[-1], given)), abs=1e-4)
    # The other row does not hold its breath: "7" is in its own answer alone.
    mixed = live.generate(SOURCES[:2], replace(GREEDY, stop=("7",)))
    same(mixed[:1], whole[:1])
    assert (mixed[1].text, mixed[1].tokens) == ("The answer is", 4)
    assert mixed[1].logprob > whole[1].logprob


class Letters:
    """A tokenizer whose token 1 is a, 2 is b, ...; 0 ends a text."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(" abcdef"[i] for i in ids)


@pytest.mark.parametrize(
    ("new", "stops", "tokens", "logprob"),
    [
        ([1, 2, 0, 0], (), 3, -7.0),
        ([1, 2, 3, 4], (), 4, -15.0),
        ([1, 2, 3, 4], ("bc",), 3, -7.0),
        ([1, 2, 3, 4], ("d", "a"), 1, -1.0),
        ([1, 2, 0, 3], ("c",), 3, -7.0),
    ],
)
def test_what_counts(new: list[int], stops: tuple[str, ...], tokens: int, logprob: float) -> None:
    got = read_back(Letters(), new, {0}, 9, stops, [-1.0, -2.0, -4.0, -8.0])
    assert (got.tokens, got.logprob) == (tokens, logprob)
    assert read_back(Letters(), new, {0}, 9, stops).logprob is None
    assert read_back(Letters(), new, {0}, 9, stops, [math.nan] * 4).logprob is None


# ---------------------------------------------------------------- through the completer and the ledger


def request(prefix: str = "", source: str = SOURCES[0]) -> Request:
    begun = (Message("assistant", prefix),) if prefix else ()
    return Request(Question("toy", "3"), (Message("user", source), *begun))


def answers(path: Path, live: Any, requests: Sequence[Request]) -> tuple[list[Completion], int]:
    """What is said, and how much of it had to be asked for."""
    completer = StudentCompleter(live, Identity("local", "toy"), 4096)
    with Ledger(path) as ledger:
        landed = sorted(ledger.complete(completer, requests, GREEDY), key=lambda item: item[0])
        return [said for _, said in landed], ledger.asked


@pytest.mark.parametrize("name", NAMES)
def test_the_assistant_s_words_are_where_an_answer_goes_on(
    trained: Mapping[str, Any], tmp_path: Path, name: str
) -> None:
    asked = [request(), request("The answer"), request("The answer is 7"), request("The", SOURCES[3])]
    first, count = answers(tmp_path / "ledger.sqlite", trained[name], asked)
    assert [said.text for said in first] == ["The answer is 3.", "is 3.", ".", "answer is 15."]
    assert count == 4, "what the answer begins with is part of what is asked"
    assert first[1].prompt_tokens == first[0].prompt_tokens + 2
    assert all(said.logprob is not None and said.logprob < 0 for said in first)
    again, count = answers(tmp_path / "ledger.sqlite", trained[name], asked)
    assert (again, count) == (first, 0)
