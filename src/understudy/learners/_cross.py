"""Logits of two tokenizers compared: Universal Logit Distillation (arXiv 2402.12030) with TRL's alignment.

Both models read the same source and target, each in its own tokens. Where both cut the target at the same
place, what lies before it is merged, and the merged distributions are compared sorted by probability, since
the tokens themselves mean nothing to each other. Imports torch: reached only from a learner's `fit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from understudy.errors import TrainingError
from understudy.learners._losses import Rows, logits_of
from understudy.learners._trl import part
from understudy.roles import Lesson, LiveStudent
from understudy.training.objective import objective


def beside(lesson: Lesson, teacher: LiveStudent) -> list[tuple[Mapping[str, Any], ...]]:
    """The encoded groups, each row with the teacher's encoding under "other", and with the places where the
    tokens of either target end, in characters, under "ends" and "other_ends"."""
    groups: list[tuple[Mapping[str, Any], ...]] = []
    for examples, rows in zip(lesson.groups, lesson.encoded, strict=True):
        others = teacher.encode(examples)
        groups.append(
            tuple(
                {
                    **row,
                    "other": other,
                    "ends": _ends(lesson.live, example.target, len(row["target"])),
                    "other_ends": _ends(teacher, example.target, len(other["target"])),
                }
                for example, row, other in zip(examples, rows, others, strict=True)
            )
        )
    return groups


def _ends(live: Any, target: str, count: int) -> list[int]:
    """Where each of the `count` tokens of a target ends; the end of the text has no width of its own."""
    if not live.tokenizer.is_fast:
        raise TrainingError(
            "comparing two tokenizers needs ones that say where their tokens stand in the text, and "
            f"{type(live.tokenizer).__name__} does not: take a teacher with the student's tokenizer"
        )
    # A decoder's target begins with the space that joins it to its source.
    lead = 1 if live.kind == "causal" else 0
    found = live.tokenizer(" " * lead + target, add_special_tokens=False, return_offsets_mapping=True)
    ends = [max(0, end - lead) for _, end in found["offset_mapping"]]
    return [*ends, *[len(target)] * (count - len(ends))][:count]


class Sorted:
    """(1 - cross_entropy) x ULD from the teacher + cross_entropy x the plain objective."""

    def __init__(self, teacher: LiveStudent, temperature: float, cross_entropy: float) -> None:
        self.teacher = teacher
        self.cross_entropy = cross_entropy
        self.uld = part("trl.experimental.gold.gold_trainer", "ULDLoss")(
            SimpleNamespace(
                uld_crossentropy_weight=0.0,
                uld_distillation_weight=1.0,
                uld_student_temperature=temperature,
                uld_teacher_temperature=temperature,
                uld_skip_student_eos=False,
                uld_skip_teacher_eos=False,
                use_extended_uld=True,
                uld_token_merge_strategy="bayesian",  # noqa: S106
            )
        )

    def __call__(self, model: Any, inputs: Mapping[str, Any], rows: Rows) -> torch.Tensor:
        labels = inputs["labels"]
        self.teacher.model.to(labels.device)
        others = self.teacher.collate([row["other"] for row in rows])
        others = {name: tensor.to(labels.device) for name, tensor in others.items()}
        student = logits_of(model, inputs)
        with torch.no_grad():
            teacher = logits_of(self.teacher.model, others)
        mine, theirs = _moved(labels), _moved(others["labels"])
        apart: torch.Tensor = self.uld(
            student.float(),
            teacher.float(),
            student_labels=mine,
            teacher_labels=theirs,
            student_input_ids=mine,
            teacher_input_ids=theirs,
            student_byte_offsets=_places(mine, [row["ends"] for row in rows]),
            teacher_byte_offsets=_places(theirs, [row["other_ends"] for row in rows]),
        )
        plain = objective(student, labels, inputs["token_weights"])
        return (1 - self.cross_entropy) * apart + self.cross_entropy * plain


def _moved(labels: torch.Tensor) -> torch.Tensor:
    """Labels one place to the right: for TRL a token stands one place after the logits that predict it."""
    return torch.nn.functional.pad(labels, (1, 0), value=-100)


def _places(labels: torch.Tensor, ends: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, positions, 2): begin and end of each target token. TRL reads the ends alone."""
    places = torch.zeros((*labels.shape, 2), dtype=torch.long, device=labels.device)
    for at, row in enumerate(ends):
        places[at, labels[at] != -100, 1] = torch.tensor(row, device=labels.device)
    return places
