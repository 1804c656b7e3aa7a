"""The step in which a trained student scores the options of questions, beside those in which it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from understudy import answers
from understudy.generators.contract import EXACT, REFERENCE
from understudy.generators.ready import ENGINES
from understudy.records import load_predictions
from understudy.scoring import FORM, Scored, Way, score_all, way_of
from understudy.types import LABELS, Question
from understudy.work import Work, method_of, student_of


def score_options(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """Write `scores.jsonl`; what a killed step has written there stays."""
    import torch

    from understudy.students._scoring import score

    questions = work.prepared().splits[settings["split"]]
    method = method_of(settings["method"])
    way = way_of(method)
    assert isinstance(way, Way), way
    predictions = {}
    if "predicted" in work.needs:
        predictions = {p.question_id: p for p in load_predictions(work.needs["predicted"])}
    live = student_of(settings["student"]).load(work.needs[_role(way)] / "model")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # The same weights in the same format as those that write.
    ready = ENGINES[REFERENCE].build(live, settings.get("compute_type", EXACT), device, Path())
    scorer = partial(score, ready, batch_tokens=settings["batch_tokens"])
    rows = score_all(way, method, questions, predictions, scorer, work.folder, work.progress)
    return {
        "n": len(rows),
        "correct": sum(right(questions, rows, normalised=False)),
        "correct_normalised": sum(right(questions, rows, normalised=True)),
        "without_scores": sum(not row.logprobs for row in rows),
        "without_cue": sum(not row.cue for row in rows),
        "reads": way.reads,
    }


def _role(way: Way) -> str:
    return f"stage {way.stage.uses or way.stage.name}"


def right(questions: Sequence[Question], rows: Sequence[Scored], *, normalised: bool) -> list[bool]:
    """Whether the chosen option is the gold one, question by question."""
    found = []
    for question, row in zip(questions, rows, strict=True):
        chosen = row.best_for_its_length if normalised else row.best
        gold = answers.canonical(question.answer, FORM, question.choices)
        found.append(chosen is not None and LABELS[chosen] == gold)
    return found
