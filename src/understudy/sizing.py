"""What training a recipe's students would take of memory, for `understudy plan`.

A checkpoint's config is enough, and it is not fetched for this: where it is not on this machine, its memory
is unknown. The catch: the batch is the fullest that the limits allow, which is more than most data fills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from understudy.errors import TrainingError

if TYPE_CHECKING:
    from understudy.recipe import Recipe
    from understudy.roles import Student

_GB = 1e9


def lines(recipe: Recipe) -> Iterator[str]:
    """One for each student that starts from a checkpoint. The shapes of students from scratch are small, and
    a plan of them needs no torch."""
    entries = [entry for entry in recipe.students if entry.student.model_dump().get("checkpoint")]
    if not entries:
        return
    if find_spec("torch") is None or find_spec("transformers") is None:
        yield "Memory for training is not estimated without pip install 'understudy[train]'."
        return
    beside = any(
        entry.method.learner(stage.name) for entry in recipe.methods for stage in entry.method.stages()
    )
    for entry in entries:
        try:
            yield f"Memory for training {entry.label}: {_said(recipe, entry.student)}"
        except TrainingError as error:
            yield f"Memory for training {entry.label}: unknown: {error}"
    if beside:
        yield "Not in it: the teachers and references that some of these methods hold beside the student."


def _said(recipe: Recipe, student: Student) -> str:
    from understudy.training.memory import estimate, largest

    make, kind = skeleton(student)
    batch = largest(recipe.train)
    found = estimate(make, kind, recipe.train, batch)
    parts = ("weights", "gradients", "optimizer", "activations", "logits")
    shares = ", ".join(f"{name} {getattr(found, name) / _GB:.2f}" for name in parts)
    rows = f"{batch.rows} row{'s' * (batch.rows != 1)} of {batch.source:,} + {batch.target:,} tokens"
    return (
        f"{found.total / _GB:.2f} GB at the fullest moment ({shares}), for {rows}; "
        f"{found.trained:,} of {found.parameters:,} parameters are trained."
    )


def skeleton(student: Student) -> tuple[Callable[[], Any], str]:
    """What makes the checkpoint's model without its weights, and its architecture. Raises TrainingError where
    the config is not on this machine."""
    import torch
    import transformers

    settings = student.model_dump()
    checkpoint, kind = settings["checkpoint"], student.name
    try:
        config = transformers.AutoConfig.from_pretrained(
            checkpoint, revision=settings["revision"], local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise TrainingError(f"the config of {checkpoint} is not on this machine") from error
    family = transformers.AutoModelForSeq2SeqLM if kind == "seq2seq" else transformers.AutoModelForCausalLM
    # As students are loaded: weights are in fp32, whatever they were saved in.
    return lambda: family.from_config(config, dtype=torch.float32), kind
