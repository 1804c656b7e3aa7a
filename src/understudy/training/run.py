"""Train one student: text groups -> token-budget batches -> transformers.Trainer -> a saved folder.

The optimiser loop, schedules, checkpoints and mixed precision are the Trainer's. Ours are which examples
share a batch and the objective: a weighted sum over objectives of mean token cross-entropy, which is
plain fine-tuning with one objective and Distilling Step-by-Step with two. A method may bring a learner,
which trains otherwise on the same plan.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy import batches
from understudy.errors import TrainingError
from understudy.roles import Learner, Lesson, LiveStudent, Student, TrainSpec
from understudy.training.encode import Progress, encode, size
from understudy.types import Example


def train(
    student: Student,
    groups: Sequence[tuple[Example, ...]],
    spec: TrainSpec,
    *,
    learning_rate: float,
    seed: int,
    folder: Path,
    progress: Progress,
    start: Path | None = None,
    dev: Sequence[tuple[Example, ...]] = (),
    related: Sequence[tuple[Example, ...]] = (),
    order: batches.Order = "random",
    learner: Learner | None = None,
    teacher: Path | None = None,
) -> dict[str, Any]:
    """Train `student` on `groups` and save it under `folder/model`; continues from a checkpoint there.

    `start` is the folder of an already trained student to go on from; None starts as the spec says. The
    mean loss on `dev`, if there is any, is measured at the end and decides nothing here. The texts of
    `related`, the groups of the method's other stages, enter a from-scratch vocabulary: a stage that goes
    on from another's weights must find its own words there.

    `order` "easy_first" goes by the difficulty of each group's hardest example. A `learner` trains instead of
    the plain objective, on the same plan; `teacher` is the folder or hub id of a model that gives it logits.

    Returns learning_rate, steps, epochs, tokens (source + target, without padding), target_tokens, flops (of
    the student's own training passes), inference_flops (of one generated token), padding_efficiency,
    parameters, final_loss, dev_loss, examples, too_long (examples left out), seconds (of this call). Raises
    TrainingError where nothing can be trained so.
    """
    from understudy.students._flops import count
    from understudy.training import trainer

    started = time.monotonic()
    texts = [t for group in (*groups, *related) for e in group for t in (e.source, f" {e.target}")]
    live = student.load(start) if start else student.create(texts, seed)
    if learner is not None:
        _check(learner, live, teacher)
    encoded, kept = encode(live, groups, spec)
    flops = count(live.model)
    plan = batches.plan(
        [size(group, live.kind, flops) for group in encoded],
        spec.batch_tokens,
        spec.budget.unit,
        spec.budget.amount,
        seed,
        order=order,
        difficulty=[max(example.difficulty for example in group) for group in kept],
    )
    lesson = Lesson(live, kept, encoded, plan, spec, learning_rate, seed, folder, progress, teacher)
    if learner is None:
        loss = trainer.fit(live, encoded, plan, spec, learning_rate, seed, folder, progress)
    else:
        loss = learner.fit(lesson)
    dev_loss = trainer.mean_loss(live, encode(live, dev, spec)[0]) if dev else None
    live.save(folder / "model")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    examples = sum(map(len, encoded))
    return {
        "learning_rate": learning_rate,
        "steps": len(plan.batches),
        "epochs": plan.epochs,
        "tokens": plan.tokens,
        "target_tokens": sum(len(e["target"]) for batch in plan.batches for i in batch for e in encoded[i]),
        "flops": plan.flops,
        "inference_flops": flops.generated,
        "padding_efficiency": plan.tokens / plan.padded,
        "parameters": sum(p.numel() for p in live.model.parameters()),
        "final_loss": loss,
        "dev_loss": dev_loss,
        "examples": examples,
        "too_long": sum(map(len, groups)) - examples,
        "seconds": time.monotonic() - started,
    }


def _check(learner: Learner, live: LiveStudent, teacher: Path | None) -> None:
    if live.kind not in learner.ARCHITECTURES:
        raise TrainingError(
            f"the learner '{learner.name}' cannot train a {live.kind} student: take one of "
            f"{', '.join(learner.ARCHITECTURES)}"
        )
    if learner.NEEDS_TEACHER and teacher is None:
        raise TrainingError(
            f"the learner '{learner.name}' needs a teacher that gives logits: a `student` teacher, or a "
            "`transformers` one with a folder or hub id"
        )
