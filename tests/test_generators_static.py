"""The engine with memory of fixed size writes what transformers writes, in any slot and beside any row."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from test_generators import STAGE, rehearsal
from test_students import same
from tiny import GROUPS, SUMS, quiet, scratch, spec
from understudy.errors import TrainingError
from understudy.generators import ready
from understudy.generators._choosing import choose
from understudy.generators._products import product
from understudy.generators._refill import PACES
from understudy.generators._t5 import Decoder
from understudy.generators.contract import Refilling, settled
from understudy.generators.ready import ENGINES, Wanted
from understudy.generators.static import Refilled
from understudy.roles import Generated, Identity
from understudy.students._completer import StudentCompleter, joined, packed
from understudy.students._tokenizers import Closed, make_tokenizer
from understudy.students.causal import LiveCausal
from understudy.students.seq2seq import LiveSeq2Seq
from understudy.training import train
from understudy.types import Message, Question, Request, Sampling

GREEDY = Sampling(max_tokens=40)
WORDS = [f"w{number}" for number in range(30)]
DRAW = random.Random(0)
SOURCES = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 30))) for _ in range(13)]
PREFIXES = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(0, 6))) for _ in range(13)]

SHAPES: dict[str, dict[str, Any]] = {
    "gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "relu": {"feed_forward_proj": "relu"},
    "silu, own decoder": {"feed_forward_proj": "gated-silu", "num_decoder_layers": 1, "d_kv": 10},
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def student(shape: str, head: bool = False) -> LiveSeq2Seq:
    """Weights so large that every part of the model decides tokens, and distances above 12 share a bucket."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = make_tokenizer("word", [" ".join(WORDS)], 60)
    config: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "d_model": 24,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 3,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 12,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **SHAPES[shape],
    }
    torch.manual_seed(3)
    model = T5ForConditionalGeneration(T5Config(**config)).eval()
    if head:
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return LiveSeq2Seq(model, Closed(tokenizer, False))


def static(live: Any, compute_type: str = "float32") -> Refilling:
    writer = ENGINES["static"].build(live, compute_type, "cpu", Path())
    assert isinstance(writer, Refilling)
    return writer


def streamed(
    writer: Refilling, slots: int, sampling: Sampling, prefixes: Sequence[str], seeds: Sequence[int] = ()
) -> list[Generated]:
    landed = writer.stream(SOURCES, sampling, prefixes, seeds or [0] * len(SOURCES), slots)
    pairs = [pair for group in landed for pair in group]
    assert sorted(at for at, _ in pairs) == list(range(len(SOURCES)))
    return [text for _, text in sorted(pairs, key=lambda pair: pair[0])]


def equal(ours: Sequence[Generated], theirs: Sequence[Generated]) -> None:
    same(ours, theirs)
    assert [one.ids for one in ours] == [one.ids for one in theirs]
    assert [one.logprob for one in theirs] == pytest.approx([one.logprob for one in ours], abs=1e-4)


@pytest.mark.parametrize("head", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_writes_what_transformers_writes(shape: str, head: bool) -> None:
    live = student(shape, head)
    assert ENGINES["static"].refusal(live, "float32", "cpu") == ""
    ours = live.generate(SOURCES, GREEDY)
    equal(ours, static(live).generate(SOURCES, GREEDY))
    # Far beyond the last bucket's border, and with ends in between.
    assert max(one.tokens for one in ours) == 40
    assert len({one.ids for one in ours}) > 5


def test_the_scale_of_a_tied_head_counts() -> None:
    plain, scaled = student("gated"), student("relu")
    assert (plain.model.config.scale_decoder_outputs, scaled.model.config.scale_decoder_outputs) == (
        False,
        True,
    )
    scaled.model.config.scale_decoder_outputs = False
    ours = scaled.generate(SOURCES, GREEDY)
    scaled.model.config.scale_decoder_outputs = True
    other = static(scaled).generate(SOURCES, GREEDY)
    assert [one.logprob for one in other] != pytest.approx([one.logprob for one in ours], abs=1e-2)


@pytest.mark.parametrize("slots", [1, 2, 5, 13])
def test_a_row_writes_the_same_in_any_slot(slots: int) -> None:
    live = student("relu")
    ours = live.generate(SOURCES, GREEDY, PREFIXES)
    assert len({one.tokens for one in ours}) > 2, "all end together, and nothing is refilled"
    equal(ours, streamed(static(live), slots, GREEDY, PREFIXES))


@pytest.mark.parametrize("halving", [False, True])
@pytest.mark.parametrize("every", [1, 3, 16])
def test_how_often_somebody_looks_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, every: int, halving: bool
) -> None:
    live = student("relu")
    pace = replace(PACES["cpu"], every=every, halving=halving, columns=8, together=2)
    monkeypatch.setitem(PACES, "cpu", pace)
    equal(live.generate(SOURCES, GREEDY, PREFIXES), streamed(static(live), 4, GREEDY, PREFIXES))


def test_steps_get_smaller_when_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    step = Decoder.step

    def watched(self: Decoder, memory: Any, rows: int, length: int, reach: int, sampling: Sampling) -> None:
        steps.append((rows, length, reach))
        step(self, memory, rows, length, reach, sampling)

    monkeypatch.setattr(Decoder, "step", watched)
    live = student("relu")
    lengths = [one.tokens for one in streamed(static(live), 4, GREEDY, [""] * 13)]
    assert steps[0] == (4, 16, 32)
    assert steps[-1][0] < 4
    # No slot is empty for long: about the tokens in all, not the longest row of each batch of four.
    batches = sum(4 * max(lengths[start : start + 4]) for start in range(0, 13, 4))
    assert sum(rows for rows, _, _ in steps) < batches


@pytest.mark.parametrize("longest", [1, 2, 5])
def test_it_is_cut_off_at_the_same_token(longest: int) -> None:
    live, sampling = student("relu"), Sampling(max_tokens=longest)
    ours = live.generate(SOURCES, sampling, PREFIXES)
    equal(ours, streamed(static(live), 4, sampling, PREFIXES))
    assert {one.tokens for one in ours} > {longest} or longest == 1


@pytest.mark.parametrize("stop", [("w1",), ("w2 w", "w9"), ("2 w",), ("never",), ("",)])
def test_it_stops_where_transformers_stops(stop: tuple[str, ...]) -> None:
    live, sampling = student("relu"), replace(GREEDY, stop=stop)
    equal(live.generate(SOURCES, sampling, PREFIXES), streamed(static(live), 4, sampling, PREFIXES))


def test_an_asking_leaves_nothing_for_the_next() -> None:
    live = student("relu")
    writer = static(live)
    drawn = Sampling(temperature=1.0, max_tokens=40)
    for sampling, prefixes in ((GREEDY, PREFIXES), (drawn, PREFIXES), (GREEDY, [""] * 13)):
        found = streamed(writer, 4, sampling, prefixes)
    equal(live.generate(SOURCES, GREEDY), found)
    assert live.model.training is False


def test_bfloat16_is_near_and_leaves_the_student_alone() -> None:
    live = student("gated")
    live.model.train()
    sampling = Sampling(max_tokens=1)
    ours, theirs = live.generate(SOURCES, sampling), static(live, "bfloat16").generate(SOURCES, sampling)
    assert next(live.model.parameters()).dtype == torch.float32
    assert live.model.training
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if one.ids == other.ids]
    assert len(pairs) > len(ours) / 2
    assert [one.logprob for one, _ in pairs] == pytest.approx([two.logprob for _, two in pairs], abs=0.2)
    assert [one.logprob for one, _ in pairs] != [two.logprob for _, two in pairs]


def test_products_are_the_same_laid_out_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, rows = torch.randn(7, 5), torch.randn(3, 5)
    torch.testing.assert_close(product(weight)(rows), rows @ weight.t())
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert torch.equal(product(weight)(rows), torch.nn.functional.linear(rows, weight))


# ---------------------------------------------------------------- what is drawn


def test_a_number_falls_where_the_distribution_says() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.4, 0.3]]).log()
    hot = Sampling(temperature=1.0)

    def token(number: float, sampling: Sampling = hot) -> int:
        return int(choose(logits, sampling, torch.tensor([number]))[0])

    assert [token(number) for number in (0.0, 0.09, 0.11, 0.29, 0.31, 0.69, 0.71, 1 - 2**-24)] == [
        0, 0, 1, 1, 2, 2, 3, 3
    ]  # fmt: skip
    # Half of the mass is in the two likeliest, 2 and 3, as 4 to 3.
    nucleus = replace(hot, top_p=0.5)
    assert [token(number, nucleus) for number in (0.0, 0.56, 0.58, 1 - 2**-24)] == [2, 2, 3, 3]
    assert token(0.99, replace(hot, top_p=0.4)) in (2, 3)
    assert token(0.99, replace(hot, top_p=0.01)) == 2
    # The square of the shares, at half the temperature: 1, 4, 16, 9 of 30.
    assert [token(number, replace(hot, temperature=0.5)) for number in (0.03, 0.16, 0.18, 0.69, 0.71)] == [
        0, 1, 2, 2, 3
    ]  # fmt: skip
    _, logprob = choose(logits, replace(hot, temperature=0.5), torch.tensor([0.5]))
    assert float(logprob) == pytest.approx(float(torch.tensor(0.4).log()))


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_draws_have_the_frequencies_of_transformers(top_p: float) -> None:
    live = student("gated")
    source = min(SOURCES, key=len)
    sources, sampling = [source] * 2000, Sampling(temperature=1.5, top_p=top_p, max_tokens=1)
    shares = []
    for writer in (live, static(live)):
        torch.manual_seed(0)
        ids = torch.tensor([one.ids[0] for one in writer.generate(sources, sampling)])
        shares.append(torch.bincount(ids, minlength=64) / len(ids))
    assert (shares[0] > 0.02).sum() > 3
    assert (shares[0] - shares[1]).abs().max() < 0.04
    assert (shares[0] - shares[1]).abs().max() > 0


def test_what_a_row_draws_hangs_on_its_own_seed_alone() -> None:
    writer, sampling = static(student("relu")), Sampling(temperature=1.0, top_p=0.9, max_tokens=20)
    seeds = list(range(100, 113))
    first = streamed(writer, 13, sampling, PREFIXES, seeds)
    again = streamed(writer, 3, sampling, PREFIXES, seeds)
    assert [one.ids for one in again] == [one.ids for one in first]
    alone = dict(next(iter(writer.stream(SOURCES[4:5], sampling, PREFIXES[4:5], [104], 1))))
    assert alone[0].ids == first[4].ids
    others = streamed(writer, 13, sampling, PREFIXES, [seed + 50 for seed in seeds])
    assert sum(one.ids != two.ids for one, two in zip(first, others, strict=True)) > 6
    torch.manual_seed(1)
    mine = writer.generate(SOURCES, sampling)
    torch.manual_seed(1)
    assert writer.generate(SOURCES, sampling) == mine


# ---------------------------------------------------------------- the completer


def test_the_completer_asks_for_many_at_once_and_draws_the_same_whatever_is_left() -> None:
    live = student("relu")
    writer, sampling = static(live), Sampling(temperature=1.0, max_tokens=8)

    def said(batch_tokens: int, some: slice) -> tuple[dict[tuple[str, int], str], int]:
        completer = StudentCompleter(live, Identity("local", "toy"), batch_tokens, writer)
        requests = [Request(Question(text, ""), (Message("user", text),), (0, 1)) for text in SOURCES[some]]
        groups = list(completer.complete(requests, sampling))
        landed = [one for group in groups for one in group]
        assert all(requests[at].question.id == one.question_id for at, one in landed)
        return {(one.question_id, one.sample): one.text for _, one in landed}, len(groups)

    whole, groups = said(160, slice(None))
    assert len(whole) == 26
    assert 1 < groups < 26
    assert len(set(whole.values())) > 20
    rest, _ = said(90, slice(5, None))
    assert rest == {key: whole[key] for key in rest}


def test_batches_are_joined_until_twice_as_many_rows_would_fit() -> None:
    rows = [(at, 0, length) for at, length in enumerate([90, 80, 70, 60, 50, 40, 30, 5, 5, 5])]
    batches = list(packed(rows, 10, 200))
    assert [len(batch) for batch in batches] == [2, 2, 3, 3]
    chunks = list(joined(batches, 10))
    assert [([row[2] for row in chunk], slots) for chunk, slots in chunks] == [
        ([90, 80, 70, 60, 50, 40, 30], 2),
        ([5, 5, 5], 3),
    ]
    assert list(joined([], 10)) == []


# ---------------------------------------------------------------- refusals and the gate


def test_others_are_refused() -> None:
    from transformers import BartConfig, BartForConditionalGeneration, OPTConfig, OPTForCausalLM

    live = student("relu")
    bart = BartConfig(
        vocab_size=40, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=8,
    )  # fmt: skip
    other: Any = LiveSeq2Seq(BartForConditionalGeneration(bart), live.codec)
    opt = OPTConfig(vocab_size=40, hidden_size=8, num_hidden_layers=1, ffn_dim=8, num_attention_heads=1)
    causal: Any = LiveCausal(OPTForCausalLM(opt), live.tokenizer)
    for one, kind in ((other, "BartForConditionalGeneration"), (causal, "OPTForCausalLM")):
        why = ENGINES["static"].refusal(one, "float32", "cpu")
        assert why == f"static cannot run this student: it is a {kind}, and T5 is all that it knows"

    class Adapted(torch.nn.Linear):
        """Adds something of its own to what its weight says."""

    live.model.decoder.block[0].layer[0].SelfAttention.q = Adapted(24, 24, bias=False)
    assert "its weights are wrapped (Adapted)" in ENGINES["static"].refusal(live, "float32", "cpu")
    live = student("relu")
    assert "does not compute in int8" in ENGINES["static"].refusal(live, "int8", "cpu")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, _one_thread: None) -> Mapping[str, Path]:
    """Folders of two students that have half learnt their sums."""
    found = {}
    for name in ("seq2seq", "causal"):
        folder = tmp_path_factory.mktemp(name)
        train(scratch(name), GROUPS, spec(25), learning_rate=5e-3, seed=0, folder=folder, progress=quiet)
        found[name] = folder / "model"
    return found


def prepared(folder: Path, cache: Path, name: str = "seq2seq", **wanted: Any) -> Any:
    live = scratch(name).load(folder)
    asked = Wanted(**{"engine": "static", "compute_type": "float32", "answers": 1000, **wanted})
    return live, ready.ready(live, folder, asked, STAGE, rehearsal(), cache)


def test_the_gate_lets_it_pass_and_refuses_broken_weights(
    taught: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, (writer, told) = prepared(taught["seq2seq"], tmp_path / "whole")
    assert isinstance(writer, Refilled)
    assert (told["engine"], told["parity"]["different"], told["parity"]["ties"]) == ("static", 0, [])
    sources = [example.source for example in SUMS]
    equal(live.generate(sources, GREEDY), writer.generate(sources, GREEDY))

    def turned(self: Any, model: Any, dtype: Any, device: str) -> None:
        whole(self, model, dtype, device)
        self._embedding = self._embedding.roll(1, 1)

    whole = Decoder.__init__
    monkeypatch.setattr(Decoder, "__init__", turned)
    with pytest.raises(TrainingError, match=r"static .* wrote other tokens than transformers"):
        prepared(taught["seq2seq"], tmp_path / "broken")


def test_auto_in_bfloat16_means_it_for_t5_and_transformers_for_others(
    taught: Mapping[str, Path], tmp_path: Path
) -> None:
    assert settled("auto", "bfloat16") == "auto"
    for name, engine in (("seq2seq", "static"), ("causal", "transformers")):
        _, (_, told) = prepared(
            taught[name], tmp_path / name, name, engine="auto", compute_type="bfloat16", answers=1
        )
        assert (told["engine"], told["compute_type"]) == (engine, "bfloat16")
        assert told["parity"]["prompts"] == 4


def test_without_ctranslate2_auto_takes_it_on_a_cpu(
    taught: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.generators.ctranslate2.find_spec", lambda name: None)
    _, (_, told) = prepared(taught["seq2seq"], tmp_path, engine="auto")
    assert told["engine"] == "static"
    _, (_, told) = prepared(taught["causal"], tmp_path, "causal", engine="auto")
    assert told["engine"] == "transformers"
    assert "ctranslate2 is not installed" in told["why"]


def test_graphs_leave_the_rows_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's part by a stand-in that runs what was captured when it is replayed, as a GPU would."""
    from contextlib import contextmanager, nullcontext

    from understudy.generators import _graphs

    class Graph:
        step: Any

        def replay(self) -> None:
            self.step()

    class Cuda:
        CUDAGraph = Graph
        Stream = staticmethod(lambda: Cuda)
        stream = staticmethod(lambda stream: nullcontext())
        current_stream = staticmethod(lambda: Cuda)
        wait_stream = staticmethod(lambda other: None)
        graph_pool_handle = staticmethod(lambda: 0)

        @staticmethod
        @contextmanager
        def graph(graph: Any, pool: int) -> Iterator[None]:
            captured.append(graph)
            yield

    captured: list[Any] = []
    capture = _graphs.Graphs._captured

    def kept(self: Any, step: Any) -> Any:
        graph = capture(self, step)
        graph.step = step
        return graph

    live = student("relu")
    pace = replace(PACES["cuda"], every=3, columns=16, together=2)
    monkeypatch.setattr(_graphs, "torch", type("Torch", (), {"cuda": Cuda}))
    monkeypatch.setattr(_graphs.Graphs, "_captured", kept)
    monkeypatch.setitem(PACES, "cpu", pace)
    writer: Any = static(live)
    writer._refill._captures = True
    equal(live.generate(SOURCES, GREEDY, PREFIXES), streamed(writer, 4, GREEDY, PREFIXES))
    assert 1 < len(captured) < 15
