"""Teachers other than the server: recorded, template and local models."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared_data import shared_data, shared_model
from understudy import answers, curate
from understudy.errors import DataError, TeacherError
from understudy.roles import Completer, Source, Task, Teacher
from understudy.shelves import load
from understudy.teachers.recorded import Recorded
from understudy.teachers.template import Template
from understudy.teachers.transformers import Transformers
from understudy.types import Completion, Message, Question, Request, Sampling

SUM = Question("What is 2 + 2?", "4")
SKY = Question("Which is up?", "B", ("the sea", "the sky"))


def ask(
    completer: Completer, *questions: Question, samples: int = 1, sampling: Sampling | None = None
) -> list[Completion]:
    requests = [Request(q, (Message("user", q.text),), tuple(range(samples))) for q in questions]
    got = [landed for batch in completer.complete(iter(requests), sampling or Sampling()) for landed in batch]
    assert sorted((at, c.sample) for at, c in got) == [
        (at, s) for at in range(len(questions)) for s in range(samples)
    ]
    return [completion for _, completion in sorted(got, key=lambda item: (item[0], item[1].sample))]


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Recorded]:
    """Writes rows to a file and names it to a teacher."""

    def write(*rows: dict[str, Any], file: str = "rows.jsonl", **fields: Any) -> Recorded:
        path = tmp_path / file
        text = "\n".join(json.dumps(row) for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
        return Recorded(path=path, **fields)

    return write


# ---------------------------------------------------------------- recorded

LAYOUTS = {
    "plain": (SUM, {"question": "What is 2 + 2?", "rationale": "r"}),
    "instruction": (SUM, {"instruction": "what is  2 + 2?", "output": "r"}),
    "prefix": (SUM, {"prompt": "Q: What is 2 + 2?", "completion": "r"}),
    "choices apart": (SKY, {"question": "Which is up?", "choices": ["the sea", "the sky"], "output": "r"}),
    "choices as objects": (
        SKY,
        {"question": "Which is up?", "choices": [{"text": "the sea"}, {"text": "the sky"}], "output": "r"},
    ),
    "choices as the Hub has them": (
        SKY,
        {
            "question": "Which is up?",
            "choices": {"label": ["1", "2"], "text": ["the sea", "the sky"]},
            "cot": "r",
        },
    ),
    "choices by label": (
        SKY,
        {"question": "Which is up?", "options": {"A": "the sea", "B": "the sky"}, "output": "r"},
    ),
    "choices in the text": (
        SKY,
        {"instruction": "Q: Which is up? Answer choices: A: the sea, B: the sky", "output": "r"},
    ),
    "options in the text": (SKY, {"input": "Which is up?\nOptions: (A) the sea (B) the sky", "output": "r"}),
    "our own id": (SKY, {"question_id": SKY.id, "question": "no matter", "text": "r"}),
    "context": (
        Question("Up?", "1", context="Look."),
        {"question": "Up?", "context": "Look.", "rationale": "r"},
    ),
}


@pytest.mark.parametrize(("question", "row"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_recorded_row_finds_its_question(
    recorded: Callable[..., Recorded], question: Question, row: dict[str, Any]
) -> None:
    (got,) = ask(recorded(row).build(None), question)
    assert (got.text, got.finish_reason, got.error) == ("r", "stop", "")


NEIGHBOURS = {
    "a sign": (SUM, {"question": "What is 2 - 2?", "rationale": "r"}),
    "other options": (SKY, {"question": "Which is up?", "choices": ["the sea", "a sky"], "output": "r"}),
    "options in another order": (
        SKY,
        {"instruction": "Q: Which is up? Answer choices: A: the sky, B: the sea", "output": "r"},
    ),
    "options missing": (SKY, {"question": "Which is up?", "rationale": "r"}),
}


@pytest.mark.parametrize(("question", "row"), NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
def test_a_neighbours_row_is_not_taken(
    recorded: Callable[..., Recorded], question: Question, row: dict[str, Any]
) -> None:
    (got,) = ask(recorded(row).build(None), question)
    assert (got.text, got.finish_reason, got.error) == ("", "error", "not recorded")


def test_several_rows_are_samples_in_order_and_the_rest_is_an_error(
    recorded: Callable[..., Recorded],
) -> None:
    rows = [{"question": SUM.text, "rationale": text} for text in ("first", "second")]
    got = ask(recorded(*rows, file="rows.jsonl.gz").build(None), SUM, SKY, samples=3)
    assert [c.text for c in got] == ["first", "second", "", "", "", ""]
    assert [c.error for c in got[2:]] == ["not recorded: the question has 2 samples"] + ["not recorded"] * 3
    dropped = curate.curate([SUM, SKY], got[2:], "number", curate.CurateSpec(), "r").dropped
    assert dropped == {"not recorded": 4}


def test_columns_can_be_named_and_an_answer_put_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["ask", "why", "so"], [SUM.text, "2 and 2.", "4"]])
    spec = Recorded(path=path, columns={"question": "ask", "rationale": "why", "answer": "so"})
    (got,) = ask(spec.build(None), SUM)
    assert answers.judge(got.text, "4", "number").name == "correct"
    assert answers.reasoning(got.text, "number") == "2 and 2."


WRONG_FILES: dict[str, tuple[tuple[dict[str, Any], ...], str]] = {
    "no rationale": (
        ({"question": "a", "rationale": "b"}, {"question": "a"}),
        "line 2: no rationale: looked for",
    ),
    "no question": (({"rationale": "b"},), "line 1: no question: looked for question, instruction"),
    "not text": (({"question": "a", "rationale": 4},), "line 1: the rationale is not text but int"),
    "choices": (
        ({"question": "a", "choices": "A B", "rationale": "b"},),
        "line 1: the choices are not a list",
    ),
    "empty": ((), "hold no rows"),
}


@pytest.mark.parametrize(("rows", "message"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_malformed_file_is_named_with_its_line(
    recorded: Callable[..., Recorded], rows: tuple[dict[str, Any], ...], message: str
) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl.*{message}"):
        recorded(*rows).build(None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    spec = Recorded(path=tmp_path / "nowhere.jsonl")
    for act in (spec.identity, lambda: spec.build(None)):
        with pytest.raises(DataError, match=r"nowhere\.jsonl cannot be read .*teacher\.path"):
            act()


def test_a_changed_file_or_column_is_another_teacher(recorded: Callable[..., Recorded]) -> None:
    row = {"question": "a", "rationale": "b", "other": "c"}
    first = recorded(row).identity()
    assert recorded(row).identity() == first
    assert recorded(row, columns={"rationale": "other"}).identity() != first
    assert recorded(row | {"rationale": "c"}).identity() != first


# Real rationales against the real questions they were written for: (task, splits, file, rows in it).
# StrategyQA's rationales were drawn from its train and dev files together.
REAL = [
    ("gsm8k", ("train",), "gsm8k_llama_level1_ranked", 7442),
    ("openbookqa", ("train",), "obqa_llama_level3_ranked", 4957),
    ("openbookqa", ("train",), "openbookQA_ChatGPT_0_shot_without_gt_ranked", 4955),
    ("commonsenseqa", ("train",), "csqa_llama_level1_ranked", 9732),
    ("svamp", ("train",), "SVAMP_llama_level1_ranked", 700),
    ("strategyqa", ("train", "dev", "test", "dev_229"), "stqa_llama_level1_ranked", 1996),
]


@pytest.mark.parametrize(("name", "splits", "file", "rows"), REAL, ids=[file for _, _, file, _ in REAL])
def test_real_rationales_join(name: str, splits: tuple[str, ...], file: str, rows: int) -> None:
    task: Task = load("tasks", name)
    source = Source(path=str(shared_data(name)))
    questions = list({q.id: q for split in splits for q in task.load(split, source)}.values())
    spec = Recorded(path=shared_data("eit_cot_distill") / f"{file}.json.gz", model="llama-3-70b")
    found = [c for c in ask(spec.build(None), *questions, samples=2) if not c.error]
    assert 0.99 * rows <= len(found) <= rows
    curated = curate.curate(questions, found, task.form, curate.CurateSpec(), spec.model)
    assert curated.correct / curated.n > 0.9
    assert curated.kept > 0.85 * rows


# ---------------------------------------------------------------- template


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (Question("2 + 2?", "4", rationale="2 and 2 make 4."), "2 and 2 make 4. The answer is 4."),
        (
            Question("Up?", "B", ("the sea", "the sky"), rationale="Look up."),
            "Look up. The answer is (B).",
        ),
    ],
)
def test_a_template_says_the_rationale_and_the_gold(question: Question, text: str) -> None:
    got = ask(Template().build(None), question, samples=2)
    assert [(c.text, c.finish_reason) for c in got] == [(text, "stop")] * 2


def test_a_template_without_rationale_is_an_error_record() -> None:
    (got,) = ask(Template().build(None), SUM)
    assert (got.finish_reason, got.error) == ("error", "no rationale in the data")


# ---------------------------------------------------------------- local models

WORDS = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz0123456789.:?"]


def save_tokenizer(folder: Path, chat_template: str = "") -> None:
    """One token per character; no download."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="[BOS]", eos_token="[EOS]", pad_token="[PAD]", unk_token="[UNK]"
    )
    if chat_template:
        tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)


def save_llama(folder: Path, seed: int = 0, **fields: Any) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=len(WORDS), **sizes, pad_token_id=0, bos_token_id=1, eos_token_id=2, **fields
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Models this small are slowed by threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_llama(tmp_path_factory.mktemp("llama") / "toy", max_position_embeddings=64)
    save_tokenizer(folder)
    return folder


PROMPTS = [Question(text, "1") for text in ("a", "what is b?", "abc", "what is 1 and 2 and 3?")]


def test_a_batch_says_what_each_prompt_would_say_alone(llama: Path) -> None:
    teacher = Transformers(model=str(llama)).build(None)
    sampling = Sampling(max_tokens=12)
    together = ask(teacher, *PROMPTS, sampling=sampling)
    assert together == [ask(teacher, question, sampling=sampling)[0] for question in PROMPTS]
    small = Transformers(model=str(llama), batch_tokens=1).build(None)
    assert ask(small, *PROMPTS, sampling=sampling) == together
    assert [c.prompt_tokens for c in together] == [len(q.text) for q in PROMPTS]
    assert all(c.completion_tokens == 12 for c in together if c.finish_reason == "length")
    assert any(c.text for c in together)


def test_samples_differ_and_a_seed_brings_them_back(llama: Path) -> None:
    teacher = Transformers(model=str(llama)).build(None)
    sampling = Sampling(temperature=1.0, max_tokens=20, seed=3)
    first = ask(teacher, SUM, samples=4, sampling=sampling)
    assert len({c.text for c in first}) == 4
    assert ask(teacher, SUM, samples=4, sampling=sampling) == first
    later = Request(SUM, (Message("user", SUM.text),), (4, 5, 6, 7))
    more = [c for batch in teacher.complete([later], sampling) for _, c in batch]
    assert len({c.text for c in [*first, *more]}) == 8


def test_sampling_leaves_the_callers_generator_alone(llama: Path) -> None:
    import torch

    teacher = Transformers(model=str(llama)).build(None)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    ask(teacher, SUM, sampling=Sampling(temperature=1.0, max_tokens=3))
    assert torch.equal(torch.rand(1), expected)


def test_the_checkpoints_own_preferences_do_not_count(llama: Path, tmp_path: Path) -> None:
    import shutil

    biased = tmp_path / "biased"
    shutil.copytree(llama, biased)
    preferences = {"do_sample": True, "top_k": 1, "repetition_penalty": 9.0, "eos_token_id": 2}
    (biased / "generation_config.json").write_text(json.dumps(preferences))
    sampling = Sampling(temperature=1.0, max_tokens=12, seed=1)
    plain = ask(Transformers(model=str(llama)).build(None), SUM, samples=3, sampling=sampling)
    assert ask(Transformers(model=str(biased)).build(None), SUM, samples=3, sampling=sampling) == plain


def test_a_stop_string_ends_the_text_before_it(llama: Path) -> None:
    teacher = Transformers(model=str(llama)).build(None)
    (whole,) = ask(teacher, PROMPTS[1], sampling=Sampling(max_tokens=12))
    words = whole.text.split()
    (cut,) = ask(teacher, PROMPTS[1], sampling=Sampling(max_tokens=12, stop=(words[3],)))
    assert cut.text == whole.text[: whole.text.index(words[3])]
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens < 12


def test_a_prompt_that_does_not_fit_is_a_final_error(llama: Path) -> None:
    teacher = Transformers(model=str(llama)).build(None)
    long = Question("ab" * 40, "1")
    got = ask(teacher, long, SUM, samples=2, sampling=Sampling(max_tokens=5))
    assert [c.error for c in got] == ["context too long: 80 tokens, the model reads 64"] * 2 + ["", ""]


def test_the_room_that_is_left_bounds_the_answer(llama: Path) -> None:
    teacher = Transformers(model=str(llama)).build(None)
    (got,) = ask(teacher, Question("ab" * 30, "1"), sampling=Sampling(max_tokens=50))
    assert got.completion_tokens <= 4


def test_the_chat_template_is_used_where_there_is_one(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "chat", max_position_embeddings=64)
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    save_tokenizer(folder, refusing + "{% for m in messages %}u:{{ m.content }}{% endfor %}a:")
    teacher = Transformers(model=str(folder)).build(None)
    (got,) = ask(teacher, Question("abc", "1"), sampling=Sampling(max_tokens=3))
    assert got.prompt_tokens == len("u:abca:")
    system = Request(SUM, (Message("system", "s"), Message("user", "abc")))
    with pytest.raises(TeacherError, match="take no system message"):
        list(teacher.complete([system], Sampling(max_tokens=3)))


def test_an_encoder_decoder_teaches_too(tmp_path: Path) -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path / "t5"
    config = T5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        pad_token_id=0, eos_token_id=2, decoder_start_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    save_tokenizer(folder)
    teacher = Transformers(model=str(folder)).build(None)
    sampling = Sampling(max_tokens=8)
    together = ask(teacher, *PROMPTS, sampling=sampling)
    assert together == [ask(teacher, question, sampling=sampling)[0] for question in PROMPTS]
    assert all(1 <= c.completion_tokens <= 8 for c in together)


def test_a_folder_is_known_by_its_content(llama: Path, tmp_path: Path) -> None:
    known = Transformers(model=str(llama)).identity()
    assert known == Transformers(model=str(llama)).build(None).identity
    assert {path.name for path in Transformers(model=str(llama)).files()} >= {"model.safetensors"}
    other = save_llama(tmp_path / "toy", seed=1)
    save_tokenizer(other)
    assert Transformers(model=str(other)).identity() != known
    assert str(tmp_path) not in str(Transformers(model=str(other)).identity())


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"cannot load the teacher .*give a folder"):
        Transformers(model=str(tmp_path)).build(None)


def test_a_real_model_goes_on_with_a_story() -> None:
    teacher = Transformers(model=str(shared_model("stories260K") / "hf")).build(None)
    story = Question("Once upon a time", "1")
    (got,) = ask(teacher, story, sampling=Sampling(max_tokens=20))
    assert got.text.lstrip(" ,").startswith("there was a little girl named Lily")


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    ("spec", "fields"),
    [(Recorded, {"path": "x"}), (Template, {}), (Transformers, {"model": "x"})],
)
def test_a_spec_is_frozen_and_refuses_unknown_fields(spec: type[Teacher], fields: dict[str, Any]) -> None:
    made = spec.model_validate(fields)
    assert made.apprenticeship() is None
    with pytest.raises(ValidationError):
        spec.model_validate(fields | {"unknown": 1})
    assert made.model_config["frozen"]
