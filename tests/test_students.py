"""Both architectures: what is encoded, where the loss sits, and what is generated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from shared_data import shared_model
from tiny import GROUPS, STUDENTS, SUMS, TEXTS, quiet, scratch, spec
from understudy.errors import TrainingError
from understudy.roles import Generated, Identity
from understudy.students import _live
from understudy.students._completer import StudentCompleter
from understudy.students._tokenizers import KINDS, make_tokenizer
from understudy.training import train
from understudy.training.objective import objective, token_weights
from understudy.types import Example, Message, Question, Request, Sampling

NAMES = tuple(STUDENTS)
GREEDY = Sampling(max_tokens=12)
SOURCES = [example.source for example in SUMS]
TARGETS = [example.target for example in SUMS]
IGNORED = -100


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads add in any order, and the last bit of a sum depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, _one_thread: None) -> Mapping[str, Path]:
    """The folder of each architecture's student that has learnt the four sums by heart."""
    folders = {name: tmp_path_factory.mktemp(name) for name in NAMES}
    for name, folder in folders.items():
        train(scratch(name), GROUPS, spec(60), learning_rate=5e-3, seed=0, folder=folder, progress=quiet)
    return {name: folder / "model" for name, folder in folders.items()}


def same(some: Sequence[Generated], others: Sequence[Generated]) -> None:
    """Equal, but for the last bits of a sum of logarithms, which padding changes."""
    assert [replace(one, logprob=None) for one in some] == [replace(one, logprob=None) for one in others]
    assert [one.logprob for one in some] == pytest.approx([one.logprob for one in others], abs=1e-4)


def texts(live: Any, sources: list[str], sampling: Sampling = GREEDY) -> list[str]:
    return [generated.text for generated in live.generate(sources, sampling)]


# ---------------------------------------------------------------- tokenizers

LOSSLESS = [*TEXTS, "a  b\n\tc", "  two before, two after  ", "don't (3.5%)!?", "né \N{GRINNING FACE}"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", LOSSLESS)
def test_what_was_encoded_is_decoded(kind: str, text: str) -> None:
    tokenizer = make_tokenizer(kind, LOSSLESS, 8192)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_what_each_kind_calls_a_token() -> None:
    def tokens(kind: str) -> list[str]:
        tokenizer = make_tokenizer(kind, ["3 + 14 = 17."], 8192)
        return [tokenizer.decode([i]) for i in tokenizer("3 + 14 = 17.")["input_ids"]]

    assert tokens("word") == ["3", " +", " 14", " =", " 17", "."]
    assert tokens("char") == list("3 + 14 = 17.")


def test_only_bytes_can_write_what_was_never_seen() -> None:
    unknown = {kind: make_tokenizer(kind, ["one two"], 8192)("zebra \N{GRINNING FACE}") for kind in KINDS}
    tokenizer = make_tokenizer("bpe", ["one two"], 8192)
    assert tokenizer.decode(unknown["bpe"]["input_ids"]) == "zebra \N{GRINNING FACE}"
    for kind in ("word", "char"):
        assert tokenizer.unk_token_id in unknown[kind]["input_ids"]


def test_a_vocabulary_has_a_limit_and_keeps_the_frequent() -> None:
    tokenizer = make_tokenizer("word", ["a" for _ in range(9)] + [f"x{i}" for i in range(50)], 20)
    assert len(tokenizer) == 20
    assert tokenizer("a")["input_ids"] != [tokenizer.unk_token_id]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_makes_the_same_tokenizer(kind: str) -> None:
    one, two = (make_tokenizer(kind, TEXTS, 300).get_vocab() for _ in range(2))
    assert one == two


# ---------------------------------------------------------------- encoding and labels


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_target_is_learnt_whole_and_ends(name: str, kind: str) -> None:
    live: Any = scratch(name, kind).create(TEXTS, 0)
    for example in SUMS:
        (encoded,) = live.encode([example])
        *target, end = encoded["target"]
        assert end == live.tokenizer.eos_token_id
        assert live.tokenizer.unk_token_id not in (*target, *encoded["source"])
        assert live.tokenizer.decode(target).strip() == example.target
        assert (encoded["objective"], encoded["weight"]) == (example.objective, example.weight)


def _toy(name: str) -> tuple[Any, dict[str, int]]:
    """A student whose words are a, b and c, and the id of each token by its text."""
    live: Any = scratch(name).create(["a b c", "a c", " b c", " c"], 0)
    return live, {live.tokenizer.decode([i]): i for i in range(len(live.tokenizer))}


def test_the_labels_of_a_decoder() -> None:
    live, ids = _toy("causal")
    a, b, c, end = ids["a"], ids[" b"], ids[" c"], ids["<eos>"]
    rows = live.encode([Example("q", s, t) for s, t in (("a b", "c"), ("a", "b c"), ("a", "c"))])
    assert [row["source"] + row["target"] for row in rows] == [[a, b, c, end], [a, b, c, end], [a, c, end]]
    batch = live.collate(rows)
    assert batch["input_ids"].tolist() == [[a, b, c], [a, b, c], [a, c, live.pad]]
    assert batch["labels"].tolist() == [[IGNORED, c, end], [b, c, end], [c, end, IGNORED]]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_asked_of_a_student_that_is_asked_nothing(name: str) -> None:
    completer = StudentCompleter(scratch(name).create(TEXTS, 0), Identity("local", "toy"), 99)
    assert list(completer.complete([], GREEDY)) == []


def test_the_labels_of_an_encoder_decoder() -> None:
    live, ids = _toy("seq2seq")
    a, b, c, end, pad = ids["a"], ids[" b"], ids["c"], ids["<eos>"], live.pad
    batch = live.collate(live.encode([Example("q", s, t) for s, t in (("a b", "c"), ("a", "a b"))]))
    assert batch["input_ids"].tolist() == [[a, b, end], [a, end, pad]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    # A decoder starts from the padding token, as T5's do.
    assert batch["decoder_input_ids"].tolist() == [[pad, c, pad], [pad, a, b]]
    assert batch["labels"].tolist() == [[c, end, IGNORED], [a, b, end]]


UNEVEN = [*SUMS, Example("long", "Question: 1 + 2 + 3 + 4? Answer:", "The answer is 1 + 2 is 3.")]


@pytest.mark.parametrize("name", NAMES)
def test_the_objective_is_the_loss_of_the_library(name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    rows = live.encode(UNEVEN)
    batch = live.collate(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        ours = objective(live.model(**batch).logits, labels, token_weights(labels, rows))
        theirs = live.model(**_as_the_library_wants(live, rows)).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def _as_the_library_wants(live: Any, rows: list[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Inputs built apart from `collate`: labels that the library itself shifts."""
    if live.kind == "seq2seq":
        inputs, labels = [row["source"] for row in rows], [row["target"] for row in rows]
    else:
        inputs = [row["source"] + row["target"] for row in rows]
        labels = [[IGNORED] * len(row["source"]) + row["target"] for row in rows]
    wide, deep = max(map(len, inputs)), max(map(len, labels))
    return {
        "input_ids": torch.tensor([ids + [live.pad] * (wide - len(ids)) for ids in inputs]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (wide - len(ids)) for ids in inputs]),
        "labels": torch.tensor([ids + [IGNORED] * (deep - len(ids)) for ids in labels]),
    }


# ---------------------------------------------------------------- generation


@pytest.mark.parametrize("name", NAMES)
def test_four_examples_are_learnt_by_heart(trained: Mapping[str, Path], name: str) -> None:
    written = scratch(name).load(trained[name]).generate(SOURCES, GREEDY)
    assert [w.text for w in written] == TARGETS
    # The, answer, is, a number, a full stop, the end of text.
    assert {(w.finish_reason, w.tokens) for w in written} == {("stop", 6)}


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_writes_what_each_source_would_alone(trained: Mapping[str, Path], name: str) -> None:
    live = scratch(name).load(trained[name])
    sources = [*SOURCES, "Question: 1", "Question: 1 + 2 + 3 + 4 + 5? Answer: The answer is", "5?"]
    same(live.generate(sources, GREEDY), [live.generate([source], GREEDY)[0] for source in sources])


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_off_text_says_so(trained: Mapping[str, Path], name: str) -> None:
    (cut,) = scratch(name).load(trained[name]).generate(SOURCES[:1], Sampling(max_tokens=2))
    assert (cut.text, cut.finish_reason, cut.tokens) == ("The answer", "length", 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_stop_string_ends_the_text_before_it(trained: Mapping[str, Path], name: str) -> None:
    live = scratch(name).load(trained[name])
    (stopped,) = live.generate(SOURCES[:1], Sampling(max_tokens=5, stop=("never", "is", "3")))
    assert (stopped.text, stopped.finish_reason) == ("The answer", "stop")


@pytest.mark.parametrize("name", NAMES)
def test_source_tokens_are_those_that_are_read(name: str) -> None:
    live = scratch(name).create(TEXTS, 0)
    # Question, colon, a number, plus, a number, ?, Answer, colon; an encoder also reads the end of text.
    tokens = live.source_tokens([SOURCES[0], "5?"])
    assert tokens == ([9, 3] if name == "seq2seq" else [8, 2])
    assert live.generate(SOURCES[:1], Sampling(max_tokens=1))[0].source_tokens == tokens[0]


class Letters:
    """A tokenizer whose token 1 is a, 2 is b, ...; 0 ends a text."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(" abcdef"[i] for i in ids)


@pytest.mark.parametrize(
    ("new", "stops", "text", "reason", "tokens"),
    [
        ([1, 2, 0, 0, 0], (), "ab", "stop", 3),
        ([1, 2, 3], (), "abc", "length", 3),
        ([0, 0], (), "", "stop", 1),
        ([1, 2, 3, 4], ("c",), "ab", "stop", 3),
        ([1, 2, 3, 4], ("d", "b"), "a", "stop", 2),
        ([1, 2, 0, 3], ("c",), "ab", "stop", 3),
        ([1, 2, 3], ("",), "abc", "length", 3),
    ],
)
def test_what_is_read_back(
    new: list[int], stops: tuple[str, ...], text: str, reason: str, tokens: int
) -> None:
    got = _live.read_back(Letters(), new, {0}, 9, stops)
    assert (got.text, got.finish_reason, got.tokens, got.source_tokens) == (text, reason, tokens, 9)


@pytest.mark.parametrize("name", NAMES)
def test_generation_leaves_training_mode_as_it_was(name: str) -> None:
    live = scratch(name).create(TEXTS, 0)
    live.model.train()
    live.generate(SOURCES[:1], Sampling(max_tokens=1))
    assert live.model.training


# ---------------------------------------------------------------- as a completer


def ask(
    live: Any, sampling: Sampling, samples: tuple[int, ...] = (0,), batch_tokens: int = 4096
) -> list[str]:
    """What a student answers to the four sums, in their order."""
    completer = StudentCompleter(live, Identity("local", "toy"), batch_tokens)
    requests = [
        Request(Question(source, "1"), (Message("system", "Hm."), Message("user", source)), samples)
        for source in SOURCES
    ]
    landed = [item for batch in completer.complete(iter(requests), sampling) for item in batch]
    got = sorted(landed, key=lambda item: (item[0], item[1].sample))
    assert [(p, c.question_id, c.sample) for p, c in got] == [
        (p, request.question.id, sample) for p, request in enumerate(requests) for sample in samples
    ]
    return [completion.text for _, completion in got]


@pytest.mark.parametrize("batch_tokens", [1, 45, 4096])
@pytest.mark.parametrize("name", NAMES)
def test_batches_change_speed_and_not_answers(
    trained: Mapping[str, Path], name: str, batch_tokens: int
) -> None:
    assert ask(scratch(name).load(trained[name]), GREEDY, batch_tokens=batch_tokens) == TARGETS


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_those_of_their_seed(name: str) -> None:
    live = scratch(name).create(TEXTS, 0)
    warm = Sampling(temperature=1.0, max_tokens=12, seed=1)
    first = ask(live, warm, (0, 1))
    torch.manual_seed(99)
    assert ask(live, warm, (0, 1)) == first
    assert ask(live, Sampling(temperature=1.0, max_tokens=12, seed=2), (0, 1)) != first
    assert first[0] != first[1], "two samples of one question are drawn apart"
    assert ask(live, warm, (0,)) != ask(live, warm, (1,)), "samples asked for later are not the first again"


@pytest.mark.parametrize("name", NAMES)
def test_a_sharp_nucleus_is_greedy(trained: Mapping[str, Path], name: str) -> None:
    live = scratch(name).load(trained[name])
    assert ask(live, Sampling(temperature=1.0, top_p=1e-6, max_tokens=12, seed=1)) == TARGETS


# ---------------------------------------------------------------- saved, loaded, from a checkpoint


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_student_is_the_same_student(tmp_path: Path, name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    live.save(tmp_path)
    again: Any = scratch(name).load(tmp_path)
    for key, value in live.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key
    assert again.encode(SUMS) == live.encode(SUMS)
    assert texts(again, SOURCES) == texts(live, SOURCES)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_brings_weights_and_tokenizer(trained: Mapping[str, Path], name: str) -> None:
    student = STUDENTS[name](checkpoint=str(trained[name]))
    assert texts(student.create(["other text"], seed=5), SOURCES) == TARGETS
    assert {path.name for path in student.files()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert str(trained[name]) in student.describe()
    assert scratch(name).files() == ()


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_fp32_whatever_they_were_saved_in(tmp_path: Path, name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    live.model.to(torch.bfloat16)
    live.save(tmp_path)
    again: Any = STUDENTS[name](checkpoint=str(tmp_path)).create([], 0)
    assert {parameter.dtype for parameter in again.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_s_own_way_to_generate_is_not_inherited(
    trained: Mapping[str, Path], tmp_path: Path, name: str
) -> None:
    shutil.copytree(trained[name], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "generation_config.json"
    own = {"repetition_penalty": 50.0, "num_beams": 3, "no_repeat_ngram_size": 1, "min_length": 12}
    path.write_text(
        json.dumps({**json.loads(path.read_text()), **own, "do_sample": True, "temperature": 9.0})
    )
    source = ["Question: 3 + 3? Answer: 3 + 3?"]
    assert texts(scratch(name).load(tmp_path), SOURCES) == TARGETS
    assert texts(scratch(name).load(tmp_path), source) == texts(scratch(name).load(trained[name]), source)


def test_every_end_of_text_of_a_checkpoint_ends_a_text(trained: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(trained["causal"], tmp_path, dirs_exist_ok=True)
    live: Any = scratch("causal").load(tmp_path)
    stop = live.tokenizer(" is")["input_ids"][0]
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": [live.pad, stop]}))
    # A chat model names its end of turn there; a student saved again must still know it.
    scratch("causal").load(tmp_path).save(tmp_path)
    (written,) = scratch("causal").load(tmp_path).generate(SOURCES[:1], GREEDY)
    assert (written.text, written.finish_reason, written.tokens) == ("The answer", "stop", 3)


def test_a_seed_decides_the_first_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        live: Any = scratch("causal").create(TEXTS, seed)
        tensor: torch.Tensor = live.model.lm_head.weight
        return tensor

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_t5_s_own_tokenizer(tmp_path: Path) -> None:
    shutil.copy(shared_model("t5-tokenizer") / "tokenizer.json", tmp_path)
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(special))
    live: Any = STUDENTS["seq2seq"](config="tiny", tokenizer=str(tmp_path)).create([], 0)
    (encoded,) = live.encode([Example("q", "The house is wonderful.", "The answer is 5.")])
    # The public ids, closed by exactly one end of text.
    assert encoded["source"] == [37, 629, 19, 1627, 5, 1]
    assert encoded["target"][-1] == 1
    assert live.tokenizer.decode(encoded["target"][:-1]) == "The answer is 5."
    assert live.model.config.decoder_start_token_id == live.pad == 0
    assert len(live.generate(["The house is wonderful."], Sampling(max_tokens=3))) == 1


def test_a_real_checkpoint_tells_a_story() -> None:
    folder = shared_model("stories260K") / "hf"
    live = STUDENTS["causal"](checkpoint=str(folder)).create([], 0)
    sources = ["Once upon a time, there was a little girl named", "One day"]
    written = live.generate(sources, Sampling(max_tokens=16))
    same(written, [live.generate([source], Sampling(max_tokens=16))[0] for source in sources])
    assert written[0].text.startswith("Lily")
    assert written[0].finish_reason == "length"


# ---------------------------------------------------------------- set-ups that cannot work


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give either checkpoint or config"),
        ({"checkpoint": "somewhere", "config": "tiny"}, "give either checkpoint or config"),
        ({"config": "enormous"}, "config 'enormous' is not one of tiny, demo"),
        ({"config": "tiny", "vocabulary": 3}, "greater than 16"),
        ({"config": "tiny", "layers": 3}, "Extra inputs are not permitted"),
    ],
)
def test_an_impossible_spec(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        STUDENTS[name](**settings)


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_is_not_there_or_empty(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        student = STUDENTS[name](checkpoint=str(folder))
        with pytest.raises(TrainingError, match="cannot load the checkpoint") as created:
            student.create([], 0)
        with pytest.raises(TrainingError, match="cannot load the checkpoint") as loaded:
            student.load(folder)
        assert str(folder) in one_sentence(created.value)
        assert str(folder) in one_sentence(loaded.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_checkpoint(trained: Mapping[str, Path], tmp_path: Path, file: str) -> None:
    shutil.copytree(trained["causal"], tmp_path, dirs_exist_ok=True)
    (tmp_path / file).write_text("{")
    with pytest.raises(TrainingError, match="cannot load the checkpoint") as raised:
        STUDENTS["causal"](checkpoint=str(tmp_path)).create([], 0)
    one_sentence(raised.value)


def test_a_checkpoint_of_the_other_architecture(trained: Mapping[str, Path]) -> None:
    with pytest.raises(TrainingError, match="cannot load the checkpoint") as raised:
        STUDENTS["seq2seq"](checkpoint=str(trained["causal"])).create([], 0)
    assert "LlamaConfig" in one_sentence(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_tokenizer_without_an_end_cannot_teach_to_stop(name: str) -> None:
    live: Any = scratch(name).create(TEXTS, 0)
    live.tokenizer.eos_token = None
    with pytest.raises(TrainingError, match="could never stop"):
        live.encode(SUMS)
