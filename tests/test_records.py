"""The files between steps: what is written is read back, and what was written long ago too."""

from __future__ import annotations

import json
from pathlib import Path

from understudy.records import load_completions, load_predictions, load_rationales, save
from understudy.types import Completion, Prediction, Rationale, Written


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    sure = Written("reason", "2 + 3 = 5.", "stop", 7, -0.25)
    predictions = [
        Prediction("q1", (sure, Written("answer", "5", "length", 2)), settled="The answer is 5."),
        Prediction("q2", (Written("answer", "6", "stop", 2),)),
    ]
    save(tmp_path / "predictions.jsonl", predictions)
    assert load_predictions(tmp_path) == predictions
    rationales = [Rationale("q1", 0, "Hm.", "5", "toy", "wrong")]
    save(tmp_path / "rationales.jsonl", rationales)
    assert load_rationales(tmp_path) == rationales
    completions = [
        Completion("q1", 0, "Hm.", "stop", logprob=-1.5),
        Completion("q1", 1, "", "error", error="x"),
    ]
    save(tmp_path / "completions.jsonl", completions)
    assert load_completions(tmp_path) == completions


def test_files_from_before_log_probabilities_are_loaded(tmp_path: Path) -> None:
    written = {"stage": "answer", "text": "5", "finish_reason": "stop", "tokens": 2}
    old = {
        "predictions": {"question_id": "q1", "written": [written]},
        "rationales": {"question_id": "q1", "sample": 0, "text": "Hm.", "answer": "5", "teacher": "toy"},
        "completions": {"question_id": "q1", "sample": 0, "text": "Hm.", "finish_reason": "stop"},
    }
    for name, row in old.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    assert load_predictions(tmp_path) == [Prediction("q1", (Written("answer", "5", "stop", 2),))]
    assert load_rationales(tmp_path) == [Rationale("q1", 0, "Hm.", "5", "toy", "right")]
    assert load_completions(tmp_path) == [Completion("q1", 0, "Hm.", "stop")]
