"""A side that lm-evaluation-harness answered: `samples_*.jsonl`, as --log_samples writes them.

A row holds `doc` (the row of the data set), `target`, `resps` (the texts, or of a multiple-choice task the
log-likelihoods of the options), `filtered_resps`, `filter`, `metrics` (names) and each metric's value beside
them. A task with several filters has every question once for each. The question is computed from `doc`, whose
fields data sets name in their own ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from understudy import rows
from understudy.comparing.side import Answered, Side, distinct
from understudy.errors import DataError
from understudy.judging import read_item
from understudy.types import LABELS, AnswerForm, Question

TEXTS = ("question", "Question", "text", "problem", "query", "input", "prompt")
"""Fields that hold the question, the likeliest first."""
METRICS = ("exact_match", "acc", "acc_norm")


def read_harness(path: Path, filter_: str = "", metric: str = "") -> Side:
    """The answers in one file of samples, or in the folder of one task's results.

    Raises DataError for a file that is none, and where it holds several filters or no verdict that is right
    or wrong.
    """
    path = _file(path)
    found = rows.read(path)
    if not found:
        raise DataError(f"{path} holds no row: nothing was evaluated, or nothing was logged")
    for row in found:
        for key in ("doc", "resps", "metrics"):
            if key not in row.fields:
                raise row.wrong(f"there is no '{key}', so this is no row of lm-evaluation-harness' samples")
    filters = list(dict.fromkeys(str(row.fields.get("filter", "none")) for row in found))
    if filter_ and filter_ not in filters:
        raise DataError(f"{path}: there is no filter '{filter_}' ({', '.join(filters)})")
    if not filter_ and len(filters) > 1:
        raise DataError(f"{path} holds several filters: name one with --filter ({', '.join(filters)})")
    filter_ = filter_ or filters[0]
    kept = [row for row in found if str(row.fields.get("filter", "none")) == filter_]
    metric = metric or _metric(kept, path)
    answered, notes = distinct(path.name, [_answered(row, metric) for row in kept])
    form = kept[0].fields["doc"].get("form")
    return Side(
        path.name,
        f"the harness' {metric}, filter {filter_}",
        answered,
        form if form in get_args(AnswerForm) else None,
        notes=notes,
    )


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.rglob("samples_*.jsonl"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{path} is no run folder and holds no samples_*.jsonl: evaluate with --log_samples --output_path"
        )
    names = ", ".join(str(one.relative_to(path)) for one in found[:8])
    raise DataError(f"{path} holds {len(found)} files of samples: give one of them ({names})")


def _metric(found: list[rows.Row], path: Path) -> str:
    named = [str(name) for name in found[0].fields["metrics"]]
    for name in METRICS:
        if name in named:
            return name
    raise DataError(f"{path}: name a metric of right or wrong with --metric ({', '.join(named) or 'none'})")


def _answered(row: rows.Row, metric: str) -> Answered:
    value = row.fields.get(metric)
    if value not in (0, 1):
        raise row.wrong(f"'{metric}' is {value!r} and not 1 or 0; name another with --metric")
    return Answered(question_of(row, row.fields["doc"], row.fields.get("target")), _text(row), value == 1)


def question_of(row: rows.Row, doc: Any, target: Any) -> Question:
    """The question that a row of some data set asks, as our tasks would have it."""
    if not isinstance(doc, Mapping):
        raise row.wrong(f"'doc' must be an object, not {type(doc).__name__}")
    if isinstance(doc.get("Body"), str) and isinstance(doc.get("Question"), str):
        text = f"{doc['Body']} {doc['Question']}"
    else:
        texts = [doc[name] for name in TEXTS if isinstance(doc.get(name), str)]
        if not texts:
            raise row.wrong(f"no field of 'doc' holds the question ({', '.join(TEXTS)})")
        text = texts[0]
    gold = next((doc[name] for name in ("gold", "answerKey", "target", "answer") if name in doc), target)
    gold = gold if isinstance(gold, str | int | float | bool) else str(gold)
    choices = doc.get("choices")
    if choices and isinstance(gold, int) and 0 <= gold < len(LABELS):
        gold = LABELS[gold]  # a place among the options, from 0, as MMLU has it
    item = read_item(rows.Row({"output": "", "gold": gold, "choices": choices}, row.path, row.line), None)
    context = doc.get("context")
    return Question(
        text, item.gold, item.choices, context if isinstance(context, str) else "", source=row.place
    )


def _text(row: rows.Row) -> str | None:
    """The first text of [["..."]]; None where it is [[[likelihood, greedy]], ...] of the options."""
    try:
        said = row.fields["resps"][0][0]
    except (IndexError, KeyError, TypeError):
        raise row.wrong("'resps' holds nothing; it should be a list of lists of texts") from None
    return said if isinstance(said, str) else None
