"""Engines write what the reference writes, or are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from test_graph import PLAIN, graph, run_again
from test_students import same
from tiny import GROUPS, STUDENTS, SUMS, TEXTS, quiet, scratch, spec
from understudy import distill, examining, shelves
from understudy.errors import TrainingError
from understudy.evaluate import EvaluateSpec
from understudy.generators import parity, ready
from understudy.generators.contract import CAN, Writer, settled
from understudy.generators.parity import Rehearsal, spread
from understudy.generators.ready import ENGINES, Wanted
from understudy.generators.telling import sentences
from understudy.recipe import parse_recipe
from understudy.roles import Generated, Stage
from understudy.students._completer import StudentCompleter
from understudy.students._tokenizers import make_tokenizer
from understudy.students.causal import LiveCausal
from understudy.training import train
from understudy.types import Message, Question, Request, Sampling

NAMES = tuple(STUDENTS)
GREEDY = Sampling(max_tokens=12)
SOURCES = [example.source for example in SUMS]
UNLIKE = ["Question:", "Question: 1 + 2? Answer: 3 + 4? Answer:", *SOURCES]
PREFIXES = ["", "The answer is", "The", "The answer is 11", "", "The answer"]

needs_ctranslate2 = pytest.mark.skipif(
    not ENGINES["ctranslate2"].version(), reason="the package ctranslate2 is not installed"
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Taught:
    """A student that has half learnt the sums, so that it is sure of some tokens and not of others."""

    live: Any
    folder: Path


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, _one_thread: None) -> Mapping[str, Taught]:
    found = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        train(scratch(name), GROUPS, spec(25), learning_rate=5e-3, seed=0, folder=folder, progress=quiet)
        found[name] = Taught(scratch(name).load(folder / "model"), folder / "model")
    return found


@pytest.fixture(scope="module")
def fast(taught: Mapping[str, Taught], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Writer]:
    if not ENGINES["ctranslate2"].version():
        pytest.skip("the package ctranslate2 is not installed")
    cache = tmp_path_factory.mktemp("converted")
    engine = ENGINES["ctranslate2"]
    return {name: engine.build(one.live, "float32", "cpu", cache / name) for name, one in taught.items()}


# ---------------------------------------------------------------- ctranslate2 beside the reference


@pytest.mark.parametrize("name", NAMES)
def test_it_writes_the_same_tokens(
    taught: Mapping[str, Taught], fast: Mapping[str, Writer], name: str
) -> None:
    ours, theirs = taught[name].live.generate(UNLIKE, GREEDY), fast[name].generate(UNLIKE, GREEDY)
    same(ours, theirs)
    assert [one.ids for one in ours] == [one.ids for one in theirs]
    assert len({one.tokens for one in ours} | {one.source_tokens for one in ours}) > 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("longest", [1, 2, 5])
def test_it_is_cut_off_at_the_same_token(
    taught: Mapping[str, Taught], fast: Mapping[str, Writer], name: str, longest: int
) -> None:
    sampling = Sampling(max_tokens=longest)
    ours = taught[name].live.generate(UNLIKE, sampling, PREFIXES)
    same(ours, fast[name].generate(UNLIKE, sampling, PREFIXES))
    assert "length" in {one.finish_reason for one in ours}


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_from_prefixes_of_any_lengths(
    taught: Mapping[str, Taught], fast: Mapping[str, Writer], name: str
) -> None:
    ours = taught[name].live.generate(UNLIKE, GREEDY, PREFIXES)
    same(ours, fast[name].generate(UNLIKE, GREEDY, PREFIXES))
    assert (
        len({one.source_tokens - n for one, n in zip(ours, fast[name].source_tokens(UNLIKE), strict=True)})
        > 3
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stop", [("is",), (".", "answer"), ("er i",), ("never",), ("",)])
def test_it_stops_where_the_reference_stops(
    taught: Mapping[str, Taught], fast: Mapping[str, Writer], name: str, stop: tuple[str, ...]
) -> None:
    sampling = replace(GREEDY, stop=stop)
    ours = taught[name].live.generate(UNLIKE, sampling, PREFIXES)
    theirs = fast[name].generate(UNLIKE, sampling, PREFIXES)
    same(ours, theirs)
    assert [one.ids for one in ours] == [one.ids for one in theirs]


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_requests_as_the_reference_does(
    taught: Mapping[str, Taught], fast: Mapping[str, Writer], name: str
) -> None:
    found = []
    for writer in (None, fast[name]):
        completer = StudentCompleter(taught[name].live, None, 60, writer)  # type: ignore[arg-type]
        requests = [
            Request(Question(source, ""), (Message("user", source), Message("assistant", "The")))
            for source in SOURCES
        ]
        landed = [one for batch in completer.complete(requests, GREEDY) for one in batch]
        found.append(
            [(at, replace(said, logprob=None)) for at, said in sorted(landed, key=lambda one: one[0])]
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_hangs_on_the_seed_alone(fast: Mapping[str, Writer], name: str) -> None:
    sampling = Sampling(temperature=2.0, max_tokens=12)

    def draw(seed: int) -> list[Generated]:
        torch.manual_seed(seed)
        return fast[name].generate(SOURCES, sampling)

    first = draw(1)
    assert draw(2) != first
    assert draw(1) == first


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_probabilities_of_the_reference(
    taught: Mapping[str, Taught], fast: Mapping[str, Writer], name: str
) -> None:
    """The first token of 4000 draws, beside the model's own distribution at that temperature."""
    sources, sampling = [SOURCES[0]] * 2000, Sampling(temperature=2.0, max_tokens=1)
    counts = []
    for writer in (fast[name], taught[name].live):
        torch.manual_seed(0)
        drawn = writer.generate(sources, sampling)
        counts.append(torch.bincount(torch.tensor([one.ids[0] for one in drawn]), minlength=30) / len(drawn))
    assert torch.count_nonzero(counts[0]) > 5
    assert float((counts[0] - counts[1]).abs().max()) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_a_drawn_text_has_the_models_own_log_probability(
    taught: Mapping[str, Taught], fast: Mapping[str, Writer], name: str
) -> None:
    """At temperature 1, whatever it was drawn at: the same as when the reference is forced to write it."""
    live = taught[name].live
    torch.manual_seed(3)
    for source, one in zip(
        SOURCES, fast[name].generate(SOURCES, Sampling(temperature=2.0, max_tokens=6)), strict=True
    ):
        (read,) = live.codec.sources([source])
        batch = live.collate([{"source": read, "target": list(one.ids), "cut": 0, "silent": False}])
        del batch["labels"]
        with torch.inference_mode():
            logits = live.model.eval()(**batch).logits[0, -len(one.ids) :].log_softmax(-1)
        forced = sum(float(row[token]) for row, token in zip(logits, one.ids, strict=True))
        assert one.logprob == pytest.approx(forced, abs=1e-3)


@needs_ctranslate2
@pytest.mark.parametrize("tied", [True, False])
def test_flan_t5_is_not_scaled_and_t5_is(tmp_path: Path, tied: bool) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    from understudy.students._tokenizers import Closed
    from understudy.students.seq2seq import LiveSeq2Seq

    tokenizer = make_tokenizer("word", [text.lstrip() for text in TEXTS], 100)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=128,  # more rows than the tokenizer has entries, as Flan-T5 has
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        tie_word_embeddings=tied,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    live = LiveSeq2Seq(T5ForConditionalGeneration(config), Closed(tokenizer, False))
    writer = ENGINES["ctranslate2"].build(live, "float32", "cpu", tmp_path / "model")
    ours, theirs = live.generate(SOURCES, GREEDY), writer.generate(SOURCES, GREEDY)
    assert [one.logprob for one in theirs] == pytest.approx([one.logprob for one in ours], abs=1e-3)


@needs_ctranslate2
@pytest.mark.parametrize("family", ["GPT2", "Qwen2", "Qwen3", "Mistral"])
def test_other_decoders_are_converted_too(tmp_path: Path, family: str) -> None:
    import transformers

    tokenizer = make_tokenizer("word", TEXTS, 100)
    # As they are made, weights are so small that attention hardly depends on positions.
    turned = {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}, "initializer_range": 0.3}
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    if family in ("Qwen2", "Qwen3", "Mistral"):
        shape["num_key_value_heads"] = 1
    if family == "Qwen3":
        shape["head_dim"] = 16
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **(shape | turned if family != "GPT2" else {"n_embd": 32, "n_layer": 2, "n_head": 2}),
    )
    live = LiveCausal(transformers.AutoModelForCausalLM.from_config(config), tokenizer)
    assert ENGINES["ctranslate2"].refusal(live, "float32", "cpu") == ""
    writer = ENGINES["ctranslate2"].build(live, "float32", "cpu", tmp_path / "model")
    same(live.generate(UNLIKE, GREEDY), writer.generate(UNLIKE, GREEDY))


@needs_ctranslate2
def test_a_model_that_nobody_converted_is_refused() -> None:
    from transformers import OPTConfig, OPTForCausalLM

    tokenizer = make_tokenizer("word", TEXTS, 100)
    config = OPTConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, ffn_dim=16, num_attention_heads=2)
    live = LiveCausal(OPTForCausalLM(config), tokenizer)
    why = ENGINES["ctranslate2"].refusal(live, "float32", "cpu")
    assert why == "ctranslate2 cannot run this student: its conversion of OPT models is not tried"


# ---------------------------------------------------------------- other formats


def test_bfloat16_is_nearly_the_reference_and_leaves_it_alone(
    taught: Mapping[str, Taught], tmp_path: Path
) -> None:
    live = taught["seq2seq"].live
    writer = ENGINES["transformers"].build(live, "bfloat16", "cpu", tmp_path)
    ours, theirs = live.generate(SOURCES, GREEDY), writer.generate(SOURCES, GREEDY)
    assert next(live.model.parameters()).dtype == torch.float32
    assert [one.text for one in theirs] == [one.text for one in ours]
    assert [one.logprob for one in theirs] == pytest.approx([one.logprob for one in ours], abs=0.1)
    assert [one.logprob for one in theirs] != [one.logprob for one in ours]


@pytest.mark.parametrize(
    ("engine", "compute_type", "means"),
    [
        ("auto", "float32", "auto"),
        ("auto", "int8", "ctranslate2"),
        ("auto", "bfloat16", "auto"),
        ("ctranslate2", "bfloat16", "ctranslate2"),
    ],
)
def test_another_format_is_one_engine_on_every_machine(engine: str, compute_type: str, means: str) -> None:
    assert settled(engine, compute_type) == means


def test_an_impossible_format_is_said_in_the_recipe() -> None:
    with pytest.raises(ValidationError, match="transformers computes in float32 or bfloat16, not in int8"):
        EvaluateSpec(engine="transformers", compute_type="int8")
    assert set(CAN) == set(ENGINES)


@pytest.mark.parametrize("drawn", [False, True])
def test_what_decides_answers_enters_the_step(drawn: bool) -> None:
    def decisive(**keys: Any) -> dict[str, Any]:
        return EvaluateSpec(**keys).decisive(drawn)

    assert decisive() == decisive(engine="transformers") == {}
    assert decisive(engine="ctranslate2") == ({"engine": "ctranslate2"} if drawn else {})
    assert decisive(compute_type="int8") == {"engine": "ctranslate2", "compute_type": "int8"}
    assert decisive(compute_type="int8") == decisive(engine="ctranslate2", compute_type="int8")


# ---------------------------------------------------------------- the gate

METHOD = shelves.load("methods", "single_stage")()
STAGE: Stage = METHOD.stages()[0]
QUESTIONS = [
    Question(f"Question: {a} + {b}? Answer:", str(a + b)) for a, b in ((1, 2), (3, 4), (5, 6), (7, 8))
]


def rehearsal() -> Rehearsal:
    return Rehearsal(METHOD, "number", "dev", QUESTIONS, max_tokens=12, batch_tokens=4096)


def prepare(
    taught: Taught, cache: Path, engine: str = "auto", compute_type: str = "float32", **changes: Any
) -> tuple[Writer, dict[str, Any]]:
    wanted = Wanted(engine, compute_type, **{"answers": 1000, **changes})
    return ready.ready(taught.live, taught.folder, wanted, STAGE, rehearsal(), cache)


class Broken:
    """Writes one token otherwise than the student."""

    name = "ctranslate2"

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self.closed = False

    def version(self) -> str:
        return "0"

    def refusal(self, live: Any, compute_type: str, device: str) -> str:
        return ""

    def build(self, live: Any, compute_type: str, device: str, cache: Path) -> Writer:
        self.live = live
        return self

    def close(self) -> None:
        self.closed = True

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return list(self.live.source_tokens(texts))

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        told: list[Generated] = self.live.generate(sources, sampling, prefixes)
        return [
            replace(one, ids=(*one.ids[:2], 0, *one.ids[3:])) if at < self.share * len(told) else one
            for at, one in enumerate(told)
        ]


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_engine_is_refused(
    taught: Mapping[str, Taught], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "ctranslate2", Broken(0.5))
    said = "ctranslate2 0 wrote other tokens than transformers for 2 of 4 prompts of dev in float32, first at"
    with pytest.raises(TrainingError, match=said):
        prepare(taught[name], tmp_path, "ctranslate2")
    writer, told = prepare(taught[name], tmp_path)
    assert writer is taught[name].live
    assert told["engine"] == "transformers"
    assert told["why"].startswith(said)
    (sentence,) = sentences([{"engines": {"answer": told}}])
    assert said in sentence


def test_one_that_is_broken_with_beginnings_alone_is_refused_where_a_run_has_them(
    taught: Mapping[str, Taught], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(Broken):
        def generate(
            self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
        ) -> list[Generated]:
            told: list[Generated] = self.live.generate(sources, sampling)
            return told

    engine = Forgetful()
    monkeypatch.setitem(ENGINES, "ctranslate2", engine)
    assert prepare(taught["causal"], tmp_path, "ctranslate2")[0] is engine
    assert not engine.closed
    wanted, play = Wanted("auto", "float32", 1000), replace(rehearsal(), begun=frozenset({STAGE.name}))
    one = taught["causal"]
    writer, told = ready.ready(one.live, one.folder, wanted, STAGE, play, tmp_path)
    assert writer is one.live
    assert "for 1 of 1 prompts of dev with a beginning in float32" in told["why"]
    assert (told["refused"]["parity"]["different"], told["refused"]["begun"]["different"]) == (0, 1)
    assert engine.closed


def test_a_student_that_cannot_be_converted_is_left_to_transformers(
    taught: Mapping[str, Taught], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unable(Broken):
        def build(self, live: Any, compute_type: str, device: str, cache: Path) -> Writer:
            raise NotImplementedError("no such rotary scaling\nand more")

    monkeypatch.setitem(ENGINES, "ctranslate2", Unable())
    said = "ctranslate2 cannot run this student: no such rotary scaling"
    writer, told = prepare(taught["causal"], tmp_path)
    assert (writer, told["why"]) == (taught["causal"].live, said)
    with pytest.raises(TrainingError, match=said):
        prepare(taught["causal"], tmp_path, "ctranslate2")


def test_in_another_format_differences_are_recorded_and_said(
    taught: Mapping[str, Taught], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "ctranslate2", Broken(0.25))
    _, told = prepare(taught["causal"], tmp_path, compute_type="int8")
    assert told["parity"]["different"] == 1
    right = told["parity"]["correct"]
    (sentence,) = sentences([{"engines": {"answer": told}}])
    assert sentence == (
        "Students answered through ctranslate2 0 in int8; beside transformers in float32 it wrote the same "
        f"tokens for 3 of 4 prompts of dev; {right['engine']} of 4 answers were right, and "
        f"{right['reference']} of the reference's."
    )


@pytest.mark.parametrize("name", NAMES)
def test_equally_likely_tokens_are_a_tie(
    taught: Mapping[str, Taught], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "ctranslate2", Broken(0.25))
    monkeypatch.setattr(parity, "TIE", 1e9)
    writer, told = prepare(taught[name], tmp_path, "ctranslate2")
    assert writer is not taught[name].live
    (tie,) = told["parity"]["ties"]
    assert tie["at"] == 2
    # The gap is what the reference says of the two tokens, which its own log-probabilities confirm.
    assert tie["gap"] > 0.5
    assert told["parity"]["different"] == 0


@needs_ctranslate2
@pytest.mark.parametrize("name", NAMES)
def test_auto_takes_the_fast_engine_and_measures_it_once(
    taught: Mapping[str, Taught], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, told = prepare(taught[name], tmp_path)
    assert told["engine"] == "ctranslate2"
    record = told["parity"]
    assert (record["prompts"], record["different"], record["ties"]) == (4, 0, [])
    assert record["correct"]["engine"] == record["correct"]["reference"]
    same(writer.generate(UNLIKE, GREEDY), taught[name].live.generate(UNLIKE, GREEDY))
    assert not list(tmp_path.rglob(".*")), "a half-made model"
    monkeypatch.setattr(parity, "compare", None)
    again = prepare(taught[name], tmp_path)[1]
    assert again["parity"] == record
    (kept,) = tmp_path.glob("*/*.json")
    assert json.loads(kept.read_text())["device"] == "cpu"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"answers": 255}, "fewer than 256 texts are written"),
        ({"drawn": True}, "no two engines draw alike"),
        ({"engine": "transformers"}, "the recipe names it"),
    ],
)
def test_auto_keeps_the_reference_where_nothing_is_won(
    taught: Mapping[str, Taught], tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    writer, told = prepare(taught["causal"], tmp_path, **changes)
    assert writer is taught["causal"].live
    assert why in told["why"]
    assert "parity" not in told


def test_without_the_package_auto_says_so_and_a_named_engine_stops(
    taught: Mapping[str, Taught], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.generators.ctranslate2.find_spec", lambda name: None)
    writer, told = prepare(taught["causal"], tmp_path)
    assert writer is taught["causal"].live
    assert "ctranslate2 is not installed" in told["why"]
    for engine, compute_type in (("ctranslate2", "float32"), ("auto", "int8")):
        with pytest.raises(TrainingError, match=r"not installed \(pip install ctranslate2\)"):
            prepare(taught["causal"], tmp_path, engine, compute_type)


def test_it_is_measured_on_dev_and_on_train_where_there_is_none() -> None:
    many = [Question(str(number), "") for number in range(200)]
    split, some = spread({"train": many[:3], "dev": many, "test": QUESTIONS})
    assert (split, len(some), len({one.id for one in some})) == ("dev", 64, 64)
    assert some[-1].text == "196"
    assert spread({"train": many[:3], "dev": [], "test": QUESTIONS}) == ("train", many[:3])


def test_a_later_stage_reads_what_the_reference_wrote(taught: Mapping[str, Taught], tmp_path: Path) -> None:
    method = shelves.load("methods", "two_stage")()
    first, second = (stage for stage in method.stages() if stage.asked)
    play = Rehearsal(method, "number", "dev", QUESTIONS, max_tokens=12, batch_tokens=4096)
    unread = play.prompts(second)
    live = taught["causal"].live
    record = parity.measured(tmp_path, {}, live, live, first, play)
    assert record["different"] == record["ties"] == []
    assert "correct" not in record
    for (question, prompt), (_, before) in zip(play.prompts(second), unread, strict=True):
        assert prompt != before
        assert record["texts"][question.id] in prompt


# ---------------------------------------------------------------- in a run


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (("evaluate.engine=ctranslate2",), set()),
        (("evaluate.engine=transformers",), set()),
        (("evaluate.compute_type=int8",), {"predict"}),
        (("evaluate.compute_type=bfloat16",), {"predict"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_only_a_format_runs_predictions_again(change: tuple[str, ...], again: set[str]) -> None:
    assert run_again(graph(PLAIN), graph(PLAIN, *change)) == again


def test_a_vote_runs_again_with_an_engine_that_draws_otherwise() -> None:
    voted = graph(PLAIN, "evaluate.votes=3")
    votes = {arm.predicted.hash for arm in voted.arms if arm.chains > 1}
    for engine, same_votes in (("transformers", True), ("ctranslate2", False)):
        other = graph(PLAIN, "evaluate.votes=3", f"evaluate.engine={engine}")
        again = {arm.predicted.hash for arm in other.arms} - {arm.predicted.hash for arm in voted.arms}
        assert again == set() if same_votes else len(again) == len(votes) > 0


def test_another_format_has_a_name_of_its_own_in_the_ledger() -> None:
    folder = Path("steps/train-abc")
    assert examining._revision({}, folder) == "train-abc"
    assert examining._revision({"engine": "ctranslate2", "compute_type": "int8"}, folder) == (
        "train-abc ctranslate2 int8"
    )


@needs_ctranslate2
def test_a_run_tells_which_engine_answered_and_how_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "WORTH", 1)
    text = """
name: engines
task: arithmetic
data: {train: 30, dev: 5, test: 8}
teacher: template
students: [{name: causal, config: tiny}]
methods: [answer_only, two_stage]
train: {budget: {unit: steps, amount: 2}, learning_rate: 1e-3, batch_tokens: 512, precision: fp32}
evaluate: {max_new_tokens: 8}
"""
    recipe = parse_recipe(text, "engines", (), {})
    found = distill.run(recipe, tmp_path, lambda event: None, in_process=True)
    version = ENGINES["ctranslate2"].version()
    notes = [note for note in found.report["notes"] if note.startswith("Students answered through")]
    # Five questions of dev, for one stage and for two.
    assert notes == [
        f"Students answered through ctranslate2 {version} in float32; beside transformers in float32 it "
        "wrote the same tokens for 15 of 15 prompts of dev."
    ]
    (tmp_path / "ledger.sqlite").unlink()
    before = predictions(tmp_path)
    for path in before:
        (path.parent / "step.json").unlink()
    slow = recipe.model_copy(
        update={"evaluate": recipe.evaluate.model_copy(update={"engine": "transformers"})}
    )
    assert distill.run(slow, tmp_path, lambda event: None, in_process=True).ran == len(before) == 2
    assert predictions(tmp_path) == before


def predictions(run: Path) -> dict[Path, list[Any]]:
    """What was written, but for the last digits of log-probabilities."""
    found: dict[Path, list[Any]] = {}
    for path in sorted(run.glob("steps/*/predictions.jsonl")):
        found[path] = [json.loads(line) for line in path.read_text().splitlines()]
        for row in found[path]:
            for part in row["written"]:
                part["logprob"] = round(part["logprob"], 3)
    return found
