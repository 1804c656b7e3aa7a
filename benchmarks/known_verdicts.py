"""Outputs of models whose verdicts somebody else has recorded, in four public collections.

bbh          suzgunmirac/BIG-Bench-Hard: the authors' accuracy on each of 27 tasks, with and without reasoning
openai       openai/grade-school-math: `is_correct` of four small models on GSM8K's test set
llm_adapters AGI-Edgerunners/LLM-Adapters: chains of GPT-3.5 with what the authors read from each
mr_gsm8k     dvlab-research/MR-GSM8K: people's verdicts on an answer, and apart from it on its reasoning

They carry licences of their own and are no part of this project: `root` says where they are looked for.
The catch is in the golds. Three of BBH's are the text of an option in rows whose options were split at their
commas, and 75 of MR-GSM8K's are the first line of a solution instead of its number.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from understudy import answers
from understudy.types import AnswerForm


@dataclass(frozen=True, slots=True)
class Known:
    """One output with the verdict that its collection records: none where it gives only an accuracy."""

    key: str
    question: str
    output: str
    gold: str
    theirs: bool | None
    also: bool | None = None
    """A second verdict of theirs: llm_adapters' `pred == answer`, MR-GSM8K's on the reasoning."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The outputs of one file, or of one model, that are judged by one form."""

    name: str
    form: AnswerForm
    rows: tuple[Known, ...]
    accuracy: float | None = None
    """Per cent, where the collection gives no verdict on each row."""
    unreadable: int = 0
    """Rows left out because nobody can read their gold; they count as wrong in `accuracy`."""


FOLDERS = ("bbh", "gsm8k_openai_model_solutions", "llm_adapters_gpt35_cot", "mr_gsm8k")


def root(*needed: str) -> Path:
    """Where the collections lie: the folder that UNDERSTUDY_SHARED_DATA names, or one beside the project."""
    named = os.environ.get("UNDERSTUDY_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    missing = [name for name in needed if not (folder / name).is_dir()]
    if missing:
        raise click.ClickException(
            f"{folder} does not hold {', '.join(missing)}; set UNDERSTUDY_SHARED_DATA to the folder that does"
        )
    return folder


def _open(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")


def records(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON array, or of JSON Lines."""
    text = _open(path)
    if text.startswith("["):
        found: list[dict[str, Any]] = json.loads(text)
        return found
    return [json.loads(line) for line in text.split("\n") if line.strip()]


# ---------------------------------------------------------------- BIG-Bench Hard

_BBH_FORMS: dict[str, AnswerForm] = {
    **dict.fromkeys(("boolean_expressions", "causal_judgement", "navigate"), "boolean"),
    **dict.fromkeys(("sports_understanding", "web_of_lies"), "boolean"),
    **dict.fromkeys(("multistep_arithmetic_two", "object_counting"), "number"),
    **dict.fromkeys(("dyck_languages", "formal_fallacies", "word_sorting"), "text"),
}
_OPTION = re.compile(r"^\([A-Z]\)(.*)$", re.MULTILINE)


def bbh(folder: Path, style: str) -> list[Group]:
    """One group for each task, in the order of their names; `style` is "cot" or "direct"."""
    outputs = folder / "bbh" / "code-davinci-002-outputs" / f"code-davinci-002-{style}"
    return [_bbh_task(path) for path in sorted(outputs.iterdir()) if ".json" in path.suffixes]


def _bbh_task(path: Path) -> Group:
    stem = path.name.split(".json")[0]
    task = stem.split("_few_shot")[0]
    form = _BBH_FORMS.get(task, "choice")
    rows = [_bbh_row(i, row, form) for i, row in enumerate(json.loads(_open(path))["outputs"])]
    readable = tuple(row for row in rows if answers.canonical(row.gold, form, row.choices) is not None)
    published = json.loads(_open(path.with_name(f"{stem}_eval_metrics.jsonl")))["accuracy"]
    return Group(task, form, readable, published, len(rows) - len(readable))


def _bbh_row(number: int, row: dict[str, Any], form: AnswerForm) -> Known:
    question = row["input"][row["input"].rindex("\nQ: ") + 4 :]
    choices = tuple(_OPTION.findall(question)) if form == "choice" else ()
    return Known(str(number), question, row["prediction"], row["target"], None, choices=choices)


# ---------------------------------------------------------------- GSM8K, small models

OPENAI_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def openai(folder: Path) -> list[Group]:
    """One group for each of the four models."""
    rows = records(folder / "gsm8k_openai_model_solutions" / "example_model_solutions.jsonl.gz")
    return [
        Group(
            model,
            "number",
            tuple(
                Known(
                    f"{model} {number}",
                    record["question"],
                    record[model]["solution"],
                    record["ground_truth"].split("A: ")[-1],
                    record[model]["is_correct"],
                )
                for number, record in enumerate(rows)
            ),
        )
        for model in OPENAI_MODELS
    ]


# ---------------------------------------------------------------- chains of GPT-3.5

TOLERANCE = 0.001
"""Up to which difference the authors of LLM-Adapters call two numbers equal."""


def llm_adapters(folder: Path) -> list[Group]:
    """One group for each of the six data sets."""
    files = sorted((folder / "llm_adapters_gpt35_cot").glob("*_1.json.gz"))
    return [_chains(path) for path in files]


def _chains(path: Path) -> Group:
    name = path.name.removesuffix("_1.json.gz")
    form: AnswerForm = "choice" if name == "aqua" else "number"
    rows = []
    for number, record in enumerate(records(path)):
        read, gold = record["pred"], record["answer"]
        same = read == gold
        right = same if form == "choice" or read is None else abs(float(read) - float(gold)) <= TOLERANCE
        text = record["chain-of-thought"]
        rows.append(Known(f"{name} {number}", record["question"], text, str(gold), right, same))
    return Group(name, form, tuple(rows))


# ---------------------------------------------------------------- people's verdicts

MR_KINDS = {"original": "original", "reversed": "reversed", "POT": "program"}


def mr_gsm8k(folder: Path) -> list[Group]:
    """One group for each kind of question. A solution that several graders were given counts once."""
    kinds: dict[str, dict[str, Known]] = {kind: {} for kind in MR_KINDS}
    for path in sorted((folder / "mr_gsm8k" / "gpt4-grading").iterdir()):
        for record in records(path):
            kinds[record["question_type"]].setdefault(record["uuid"], _solution(record))
    return [Group(MR_KINDS[kind], "number", tuple(rows.values())) for kind, rows in kinds.items()]


def _solution(record: dict[str, Any]) -> Known:
    return Known(
        record["uuid"][:8],
        record["question"],
        "\n".join(_without_numbers(record["model_output_steps"])),
        _mr_gold(record),
        record["model_output_answer_correctness"] == "correct",
        record["model_output_solution_correctness"] == "correct",
    )


def _without_numbers(steps: list[str]) -> Iterator[str]:
    """The steps as the model wrote them: the collection has put "Step 3: " before each."""
    return (re.sub(r"^Step \d+: ?", "", step) for step in steps)


def _mr_gold(record: dict[str, Any]) -> str:
    """The recorded gold, or the number after the last "is" of the solution where the field holds a
    sentence: "... The value of x is $20."."""
    gold = str(record["ground_truth_answer"])
    if answers.canonical(gold, "number") is not None:
        return gold
    found = re.findall(r"\bis:? \$?(\d[\d,]*)", record["ground_truth_solution"])
    return str(found[-1])
