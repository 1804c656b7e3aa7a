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
from typing import TYPE_CHECKING, Any

from understudy import batches
from understudy.errors import TrainingError
from understudy.roles import Learner, Lesson, LiveStudent, Student, TrainSpec
from understudy.training.encode import Progress, Texts, check_ids, encode
from understudy.types import Example

if TYPE_CHECKING:
    from understudy.training.accuracy import DevAccuracy
    from understudy.training.journal import Journal
    from understudy.training.measuring import Measure


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
    accuracy: DevAccuracy | None = None,
    name: str = "",
    trackers: Path | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Train `student` on `groups` and save it under `folder/model`; continues from a checkpoint there.

    `start` is the folder of an already trained student to go on from; None starts as the spec says. The
    mean loss on `dev`, if there is any, is measured at the end and decides nothing here, unless
    `spec.stopping` asks for it; then it, or `accuracy`, decides when to end and which weights are saved. The
    texts of `related`, the groups of the method's other stages, enter a from-scratch vocabulary: a stage that
    goes on from another's weights must find its own words there.

    `order` "easy_first" goes by the difficulty of each group's hardest example. A `learner` trains instead of
    the plain objective, on the same plan; `teacher` is the folder or hub id of a model that gives it logits.

    The token ids of many examples are kept in the folder `cache`, for later trainings on the same ones.

    `name` is what trackers call the training; those that write files do so in `trackers`.

    Returns learning_rate, steps, epochs, tokens (source + target, without padding), target_tokens, flops (of
    the student's own training passes), inference_flops (of one generated token), padding_efficiency,
    parameters, final_loss, dev_loss, examples, too_long (examples left out), processes (that shared it),
    seconds (of this call), notes (sentences about what befell it) and stopping (`Stopper.told`, or None).
    Raises TrainingError where nothing can be trained so.
    """
    from understudy.students._flops import count
    from understudy.training import adapters, packing, trainer
    from understudy.training.stopping import shortened

    adapters.check(spec)
    started = time.monotonic()
    live = student.load(start) if start else student.create(Texts(groups, related), seed)
    if learner is not None:
        _check(learner, live, teacher, spec)
    encoded, kept = encode(live, groups, spec, cache)
    flops = count(live.model)
    check_ids(live, encoded)
    sizes = encoded.sizes(live.kind, flops)
    plan = batches.plan(
        sizes,
        spec.batch_tokens,
        spec.budget.unit,
        spec.budget.amount,
        seed,
        order=order,
        difficulty=[max(e.difficulty for e in group) for group in kept] if order == "easy_first" else (),
        cutting=packing.packer(live, encoded, spec, seed) if spec.packing else None,
    )
    measure = _measure(live, spec, dev, accuracy, learner)
    journal = _journal(measure, spec, plan, sizes, folder)
    journal.name, journal.trackers = name, trackers
    lesson = Lesson(live, kept, encoded, plan, spec, learning_rate, seed, folder, progress, teacher, journal)
    if learner is None:
        loss, processes = _plain(student, lesson)
    else:
        loss, processes = learner.fit(lesson), 1
    dev_loss = trainer.mean_loss(live, encode(live, dev, spec)[0]) if dev else None
    live.save(folder / "model")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    stopper = journal.stopper
    if stopper is not None:
        plan = shortened(plan, sizes, stopper.steps_done)
    examples, target_tokens = encoded.rows, encoded.target_tokens()
    return {
        "learning_rate": learning_rate,
        "steps": len(plan.batches),
        "epochs": plan.epochs,
        "tokens": plan.tokens,
        "target_tokens": sum(target_tokens[i] for batch in plan.batches for i in batch),
        "flops": plan.flops,
        "inference_flops": flops.generated,
        "padding_efficiency": plan.tokens / plan.padded,
        "parameters": sum(p.numel() for p in live.model.parameters()),
        "final_loss": loss,
        "dev_loss": dev_loss,
        "examples": examples,
        "too_long": sum(map(len, groups)) - examples,
        "processes": processes,
        "notes": journal.notes,
        "stopping": stopper.told() if stopper else None,
        "seconds": time.monotonic() - started,
    }


def _plain(student: Student, lesson: Lesson) -> tuple[float, int]:
    """Train on the plain objective where the spec says: the loss, and how many processes shared it."""
    from understudy.training import distributed, trainer
    from understudy.training.devices import processes

    spec = lesson.spec
    if spec.ray is not None:
        from understudy.engines import ray_training

        return ray_training.fit(student, lesson, spec.ray)
    # DeepSpeed wants a process that torchrun has started, even one alone.
    if (many := processes(spec)) > 1 or spec.deepspeed is not None:
        return distributed.fit(student, lesson, many)
    rate, seed, folder, progress = lesson.learning_rate, lesson.seed, lesson.folder, lesson.progress
    loss = trainer.fit(
        lesson.live,
        lesson.encoded,
        lesson.plan,
        spec,
        rate,
        seed,
        folder,
        progress,
        journal=lesson.journal,
    )
    return loss, 1


def _journal(
    measure: Measure | None,
    spec: TrainSpec,
    plan: batches.Plan,
    sizes: batches.Sizes,
    folder: Path,
) -> Journal:
    from understudy.training.journal import Journal
    from understudy.training.stopping import Stopper

    if spec.stopping is None or measure is None:
        return Journal()
    tokens, _ = sizes.spent(plan.batches)
    return Journal(Stopper(spec.stopping, spec.average, measure, tokens, folder / "checkpoints"))


def _measure(
    live: LiveStudent,
    spec: TrainSpec,
    dev: Sequence[tuple[Example, ...]],
    accuracy: DevAccuracy | None,
    learner: Learner | None,
) -> Measure | None:
    """What decides when the training ends; None where nothing does."""
    from understudy.training.measuring import DevLoss, Measure, check

    if spec.stopping is None:
        return None
    check(spec)
    if spec.stopping.metric == "dev_accuracy":
        if accuracy is None:
            raise TrainingError("there are no dev questions to answer: set train.stopping.metric to dev_loss")
        return Measure(live, accuracy)
    if learner is not None:
        raise TrainingError(
            f"the learner '{learner.name}' has a loss of its own, which dev's examples do not measure: set "
            "train.stopping.metric to dev_accuracy"
        )
    if not dev:
        raise TrainingError("there are no dev examples: set train.stopping.metric to dev_accuracy")
    return Measure(live, DevLoss(encode(live, dev, spec)[0]))


def _check(learner: Learner, live: LiveStudent, teacher: Path | None, spec: TrainSpec) -> None:
    if spec.packing:
        raise TrainingError(
            f"the learner '{learner.name}' wants a row for each example: set train.packing to false"
        )
    if spec.deepspeed is not None:
        raise TrainingError(f"the learner '{learner.name}' does not go with train.deepspeed: remove it")
    if spec.devices != 1 or spec.ray is not None:
        raise TrainingError(
            f"the learner '{learner.name}' trains in one process: set train.devices to 1 and remove train.ray"
        )
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
