"""TRL's trainers on our terms: our batches in our order, our settings, our checkpoints, and nothing is sent.

A TRL trainer would tokenize, shuffle and cut by itself. Here it gets the token ids that the student's own
`encode` made, in the batches of the plan, so that a learner differs from plain training in its loss alone.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader
from transformers.trainer_callback import PrinterCallback

from understudy.errors import TrainingError
from understudy.roles import Lesson
from understudy.training.arguments import arguments, optimizer
from understudy.training.collate import Groups, Planned
from understudy.training.exact import Exact, follow, sample
from understudy.training.watching import Watch

Collate = Callable[[Sequence[tuple[Mapping[str, Any], ...]]], dict[str, Any]]


def part(module: str, name: str) -> Any:
    """The thing called `name` in a module of TRL. Raises TrainingError where TRL is not installed."""
    try:
        with warnings.catch_warnings():
            # What TRL calls experimental says so at each import; the version is pinned for that reason.
            warnings.simplefilter("ignore")
            return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise TrainingError(
            f"this way of training stands on TRL, which cannot be imported ({error}): "
            "pip install 'understudy[trl]'"
        ) from error


def divergence() -> Callable[..., Any]:
    """The generalized Jensen-Shannon divergence of GKD (arXiv 2306.13649).

    Of `student_logits` and `teacher_logits` (rows, positions, vocabulary), the mean over the positions where
    `labels` (rows, positions) are not -100. `beta` 0 is the forward KL divergence, 1 the reverse one."""
    loss: Callable[..., Any] = part("trl.experimental.gkd", "GKDTrainer").generalized_jsd_loss
    return loss


def fit(lesson: Lesson, kind: Any, config: Any, collate: Collate, **settings: Any) -> float:
    """Train `lesson.live` with the TRL trainer `kind` along the plan; returns as `trainer.fit` does.

    `config` makes the trainer's settings out of those of a plain training, which it gets as keywords;
    `collate` makes what the trainer computes its loss from out of the groups of a batch.
    """
    if lesson.spec.lora is not None:
        raise TrainingError("train.lora does not go with training by TRL: remove it, or take another method")
    if lesson.spec.compile or lesson.spec.liger:
        raise TrainingError("train.compile and train.liger do not go with training by TRL: set both to false")
    datasets = importlib.import_module("datasets")
    args = arguments(lesson.spec, lesson.plan, lesson.learning_rate, lesson.seed, lesson.folder)
    plain = args.to_dict()
    model: Any = lesson.live.model
    before = vars(model).get("forward")
    hints = logging.getLogger("trl")
    level = hints.level
    try:
        # They advise on TRL's own settings, which nobody here has chosen.
        hints.setLevel(logging.ERROR)
        watch = Watch(lesson.progress)
        running = _ours(kind)(
            model=model,
            args=config(**plain),
            data_collator=collate,
            # TRL wants one to look at; what is trained on comes from the plan.
            train_dataset=datasets.Dataset.from_dict({"group": list(range(len(lesson.encoded)))}),
            processing_class=lesson.live.tokenizer,  # type: ignore[attr-defined]
            callbacks=[watch],
            **settings,
        )
        running.lesson = lesson
        running.optimizer_cls_and_kwargs = optimizer(lesson.spec, lesson.learning_rate)
        # Its losses are means over the batch at hand, which may be one that the student has just written.
        running.model_accepts_loss_kwargs = False
        running.remove_callback(PrinterCallback)
        with warnings.catch_warnings():
            # TRL asks transformers by a name that is going away.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            first = sample([row for i in lesson.plan.batches[0] for row in lesson.encoded[i]])
            rate, seed = lesson.learning_rate, lesson.seed
            of = {"rate": rate, "seed": seed, "loss": kind.__qualname__, "first": first}
            return follow(running, lesson.journal, lesson.spec, lesson.plan, watch, of)
    finally:
        hints.setLevel(level)
        # TRL hangs a forward of its own on the model.
        vars(model).pop("forward", None)
        if before is not None:
            model.forward = before


def _ours(kind: Any) -> Any:
    """The trainer class `kind`, fed by the plan, and silent."""

    class Ours(Exact, kind):  # type: ignore[misc]
        lesson: Lesson

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def get_train_dataloader(self) -> Any:
            loader: DataLoader[Any] = DataLoader(
                Groups(self.lesson.encoded),
                batch_sampler=Planned(self.lesson.plan),
                collate_fn=self.data_collator,
                pin_memory=self.args.dataloader_pin_memory,
            )
            return self.accelerator.prepare(loader)

        def _send_telemetry(self) -> None:
            """Nothing is sent."""

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """Its checkpoints do not outlive the training."""

    return Ours
