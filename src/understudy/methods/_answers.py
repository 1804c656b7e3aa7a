"""What counterfactual and consistent share: a target whose answer part is marked."""

from __future__ import annotations

from understudy.answers import CUE, write
from understudy.types import AnswerForm, Rationale


def closed(rationale: Rationale, form: AnswerForm) -> tuple[str, int]:
    """Rationale and answer, and the character where the answer itself begins: after "The answer is"."""
    stated = write(rationale.answer, form)
    target = f"{rationale.text} {stated}"
    return target, len(target) - len(stated) + len(CUE)
