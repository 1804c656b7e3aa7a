"""A file of model outputs as material for an audit: the rows of `understudy judge`, with their questions.

    {"question": "...", "output": "...", "gold": "18"[, "choices": [...]][, "finish_reason": "length"]}

Rows with the same question and options are samples of one question. The catch: without a `question` every
row is a question of its own, and what compares samples or questions finds nothing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from understudy import rows
from understudy.answers import canonical
from understudy.audit.material import Material, gather
from understudy.curate import CurateSpec, curate
from understudy.data import inferred_form
from understudy.errors import DataError
from understudy.judging import read_item
from understudy.types import AnswerForm, Completion, FinishReason, Question

SPLIT = "file"


def read_material(path: Path, form: AnswerForm | None) -> Material:
    """The material in a file; a form that is not given is told by the golds.

    Raises DataError, naming file and line, for a row that cannot be read. Curation is that of the defaults.
    """
    found = [_read(row, form) for row in rows.read(path, otherwise=".jsonl")]
    if not found:
        raise DataError(f"{path} holds no row to audit")
    form = form or inferred_form([question for question, _, _ in found])
    questions: dict[str, Question] = {}
    samples: Counter[str] = Counter()
    completions = []
    for question, output, cut_off in found:
        _check(question, form)
        questions.setdefault(question.id, question)
        reason: FinishReason = "length" if cut_off else "stop"
        completions.append(Completion(question.id, samples[question.id], output, reason))
        samples[question.id] += 1
    splits = {SPLIT: tuple(questions.values())}
    kept = curate(splits[SPLIT], completions, form, CurateSpec(), str(path)).rationales
    return gather(splits, SPLIT, completions, kept, form)


def _read(row: rows.Row, form: AnswerForm | None) -> tuple[Question, str, bool]:
    item = read_item(row, form)
    text = row.fields.get("question", row.place)
    if not isinstance(text, str):
        raise row.wrong(f"'question' must be a text, not {type(text).__name__}")
    return Question(text, item.gold, item.choices, source=row.place), item.output, item.cut_off


def _check(question: Question, form: AnswerForm) -> None:
    if canonical(question.answer, form, question.choices) is None:
        raise DataError(f"{question.source}: the gold {question.answer!r} cannot be read as a {form}")
