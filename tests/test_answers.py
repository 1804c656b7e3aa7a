"""The judge against a table of cases, and against real collections of output whose verdicts are known."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from shared_data import shared_data
from understudy import answers
from understudy.errors import DataError
from understudy.types import AnswerForm, Verdict

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "answer_cases.json").read_text(encoding="utf-8")
)


# ---------------------------------------------------------------- tables


def _judged(text: str, case: dict[str, Any]) -> Verdict:
    cut_off = case.get("cut_off", False)
    return answers.judge(text, case["gold"], case["form"], case.get("choices", ()), cut_off=cut_off)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['form']}: {case['text'][:50]!r}")
def test_table(case: dict[str, Any]) -> None:
    verdict = _judged(case["text"], case)
    assert (verdict.name, verdict.extracted) == (case["verdict"], case["extracted"]), verdict
    assert verdict.reason
    assert (verdict.strict == "no_answer") == (verdict.strict_extracted is None)
    if "strict" in case:
        assert verdict.strict_extracted == case["strict"], verdict


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['form']}: {case['text'][:50]!r}")
def test_space_and_emphasis_around_the_text_change_no_verdict(case: dict[str, Any]) -> None:
    plain = _judged(case["text"], case)
    variants = [case["text"] + " \n\n", "\n " + case["text"]]
    if case["text"].startswith("The answer is ") and "\n" not in case["text"] and not case.get("cut_off"):
        variants += [
            f"**{case['text']}**",
            f"_{case['text']}_",
            case["text"].replace("is ", "is: **", 1) + "**",
        ]
    for text in variants:
        assert _judged(text, case).name == plain.name


def test_no_answer_says_why_and_an_answer_says_where() -> None:
    assert answers.judge("", "1", "number").reason == "the text is empty"
    assert answers.judge("Hm.", "1", "number").reason == "no answer is stated"
    several = answers.judge("The answer is A or B.", "A", "choice", ("x", "y"))
    assert several.reason == "several options are named"
    verdict = answers.judge("Add. The answer is $18.", "18", "number")
    assert verdict.span is not None
    assert "Add. The answer is $18."[slice(*verdict.span)] == "$18"
    assert verdict.rule == "cue"


@pytest.mark.parametrize(
    ("text", "gold", "reason"),
    [
        ("The answer is 5.", "5", "stated as 'The answer is' or in like words"),
        ("#### 5", "5", "stated after '####'"),
        ("5", "5", "the last number of the text, for no statement was found"),
        ("The answer is 5.", "6", "reads 5, the gold is 6; stated as 'The answer is' or in like words"),
        (
            "The answer is 4. No. The answer is 5.",
            "5",
            "stated as 'The answer is' or in like words; an earlier statement says 4",
        ),
        ("The answer is 5. The answer is 5.", "5", "stated as 'The answer is' or in like words"),
        ("The answer is not 5.", "5", "an answer is only denied"),
        ("The answer is 5 or 6.", "5", "several numbers are named"),
        ("I add 4 and 5.\n" * 3, "5", "nothing is stated, and the text ends in a loop"),
    ],
)
def test_the_reason_is_given_in_plain_words(text: str, gold: str, reason: str) -> None:
    assert answers.judge(text, gold, "number").reason == reason
    if "reads" not in reason:
        assert answers.read(text, "number").reason == reason


def test_a_text_that_was_cut_off_says_so() -> None:
    assert (
        answers.read("So 18", "number", cut_off=True).reason == "nothing is stated, and the text was cut off"
    )
    unfinished = answers.read("The answer is 1", "number", cut_off=True)
    assert (unfinished.answer, unfinished.span) == (None, (14, 15))
    assert unfinished.reason == "the text was cut off within its answer"


def test_the_strict_reading_alone() -> None:
    reading = answers.strict_read("Add. The answer is **18**.", "number")
    assert (reading.answer, reading.span, reading.rule) == ("18", (21, 23), "strict")
    assert answers.strict_read("Answer: 18", "number").answer is None
    assert answers.strict_read("The answer is 1", "number", cut_off=True).answer is None


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("He sits. She adds 3 to 4. She adds 3 to 4. She adds 3 to 4.", "She adds 3 to 4. She adds 3 to 4."),
        (
            "She adds 3 to 4. She adds 3 to 4. She adds 3 to 4. She ad",
            "She adds 3 to 4. She adds 3 to 4. She ad",
        ),
        ("Go.\nYes.\nYes.\nYes.\n", "Yes.\nYes."),
        ("x " * 40, "x " * 38 + "x"),
        ("She adds 3 to 4. She adds 3 to 4.", None),
        ("no, no, no, no", None),
        ("] ] ] ] ] ]", None),
        ("0.33333333", None),
        ("-" * 100, None),
        ("The cat sat. The dog sat. The cow sat.", None),
        ("", None),
        ("\n\n\n\n", None),
    ],
)
def test_loops(text: str, again: str | None) -> None:
    found = answers.loop(text)
    assert (text[slice(*found)] if found else None) == again


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("The answer is 5.", "cue"),
        ("#### 5", "hash"),
        ("\\boxed{5}", "boxed"),
        ("<answer>5</answer>", "tag"),
        ("so --> 5", "arrow"),
        ("Add.\nA: 5", "reply"),
        ("**Answer**\n5", "heading"),
        ("5 apples", "last_number"),
    ],
)
def test_the_rule_is_named(text: str, rule: str) -> None:
    assert answers.read(text, "number").rule == rule


@pytest.mark.parametrize(
    ("form", "gold", "choices", "expected"),
    [
        ("number", "1,234.50", (), "1234.5"),
        ("number", "9 (apples)", (), "9"),
        ("number", "$3", (), "3"),
        ("number", "2/4", (), "1/2"),
        ("number", "1/3", (), "1/3"),
        ("number", "50%", (), "50"),
        ("number", "-0.0", (), "0"),
        ("number", "4; 5", (), "4; 5"),
        ("number", "8:20", (), "8:20"),
        ("number", "ten", (), None),
        ("number", "", (), None),
        ("number", "3 or 4", (), None),
        ("choice", "B", ("x", "y"), "B"),
        ("choice", "(b)", ("x", "y"), "B"),
        ("choice", "2", ("x", "y"), "B"),
        ("choice", "y", ("x", "y y"), None),
        ("choice", " The Y Y. ", ("x", "y y"), "B"),
        ("choice", "C", ("x", "y"), None),
        ("choice", "0", ("x", "y"), None),
        ("choice", "J", (), "J"),
        ("choice", "OPTION B", ("x", "y"), "B"),
        ("choice", "same", ("same", "same"), None),
        ("boolean", "True", (), "yes"),
        ("boolean", "no", (), "no"),
        ("boolean", "maybe", (), None),
        ("text", " The  Cooper 'Wedding'. ", (), "cooper 'wedding"),
        ("text", "12 (years)", (), "12"),
        ("text", "Yes", (), "yes"),
        ("text", "...", (), "..."),
        ("text", "", (), None),
        ("number", "2\\sqrt{3}", (), "2\\sqrt{3}"),
        ("number", "$\\left( 3, \\dfrac{1}{2} \\right)$", (), "( 3, \\frac{1}{2} )"),
        ("number", "2\\sqrt{5", (), "2\\sqrt{5}"),
        ("number", "52\\%", (), "52"),
        ("number", "441\\text{ pounds}", (), "441"),
        ("number", "x + 1", (), "x + 1"),
        ("number", "1, -2", (), "1, -2"),
        ("number", "3,5", (), None),
        ("number", "C", (), None),
        ("number", "\\text{Evelyn}", (), None),
        ("number", "5-10", (), None),
        ("number", "__import__('os').system('x')", (), None),
        ("text", "x-y", (), "x-y"),
        ("text", "\\sqrt{2}", (), "\\sqrt{2}"),
        ("letters", " 'L R' ", (), "lr"),
        ("letters", "l, r", (), "lr"),
        ("letters", "l7", (), None),
        ("letters", "two words", (), None),
        ("letters", "", (), None),
        ("list", "The Ant, bee; cow", (), "ant, bee; cow"),
        ("list", "[ant, bee]", (), "ant; bee"),
        ("list", "1. ant\n2. bee", (), "ant; bee"),
        ("list", "1.0, 2 and 3", (), "1; 2; 3"),
        ("list", "", (), None),
    ],
)
def test_canonical(form: AnswerForm, gold: str, choices: Sequence[str], expected: str | None) -> None:
    assert answers.canonical(gold, form, choices) == expected


def test_an_unreadable_gold_is_an_error_and_not_a_verdict() -> None:
    with pytest.raises(DataError, match="'seven' cannot be read as a number"):
        answers.judge("The answer is 7.", "seven", "number")


@pytest.mark.parametrize(
    ("form", "text", "left"),
    [
        ("number", "9 x 2 = 18. The answer is 18.", "9 x 2 = 18."),
        ("number", "9 x 2 = 18, so the answer is 18.", "9 x 2 = 18"),
        ("number", "We add. Therefore, the final answer is: **18**.", "We add."),
        ("number", "We add.\n#### 18", "We add."),
        ("number", "We add. Answer: 5\n#### 5", "We add."),
        ("number", "We add. So the total is $\\boxed{18}$.", "We add."),
        ("number", "We add.\n\n### Final Answer\n18", "We add."),
        ("number", "We add. The answer is 18.\n\nQ: And now?\nA: 7", "We add."),
        ("number", "The answer is 72.", ""),
        ("number", "It is 5", "It is 5"),
        ("number", "", ""),
        ("number", "One says the answer is 4. No. The answer is 5.", "One says the answer is 4. No."),
        ("choice", "Books are lent. Thus the correct answer is (B).", "Books are lent."),
        ("choice", "It must be (B).", "It must be (B)."),
        ("boolean", "The answer is yes. It floats.", "It floats."),
        ("boolean", "It floats --> yes", "It floats"),
        ("letters", "Take l, then r. The answer is l r.", "Take l, then r."),
        ("list", "We sort. The answer is:\n- ant\n- bee", "We sort."),
        ("number", "We add. The answer is $2\\sqrt{3}$.", "We add."),
        ("number", "We add. The answer is 5. We add. The answer is 5. We add. The answer is 5.", "We add."),
        ("text", 'Take n, then k. The answer is "nk".', "Take n, then k."),
    ],
)
def test_reasoning_is_the_text_without_its_final_statement(form: AnswerForm, text: str, left: str) -> None:
    assert answers.reasoning(text, form) == left


# ---------------------------------------------------------------- the page


def _page_rows(heading: str) -> list[list[str]]:
    """The cells of every table row under a heading of docs/judge.md, without their backticks."""
    page = (Path(__file__).parents[1] / "docs" / "judge.md").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", page.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `") or " | `" in line]
    return [[cell.strip(" `").replace("⏎", "\n") for cell in row.strip("| ").split(" | ")] for row in rows]


def test_the_two_readings_are_as_the_page_says() -> None:
    for output, gold, flexible, strict in _page_rows("How an answer is read"):
        verdict = answers.judge(output, gold, "number")
        assert (verdict.extracted, verdict.strict_extracted or "–") == (flexible, strict), output


def test_the_hard_cases_are_as_the_page_says() -> None:
    rows = _page_rows("The hard cases")
    assert len(rows) == 8
    for _, _, output, gold, reading in rows:
        cut_off = output.endswith("✂")
        verdict = answers.judge(output.rstrip("` ✂"), gold, "number", cut_off=cut_off)
        assert (verdict.extracted or "–") == reading, output


@pytest.mark.parametrize("form", ["letters", "list"])
def test_the_examples_of_the_new_forms_are_as_the_page_says(form: AnswerForm) -> None:
    rows = _page_rows(form)
    assert len(rows) >= 4
    for output, gold, reading, name, *_ in rows:
        verdict = answers.judge(output, gold, form)
        assert (verdict.extracted or "–", verdict.name.replace("_", " ")) == (reading, name), output


# ---------------------------------------------------------------- real collections


def _open(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in _open(path).splitlines() if line.strip())


_BOOLEAN = {"boolean_expressions", "causal_judgement", "navigate", "sports_understanding", "web_of_lies"}
_NUMBER = {"multistep_arithmetic_two", "object_counting"}
_TEXT = {"dyck_languages", "formal_fallacies", "word_sorting"}
_BBH_UNREADABLE = {"movie_recommendation": 1, "ruin_names": 2}
"""Golds that are an option's text in rows whose options were split at their commas: nobody can read them."""


def _bbh_form(task: str) -> AnswerForm:
    if task in _BOOLEAN:
        return "boolean"
    if task in _NUMBER:
        return "number"
    return "text" if task in _TEXT else "choice"


@pytest.mark.parametrize("style", ["cot", "direct"])
def test_bbh_accuracies_are_those_of_its_authors(style: str) -> None:
    folder = shared_data("bbh") / "code-davinci-002-outputs" / f"code-davinci-002-{style}"
    files = sorted(path for path in folder.iterdir() if ".json" in path.suffixes)
    assert len(files) == 27
    for path in files:
        task = path.name.split("_few_shot")[0]
        published = json.loads(_open(folder / f"{path.name.split('.json')[0]}_eval_metrics.jsonl"))
        rows = json.loads(_open(path))["outputs"]
        form, correct, unreadable = _bbh_form(task), 0, 0
        for row in rows:
            question = row["input"][row["input"].rindex("\nQ: ") :]
            options = re.findall(r"^\([A-Z]\)(.*)$", question, re.MULTILINE) if form == "choice" else ()
            try:
                verdict = answers.judge(row["prediction"], row["target"], form, options)
            except DataError:
                unreadable += 1
                continue
            correct += verdict.name == "correct"
        assert 100 * correct / len(rows) == pytest.approx(published["accuracy"], abs=1e-9), task
        assert unreadable == _BBH_UNREADABLE.get(task, 0), task


def test_gsm8k_verdicts_are_those_of_its_authors() -> None:
    path = shared_data("gsm8k_openai_model_solutions") / "example_model_solutions.jsonl.gz"
    right: Counter[str] = Counter()
    for row in _lines(path):
        gold = row["ground_truth"].split("A: ")[-1]
        for model in ("6b_finetuning", "175b_finetuning", "6b_verification", "175b_verification"):
            verdict = answers.judge(row[model]["solution"], gold, "number")
            assert (verdict.name == "correct") == row[model]["is_correct"], row[model]["solution"]
            right[model] += verdict.name == "correct"
    assert list(right.values()) == [286, 458, 515, 742]


def test_chains_of_gpt35_are_read_as_their_authors_read_them() -> None:
    """Their rule is a difference of at most 0.001. The three rows apart give two figures in one statement
    ("5 arms and 3 legs, or 8 limbs"), where they take the last and we the first."""
    rows = agreed = wrong = 0
    for path in sorted(shared_data("llm_adapters_gpt35_cot").glob("*_1.json.gz")):
        form: AnswerForm = "choice" if path.name.startswith("aqua") else "number"
        for row in json.loads(_open(path)):
            read, gold = row["pred"], row["answer"]
            if form == "choice" or read is None:
                right = read == gold
            else:
                right = abs(float(read) - float(gold)) <= 0.001
            verdict = answers.judge(row["chain-of-thought"], str(gold), form)
            rows, wrong = rows + 1, wrong + (not right)
            agreed += right == (verdict.name == "correct")
    assert (rows, wrong) == (4076, 965)
    assert agreed >= 4073


_DISTILLED: list[tuple[str, str, AnswerForm, float]] = [
    ("SVAMP_llama_level1_ranked", "SVAMP_only_ans", "number", 0.99),
    ("SVAMP_ChatGPT_level2_ranked", "SVAMP_only_ans", "number", 0.98),
    ("gsm8k_llama_level1_ranked", "gsm_train_onlyans", "number", 0.95),
    ("obqa_gemini_level4_ranked", "openbookQA_onlyans", "choice", 0.995),
    ("openbookQA_ChatGPT_0_shot_without_gt_ranked", "openbookQA_onlyans", "choice", 0.92),
    ("csqa_llama_level2_ranked", "commonsenseQA_onlyans", "choice", 0.995),
    ("stqa_llama_level1_ranked", "strategyQA_onlyans", "boolean", 0.98),
    ("strategyQA_chatgpt_level_5_ranked", "strategyQA_onlyans", "boolean", 0.94),
]


@pytest.mark.parametrize(("name", "golds", "form", "least"), _DISTILLED, ids=[row[0] for row in _DISTILLED])
def test_distilled_rationales_agree_with_their_golds(
    name: str, golds: str, form: AnswerForm, least: float
) -> None:
    folder = shared_data("eit_cot_distill")
    gold = {row["instruction"]: row["output"] for row in json.loads(_open(folder / f"{golds}.json.gz"))}
    counts: Counter[str] = Counter()
    for row in json.loads(_open(folder / f"{name}.json.gz"))[:2500]:
        if row["instruction"] in gold:
            options = re.split(r"[ ,][A-H]: ", row["instruction"])[1:] if form == "choice" else []
            options = [option.rstrip(", ") for option in options]
            verdict = answers.judge(row["output"], gold[row["instruction"]], form, options)
            counts[verdict.name] += 1
    assert counts["correct"] / counts.total() >= least, counts


def _golds(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every gold of a raw data set with its options."""
    folder = shared_data(name)
    if name == "asdiv":
        for answer in ElementTree.fromstring(_open(folder / "ASDiv.xml.gz")).iter("Answer"):
            yield answer.text or "", ()
    elif name == "gsm8k":
        for split in ("train", "test"):
            for row in _lines(folder / f"{split}.jsonl.gz"):
                yield row["answer"].split("####")[1], ()
    elif name == "svamp":
        for row in json.loads(_open(folder / "SVAMP.json.gz")):
            yield str(row["Answer"]), ()
    elif name == "mawps":
        for split in ("train", "valid", "test"):
            for row in json.loads(_open(folder / f"{split}set.json.gz")):
                yield str(row["ans"]), ()
    elif name == "strategyqa":
        for split in ("train", "dev"):
            for row in json.loads(_open(folder / f"{split}.json.gz")):
                yield str(row["answer"]), ()
    elif name == "openbookqa":
        for split in ("train", "dev", "test"):
            for line in _open(folder / f"{split}.tsv.gz").splitlines()[1:]:
                _, _, choices, _, key = line.split("\t")
                yield key, tuple(re.split(r" ?\([A-D]\) ", choices)[1:])
    else:
        for path in sorted(folder.rglob("*.jsonl.gz")):
            for row in _lines(path):
                if "answerKey" in row:
                    yield row["answerKey"], tuple(choice["text"] for choice in row["question"]["choices"])


_FORMS: list[tuple[str, AnswerForm, int]] = [
    ("asdiv", "text", 2305),
    ("gsm8k", "number", 7473 + 1319),
    ("svamp", "number", 1000),
    ("mawps", "number", 1898 + 237 + 238),
    ("strategyqa", "boolean", 2061 + 229),
    ("commonsenseqa", "choice", 9741 + 1221),
    ("arc", "choice", 7787),
    ("openbookqa", "choice", 5957),
    ("qasc", "choice", 926 + 814),
]


@pytest.mark.parametrize(("name", "form", "least"), _FORMS, ids=[row[0] for row in _FORMS])
def test_every_real_gold_is_readable_and_its_own_statement_is_right(
    name: str, form: AnswerForm, least: int
) -> None:
    """ASDiv is a text task: 60 of its golds are names or sentences; the other 2245 are judged as numbers."""
    count = 0
    for gold, choices in _golds(name):
        canonical = answers.canonical(gold, form, choices)
        assert canonical is not None, gold
        text = f"So it is. {answers.write(canonical, form)}"
        assert answers.judge(text, gold, form, choices).name == "correct", gold
        count += 1
    assert count >= least


def test_gsm8k_human_rationales_lose_their_final_statement() -> None:
    for row in _lines(shared_data("gsm8k") / "test.jsonl.gz"):
        before = row["answer"].split("\n####")[0]
        assert answers.reasoning(row["answer"], "number") == before.strip().rstrip("$*")
