"""The step in which an arm's student scores the options of its questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.evaluate import EvaluateSpec
from understudy.generators.contract import EXACT
from understudy.graph._pieces import make_step
from understudy.recipe.spec import MethodEntry, StudentEntry
from understudy.scoring import FORM, way_of
from understudy.store import Step
from understudy.types import AnswerForm


def score_step(
    evaluate: EvaluateSpec,
    form: AnswerForm,
    student: StudentEntry,
    entry: MethodEntry,
    stages: Mapping[str, Step],
    predicted: Step,
    title: str,
) -> Step | str | None:
    """The step; or why there is none, as the end of a sentence; None where nobody asks for it. `stages` hold
    the weights, `predicted` what was written."""
    if not evaluate.score_options or form != FORM:
        return None
    way = way_of(entry.method)
    if isinstance(way, str):
        return way
    settings: dict[str, Any] = {
        "student": student.student.model_dump(mode="json"),
        "method": entry.method.model_dump(mode="json"),
        "split": predicted.settings["split"],
        "batch_tokens": evaluate.batch_tokens,
    }
    if evaluate.compute_type != EXACT:
        settings["compute_type"] = evaluate.compute_type
    stage = way.stage.uses or way.stage.name
    needs = {"data": predicted.needs["data"], f"stage {stage}": stages[stage]}
    needs |= {"predicted": predicted} if way.predicted else {}
    name = predicted.name.replace("predict/", "score/", 1)
    return make_step(name, "score", settings, needs, title, 2)
