"""Our questions for lm-evaluation-harness as `multiple_choice`: it scores options instead of reading texts.

The options are the sentences that our students learn to answer with, in the words in which `understudy`
scores them itself (`scoring.py`), so that its `acc` and `acc_norm` are ours. The catch is how a target
begins: a decoder's goes on from its prompt behind a space, an encoder-decoder's opens a text of its own
without one, and a student's own tokenizer tells the two apart. So a task is written for one architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy.answers import canonical
from understudy.errors import DataError, RecipeError
from understudy.recipe.spec import StudentEntry
from understudy.roles import Method
from understudy.scoring import FORM, options, way_of
from understudy.types import LABELS, AnswerForm, Question


def not_scored(method: Method) -> str:
    """Why the harness cannot score a method's options as we do; empty where it can."""
    way = way_of(method)
    if isinstance(way, str):
        return way
    if way.predicted:
        return "its options follow what the student wrote, and the harness scores before anything is written"
    return ""


def check_options(questions: Sequence[Question], form: AnswerForm) -> None:
    if form != FORM:
        raise DataError(
            f"answers are judged as {form}, so there are no options to score: leave out --scoring"
        )
    lacking = sum(len(question.choices) < 2 for question in questions)
    if lacking:
        raise DataError(
            f"{lacking} of {len(questions)} questions have no options to score: leave out --scoring"
        )


def option_columns(question: Question, form: AnswerForm) -> dict[str, Any]:
    """`options` and the position of the gold one; nothing where there are none."""
    gold = canonical(question.answer, form, question.choices) if form == FORM else None
    if gold is None or not question.choices:
        return {}
    return {"options": list(options(question)), "gold_option": LABELS.index(gold)}


def scoring_config(name: str, data: Path, architecture: str) -> dict[str, Any]:
    measures = [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
    ]
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "num_fewshot": 0,
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "options",
        "doc_to_target": "gold_option",
        "target_delimiter": "" if architecture == "seq2seq" else " ",
        "metric_list": measures,
        "metadata": {"version": 1.0},
    }


def check_students(students: Sequence[StudentEntry]) -> None:
    """Raises RecipeError for an encoder-decoder whose saved tokenizer will not close a source: we close it,
    the harness does not, so it would feed the student other ids. Tokenizers that are trained here close their
    texts; those of a hub id are left to their reputation."""
    for entry in students:
        spec = entry.student.model_dump(mode="json")
        named = spec.get("checkpoint") or spec.get("tokenizer") or ""
        if spec["name"] != "seq2seq" or not Path(named).is_dir():
            continue
        from transformers import AutoTokenizer

        from understudy.students._live import closing_id, load_pretrained

        tokenizer = load_pretrained(AutoTokenizer, named, None)
        if tokenizer("a")["input_ids"][-1:] != [closing_id(tokenizer)]:
            raise RecipeError(
                f"the student '{entry.label}' cannot be handed to the harness: the tokenizer in {named} does "
                "not close a source with its end-of-text token, as this student reads it; choose another one"
            )
