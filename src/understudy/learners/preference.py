"""preference: right against wrong rationales, by Direct Preference Optimization (arXiv 2305.18290).

Each group is a chosen and a rejected target of one source. The loss falls as the student, measured against
itself before this training, finds the chosen one likelier and the rejected one less likely. The catch: only
their difference counts, so plain DPO may let both fall until a small student stops writing sentences;
`likelihood` adds what holds the chosen one up (iterative RPO, arXiv 2404.19733). Decoders are trained by
`trl.DPOTrainer`, which knows no encoder-decoders: those get the same loss in the plain trainer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from understudy.errors import TrainingError
from understudy.roles import Learner, Lesson

__all__ = ["Preference"]


class Preference(Learner):
    """DPO on groups of one `chosen` and one `rejected` example that share a source."""

    name: Literal["preference"] = "preference"
    beta: float = Field(0.1, gt=0)
    """How closely the student is held to what it was: the lower, the further it may go."""
    likelihood: float = Field(1.0, ge=0)
    """Weight of the chosen target's mean token cross-entropy, added to the loss; 0 is plain DPO."""

    def fit(self, lesson: Lesson) -> float:
        _check(lesson)
        reference = copy.deepcopy(lesson.live.model)
        reference.requires_grad_(False)
        reference.eval()
        if lesson.live.kind == "causal":
            return self._trl(lesson, reference)
        from understudy.learners._losses import Preferred
        from understudy.training import trainer

        return trainer.fit(
            lesson.live,
            lesson.encoded,
            lesson.plan,
            lesson.spec,
            lesson.learning_rate,
            lesson.seed,
            lesson.folder,
            lesson.progress,
            journal=lesson.journal,
            loss=Preferred(reference, self.beta, self.likelihood),
        )

    def _trl(self, lesson: Lesson, reference: Any) -> float:
        from understudy.learners import _trl

        collator = _trl.part("trl.trainer.dpo_trainer", "DataCollatorForPreference")
        pad: int = lesson.live.pad  # type: ignore[attr-defined]
        stack = collator(pad_token_id=pad)

        def collate(groups: Sequence[tuple[Mapping[str, Any], ...]]) -> dict[str, Any]:
            batch: dict[str, Any] = stack([_pair(group) for group in groups])
            return batch

        settings = _trl.part("trl", "DPOConfig")
        extra = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, self.likelihood]}

        def config(**plain: Any) -> Any:
            added = extra if self.likelihood else {}
            return settings(**plain, **added, beta=self.beta, max_length=None)

        return _trl.fit(lesson, _trl.part("trl", "DPOTrainer"), config, collate, ref_model=reference)


def _pair(group: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    by_name = {row["objective"]: row for row in group}
    return {
        "prompt_ids": by_name["chosen"]["source"],
        "chosen_ids": by_name["chosen"]["target"],
        "rejected_ids": by_name["rejected"]["target"],
    }


def _check(lesson: Lesson) -> None:
    for group in lesson.groups:
        if sorted(example.objective for example in group) != ["chosen", "rejected"]:
            names = ", ".join(example.objective for example in group)
            raise TrainingError(
                f"preferences are learned from pairs of a chosen and a rejected example; a group has: {names}"
            )
        if len({example.source for example in group}) != 1:
            raise TrainingError("a chosen and a rejected example must answer the same source")
