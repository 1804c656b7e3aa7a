"""Options scored by log-likelihood: the sums, what is scored, the file, and what the report makes of them."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from small import recipe, run
from test_export_lm_eval import harness, rows
from tiny import quiet, scratch
from understudy import shelves
from understudy.errors import DataError, RecipeError, StoreError
from understudy.exchange.lm_eval import export
from understudy.graph import Graph
from understudy.methods.answer_only import AnswerOnly
from understudy.methods.single_stage import SingleStage
from understudy.methods.two_stage import TwoStage
from understudy.methods.zero_shot import ZeroShot
from understudy.report.scored import Chosen, Scoring, calibration, panels, scored
from understudy.scoring import FILE, Scored, Way, begun, load_scores, posed, score_all, way_of
from understudy.scoring_steps import right
from understudy.students._scoring import Choosing, score
from understudy.students._tokenizers import Closed, make_tokenizer
from understudy.students.causal import LiveCausal
from understudy.students.seq2seq import LiveSeq2Seq
from understudy.types import Prediction, Question, Written

WORDS = [f"w{number}" for number in range(60)]
QUESTION = Question("Which is a fruit?", "B", ("stone", "apple", "cloud"))
DECODERS = {
    "llama": transformers.LlamaConfig,
    "mistral": transformers.MistralConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "gpt_neox": transformers.GPTNeoXConfig,
}


def student(kind: str) -> Any:
    """Two layers of random weights, sharp enough that every token matters."""
    tokenizer = make_tokenizer("word", [" ".join(WORDS), "The answer is (A). (B) (C) (D)"], 2_000)
    torch.manual_seed(0)
    size = len(tokenizer) + 3
    common = {"vocab_size": size, "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    model: Any
    if kind == "t5":
        config = transformers.T5Config(
            **{**common, "bos_token_id": 0},
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            decoder_start_token_id=0,
            feed_forward_proj="gated-gelu",
        )
        return LiveSeq2Seq(transformers.T5ForConditionalGeneration(config).eval(), Closed(tokenizer, False))
    if kind == "bart":
        sizes: dict[str, Any] = {f"{side}_{of}": 2 for side in ("encoder", "decoder") for of in ("layers",)}
        sizes |= {f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")}
        sizes |= {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
        whole = {**common, "bos_token_id": 0, "forced_eos_token_id": None, "decoder_start_token_id": 0}
        bart = transformers.BartConfig(**whole, **sizes, d_model=32, init_std=0.3)
        return LiveSeq2Seq(transformers.BartForConditionalGeneration(bart).eval(), Closed(tokenizer, False))
    if kind in ("gpt2", "bloom"):
        small = {"n_layer": 2, "n_head": 4, "initializer_range": 0.3}
        named: Any = transformers.GPT2Config if kind == "gpt2" else transformers.BloomConfig
        width = {"n_embd": 32} if kind == "gpt2" else {"hidden_size": 32}
        model = transformers.AutoModelForCausalLM.from_config(named(**common, **small, **width))
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
        sizes |= {"num_key_value_heads": 2} if kind != "gpt_neox" else {}
        sizes |= {"sliding_window": 16} if kind == "mistral" else {}
        config = DECODERS[kind](**common, **sizes, initializer_range=0.3)
        model = transformers.AutoModelForCausalLM.from_config(config)
    return LiveCausal(model.eval(), tokenizer)


def choosings() -> Iterator[Choosing]:
    """With and without words before the options, which are of equal and of unequal lengths, two to five."""
    draw = random.Random(1)
    for at in range(20):
        source = " ".join(draw.choices(WORDS, k=draw.randint(3, 30)))
        prefix = f"{' '.join(draw.choices(WORDS, k=draw.randint(1, 25)))} The answer is" if at % 3 else ""
        options = tuple(f"({label})." for label in "ABCD"[: 2 + at % 3])
        if at % 2:
            options = tuple(
                " ".join(draw.choices(WORDS, k=n)) for n in draw.choices(range(1, 8), k=2 + at % 4)
            )
        yield Choosing(source, prefix, options)


def one_by_one(live: Any, one: Choosing) -> Iterator[float]:
    """The model's plain forward, an option at a time and without padding."""
    (source,), (head,) = live.codec.sources([one.source]), live.codec.begun([one.prefix])
    for option in one.options:
        target = live.codec.targets([f"{one.prefix} {option}".strip()])[0][:-1]
        with torch.inference_mode():
            if live.kind == "seq2seq":
                start = live.model.config.decoder_start_token_id
                decoder = torch.tensor([[start, *target[:-1]]])
                logits = live.model(input_ids=torch.tensor([source]), decoder_input_ids=decoder).logits[0]
            else:
                whole = torch.tensor([[*source, *target[:-1]]])
                logits = live.model(input_ids=whole).logits[0, len(source) - 1 :]
        chosen = logits.log_softmax(-1).gather(1, torch.tensor(target).unsqueeze(1))
        yield float(chosen[len(head) :].sum())


@pytest.mark.parametrize("batch_tokens", [150, 16384])
@pytest.mark.parametrize(
    "kind",
    [
        *("t5", "bart", "bloom", "llama"),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gpt2", *DECODERS) if kind != "llama"),
    ],
)
def test_what_is_shared_changes_no_sum(kind: str, batch_tokens: int) -> None:
    live, asked = student(kind), list(choosings())
    found = score(live, asked, batch_tokens)
    for one, sums in zip(asked, found, strict=True):
        assert sums == pytest.approx(tuple(one_by_one(live, one)), abs=1e-4)
    assert len({value for sums in found for value in sums}) > 40, "a test of sums needs different ones"


def test_bfloat16_is_near_and_the_source_decides() -> None:
    live, asked = student("t5"), list(choosings())
    exact = score(live, asked, 16384)
    turned = [Choosing(f"w1 {one.source}", one.prefix, one.options) for one in asked]
    assert score(live, turned, 16384) != exact
    live.model = live.model.to(torch.bfloat16)
    for one, other in zip(score(live, asked, 16384), exact, strict=True):
        assert one == pytest.approx(other, rel=0.05, abs=0.3)


def test_a_question_without_options_has_no_sums() -> None:
    assert score(student("llama"), [Choosing("w1", "", ()), Choosing("w1", "", ("w2", "w3"))], 100)[0] == ()
    assert score(student("t5"), [], 100) == []


# ---------------------------------------------------------------- what is chosen


def test_acc_norm_divides_by_characters_and_the_first_of_equals_is_chosen() -> None:
    row = Scored("q", (-6.0, -8.0, -6.0), (2, 4, 3))
    assert (row.best, row.best_for_its_length) == (0, 1)
    assert Scored("q", (-3.0, -3.0), (1, 1)).best_for_its_length == 0
    assert Scored("q", (), ()).best is None


def test_confidence_is_the_share_of_the_options_probability() -> None:
    assert Scored("q", (math.log(0.03), math.log(0.01)), (1, 1)).confidence == pytest.approx(0.75)
    assert Scored("q", (-2000.0, -2000.0, -3000.0), (1, 1, 1)).confidence == pytest.approx(0.5)
    assert Scored("q", (), ()).confidence is None


def test_the_calibration_error_of_five_answers_by_hand() -> None:
    """Two at .55, one right: |.5 - .55|; two at .95 and 1, both right: |1 - .975|; .3 is the upper end of its
    bin and wrong: .3. (2 * .05 + 2 * .025 + .3) / 5 = .09."""
    found = calibration([(0.55, True), (0.55, False), (0.95, True), (1.0, True), (0.3, False)])
    assert found["calibration_error"] == pytest.approx(0.09)
    assert [(one["low"], one["n"], one["correct"]) for one in found["bins"]] == [
        (0.2, 1, 0),
        (0.5, 2, 1),
        (0.9, 2, 2),
    ]
    assert calibration([])["calibration_error"] is None


# ---------------------------------------------------------------- what is scored


def way(method: Any) -> Way:
    found = way_of(method)
    assert isinstance(found, Way)
    return found


def test_an_answer_that_stands_alone_is_scored_as_a_whole() -> None:
    method = AnswerOnly()
    found = posed(way(method), method, QUESTION, None)
    assert found
    assert found[0].source == method.prompt("answer", QUESTION, {})
    assert (found[0].prefix, found[0].options[1], len(found[0].options)) == ("", "The answer is (B).", 3)


def test_an_answer_stage_reads_the_rationale_that_was_written() -> None:
    method = TwoStage()
    prediction = Prediction(QUESTION.id, (Written("rationale", "It grows.", "stop", 3),))
    found = posed(way(method), method, QUESTION, prediction)
    assert found
    assert "Solution: It grows. Answer:" in found[0].source
    assert found[0].prefix == ""


@pytest.mark.parametrize(
    ("text", "prefix", "stated"),
    [
        ("Trees. The answer is (B).", "Trees. The answer is", True),
        ("The answer is (A). No. The answer is (C).", "The answer is (A). No. The answer is", True),
        ("It is B", "It is B The answer is", False),
        ("", "The answer is", False),
    ],
)
def test_one_text_is_scored_behind_the_students_own_rationale(text: str, prefix: str, stated: bool) -> None:
    assert begun(text) == (prefix, stated)
    method = SingleStage()
    prediction = Prediction(QUESTION.id, (Written("rationale", text, "stop", 3),))
    found = posed(way(method), method, QUESTION, prediction)
    assert found == (
        Choosing(method.prompt("rationale", QUESTION, {}), prefix, ("(A).", "(B).", "(C).")),
        stated,
    )


def test_untrained_students_are_scored_behind_their_prompt_and_every_other_method_says_why_not() -> None:
    assert way(ZeroShot()).reads == "prompt"
    assert way_of(ZeroShot(who="teacher")) == "its answers are the teacher's"
    refused = {
        name: why
        for name in shelves.names("methods")
        if isinstance(why := way_of(shelves.load("methods", name)()), str)
    }
    assert refused.keys() == {"adaptive", "answer_first", "as_es", "equation", "lm_guided"}


# ---------------------------------------------------------------- the file

QUESTIONS = [Question(f"Which, {at}?", "A", ("one", "two")) for at in range(600)]


def test_a_killed_scoring_loses_its_window_alone(tmp_path: Path) -> None:
    method, asked = AnswerOnly(), []

    def scorer(choosings: Sequence[Choosing]) -> list[tuple[float, ...]]:
        asked.append(len(choosings))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [(-1.0, -2.0) for _ in choosings]

    with pytest.raises(KeyboardInterrupt):
        score_all(way(method), method, QUESTIONS, {}, scorer, tmp_path, quiet)
    assert [len(load_scores(tmp_path)), *asked] == [512, 256, 256, 88]
    with (tmp_path / FILE).open("a") as stream:
        stream.write('{"question_id": "torn')
    found = score_all(way(method), method, QUESTIONS, {}, scorer, tmp_path, quiet)
    assert asked[3:] == [88]
    assert [row.question_id for row in found] == [question.id for question in QUESTIONS]
    assert load_scores(tmp_path) == found
    (tmp_path / FILE).write_text("{}\n")
    with pytest.raises(StoreError, match="delete it and run again"):
        load_scores(tmp_path)


def test_what_is_no_number_is_not_right(tmp_path: Path) -> None:
    method = AnswerOnly()
    found = score_all(
        way(method), method, QUESTIONS[:2], {}, lambda a: [(math.nan, -1.0), (-1.0, -2.0)], tmp_path, quiet
    )
    assert right(QUESTIONS[:2], found, normalised=False) == [False, True]


# ---------------------------------------------------------------- a run and its report


def write_questions(folder: Path) -> Path:
    draw = random.Random(0)
    folder.mkdir()
    for split, count in (("train", 24), ("dev", 4), ("test", 12)):
        lines = []
        for at in range(count):
            choices = [f"{draw.choice(WORDS)} {number}" for number in range(2 + at % 3)]
            gold = draw.randrange(len(choices))
            line = {"question": f"Which one, {split} {at}?", "choices": choices, "answer": "ABCD"[gold]}
            lines.append(json.dumps({**line, "rationale": f"It must be {choices[gold]}."}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


def overrides(folder: Path, *more: str) -> tuple[str, ...]:
    task = f"{{name: jsonl, path: {folder}, form: choice}}"
    data = "{train: 24, dev: 4, test: 12}"
    return (f"task={task}", f"data={data}", "evaluate.score_options=true", *more)


def test_a_run_scores_options_and_its_report_shows_them(tmp_path: Path) -> None:
    methods = "methods=[answer_only, single_stage, answer_first]"
    wanted = recipe(*overrides(write_questions(tmp_path / "data"), methods))
    graph = Graph(wanted)
    steps = {step.name: step for step in graph.steps if step.kind == "score"}
    assert list(steps) == ["score/causal/answer_only/seed0/test", "score/causal/single_stage/seed0/test"]
    assert [sorted(step.needs) for step in steps.values()] == [
        ["data", "stage answer"],
        ["data", "predicted", "stage rationale"],
    ]
    outcome = run(wanted, tmp_path / "run")
    parts = {part["name"]: part for part in outcome.report["audit"]}
    first, second = parts["scored"]["numbers"]["arms"]
    assert (first["n"], first["acc"], first["role"]) == (12, first["acc_correct"] / 12, "control")
    assert second["reads"] == "own rationale"
    assert any("answer_first was not scored" in said for said in parts["scored"]["sentences"])
    assert any("acc_norm is the same as acc" in said for said in parts["scored"]["sentences"])
    (pair,) = parts["scored_pairs"]["numbers"]["acc"]
    assert pair["difference"] == pytest.approx(second["acc"] - first["acc"])
    assert sum(one["n"] for one in parts["scored_calibration"]["numbers"]["arms"][0]["bins"]) == 12
    page = outcome.html.read_text("utf-8")
    assert "Options by log-likelihood" in page
    assert 'aria-label="answer_only · causal · test: seed 0: sure' in page
    assert run(wanted, tmp_path / "run").ran == 0


def test_without_the_key_nothing_is_added(tmp_path: Path) -> None:
    folder = write_questions(tmp_path / "data")
    off = Graph(recipe(*overrides(folder), "evaluate.score_options=false"))
    on = Graph(recipe(*overrides(folder)))
    assert {step.hash for step in on.steps if step.kind != "score"} == {step.hash for step in off.steps}
    with pytest.raises(RecipeError, match="not in int8"):
        recipe(*overrides(folder), "evaluate.compute_type=int8")


def test_another_form_says_that_nothing_was_scored(tmp_path: Path) -> None:
    outcome = run(recipe("evaluate.score_options=true", "methods=[answer_only]"), tmp_path / "run")
    (part,) = [part for part in outcome.report["audit"] if part["name"] == "scored"]
    assert "Nothing was scored" in part["sentences"][0]


def scoring(method: str, rights: Sequence[bool], seed: int = 0) -> Scoring:
    rows = [Chosen(QUESTIONS[at], one, not one, 0.6 + 0.03 * at) for at, one in enumerate(rights)]
    role: Any = "control" if method == "answer_only" else "method"
    return Scoring(method, "small", seed, "test", role, tuple(rows), "prompt", lengths_differ=True)


def test_a_method_is_paired_with_its_control_by_both_measures() -> None:
    control, method = [False] * 8 + [True] * 2, [True] * 10
    _, pairs, curve = scored([scoring("answer_only", control), scoring("single_stage", method)], {})
    (acc,), (normalised,) = pairs.numbers["acc"], pairs.numbers["acc_norm"]
    assert (acc["difference"], acc["only_a"], acc["only_b"]) == (pytest.approx(0.8), 8, 0)
    assert acc["p_value"] == pytest.approx(2 * 0.5**8)
    assert normalised["difference"] == pytest.approx(-0.8)
    part = {"name": curve.name, "numbers": curve.numbers}
    assert [len(panel["series"]) for panel in panels(part)] == [1, 1]
    assert panels({"name": "leak", "numbers": {}}) == []


# ---------------------------------------------------------------- for lm-evaluation-harness


def recipe_file(tmp_path: Path, student: str) -> Path:
    folder = write_questions(tmp_path / "data")
    path = tmp_path / "own.yaml"
    path.write_text(
        f"name: own\ntask: {{name: jsonl, path: {folder}, form: choice}}\nteacher: template\n"
        f"students: [{student}]\nmethods: [answer_only, single_stage, zero_shot]\n",
        "utf-8",
    )
    return path


def test_an_exported_task_holds_the_options_and_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "{name: causal, config: tiny}, {name: seq2seq, config: tiny}")
    done = export(str(path), tmp_path / "out", ["answer_only"], scoring=True)
    assert [one.name.removeprefix("understudy_own_") for one in done] == [
        "answer_only_test_options_causal",
        "answer_only_test_options_seq2seq",
    ]
    first = rows(done[0].path.with_suffix(".jsonl"))[0]
    assert first["options"] == ["The answer is (A).", "The answer is (B)."]
    assert "AB"[first["gold_option"]] == first["gold"]
    with pytest.raises(RecipeError, match="its options follow what the student wrote"):
        export(str(path), tmp_path / "out", ["single_stage"], scoring=True)
    with pytest.raises(DataError, match="no options to score"):
        export("last_letters", tmp_path / "out", ["answer_only"], scoring=True)


def test_a_seq2seq_whose_saved_tokenizer_leaves_sources_open_is_refused(tmp_path: Path) -> None:
    tokenizer = make_tokenizer("word", WORDS, 100)
    tokenizer.save_pretrained(tmp_path / "open")
    student = f"{{name: seq2seq, config: tiny, tokenizer: {tmp_path / 'open'}}}"
    with pytest.raises(RecipeError, match="does not close a source"):
        export(str(recipe_file(tmp_path, student)), tmp_path / "out", scoring=True)


def test_the_tokenizer_of_a_seq2seq_from_scratch_closes_its_texts(tmp_path: Path) -> None:
    live: Any = scratch("seq2seq").create(["Which one? The answer is (A)."], 0)
    live.save(tmp_path)
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path)
    (ours,) = live.codec.sources(["Which one?"])
    assert saved("Which one?")["input_ids"] == ours
    assert ours.count(saved.eos_token_id) == 1


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["causal", "seq2seq"])
def test_the_harness_gives_every_option_the_same_log_probability(architecture: str, tmp_path: Path) -> None:
    python = harness()
    path = recipe_file(tmp_path, f"{{name: {architecture}, config: tiny}}")
    (done,) = export(str(path), tmp_path / "out", ["answer_only"], scoring=True)
    asked = rows(done.path.with_suffix(".jsonl"))
    texts = [text for row in asked for text in (row["prompt"], *(f" {option}" for option in row["options"]))]
    live: Any = scratch(architecture).create(texts, 0)
    if architecture == "causal":
        # Fresh weights of a decoder find every option as likely as any other; those of T5 do not.
        with torch.no_grad():
            for weight in live.model.parameters():
                weight.mul_(3)
    live.save(tmp_path / "model")
    ours = score(live, [Choosing(row["prompt"], "", tuple(row["options"])) for row in asked], 1024)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    backend = "" if architecture == "causal" else ",backend=seq2seq"
    command = [python, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "5"]
    command += ["--model_args", f"pretrained={tmp_path / 'model'},dtype=float32{backend}", "--log_samples"]
    command += ["--tasks", done.name, "--include_path", str(tmp_path / "out")]
    command += ["--output_path", str(tmp_path / "results")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-3000:]
    (samples,) = (tmp_path / "results").rglob("samples_*.jsonl")
    theirs = {row["doc"]["id"]: row for row in rows(samples)}
    questions = [Question(row["question"], row["gold"], tuple(row["choices"])) for row in asked]
    scores = [
        Scored(row["id"], sums, tuple(map(len, row["options"])))
        for row, sums in zip(asked, ours, strict=True)
    ]
    chosen = zip(
        asked,
        scores,
        right(questions, scores, normalised=False),
        right(questions, scores, normalised=True),
        strict=True,
    )
    for row, one, acc, acc_norm in chosen:
        their = theirs[row["id"]]
        found = [float(answer[0]) for answer in their["filtered_resps"]]
        assert found == pytest.approx(one.logprobs, abs=1e-4)
        assert (bool(their["acc"]), bool(their["acc_norm"])) == (acc, acc_norm)
    assert len({their["acc"] for their in theirs.values()}) == 2, "a test needs right ones and wrong ones"
