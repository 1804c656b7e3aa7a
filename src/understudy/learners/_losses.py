"""Losses for the plain trainer: each is called with the model, its inputs and the rows of the batch.

`inputs` are what `LiveStudent.collate` made, with `labels` (rows, positions) aligned with the logits that
predict them, -100 off target. Imports torch: reached only from a learner's `fit`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from understudy.roles import LiveStudent
from understudy.training.objective import objective

Rows = Sequence[Mapping[str, Any]]


def logits_of(model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
    """Logits (rows, positions, vocabulary)."""
    given = {name: value for name, value in inputs.items() if name not in ("labels", "token_weights")}
    logits: torch.Tensor = model(**given, use_cache=False).logits
    return logits


def sequence_logprobs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each row's target: the sum over its tokens, in fp32. Shape (rows,)."""
    target = labels != -100
    chosen = torch.log_softmax(logits.float(), -1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (chosen * target).sum(-1)


class Preferred:
    """-log sigmoid(beta x margin), where the margin is how much more the chosen target has gained on the
    reference than the rejected one, plus `likelihood` x the chosen targets' mean token cross-entropy."""

    def __init__(self, reference: Any, beta: float, likelihood: float) -> None:
        self.reference = reference
        self.beta = beta
        self.likelihood = likelihood

    def __call__(self, model: Any, inputs: Mapping[str, Any], rows: Rows) -> torch.Tensor:
        labels = inputs["labels"]
        self.reference.to(labels.device)
        now = sequence_logprobs(logits_of(model, inputs), labels)
        with torch.no_grad():
            before = sequence_logprobs(logits_of(self.reference, inputs), labels)
        gained = now - before
        chosen = [at for at, row in enumerate(rows) if row["objective"] == "chosen"]
        rejected = [at for at, row in enumerate(rows) if row["objective"] == "rejected"]
        margin = gained[chosen] - gained[rejected]
        loss: torch.Tensor = -torch.nn.functional.logsigmoid(self.beta * margin).mean()
        if not self.likelihood:
            return loss
        loss -= self.likelihood * now[chosen].sum() / (labels[chosen] != -100).sum()
        return loss


class Distilled:
    """(1 - cross_entropy) x divergence from the teacher + cross_entropy x the plain objective.

    The divergence is at `temperature`, scaled by its square, so that its gradients keep their size (Hinton
    et al., arXiv 1503.02531).
    """

    def __init__(
        self, teacher: LiveStudent, divergence: Callable[..., Any], temperature: float, cross_entropy: float
    ) -> None:
        self.teacher = teacher
        self.divergence = divergence
        self.temperature = temperature
        self.cross_entropy = cross_entropy

    def __call__(self, model: Any, inputs: Mapping[str, Any], rows: Rows) -> torch.Tensor:
        del rows
        labels = inputs["labels"]
        self.teacher.model.to(labels.device)
        student = logits_of(model, inputs)
        with torch.no_grad():
            teacher = logits_of(self.teacher.model, inputs)
        apart: torch.Tensor = self.divergence(
            student.float(), teacher.float(), labels=labels, beta=0, temperature=self.temperature
        )
        plain = objective(student, labels, inputs["token_weights"])
        return (1 - self.cross_entropy) * self.temperature**2 * apart + self.cross_entropy * plain


class OnPolicy:
    """The divergence from the teacher on what the student itself writes, for a share of the batches; on the
    batch's own targets for the others."""

    def __init__(
        self,
        live: LiveStudent,
        teacher: LiveStudent,
        divergence: Callable[..., Any],
        *,
        share: float,
        beta: float,
        temperature: float,
        max_new_tokens: int,
    ) -> None:
        self.live = live
        self.teacher = teacher
        self.divergence = divergence
        self.share = share
        self.beta = beta
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens

    def __call__(self, model: Any, inputs: Mapping[str, Any], rows: Rows) -> torch.Tensor:
        device = inputs["labels"].device
        self.teacher.model.to(device)
        # As TRL's trainer draws it: from Python's own generator, which checkpoints carry.
        if random.random() <= self.share:  # noqa: S311
            inputs = self._written(rows, device)
        student = logits_of(model, inputs)
        with torch.no_grad():
            teacher = logits_of(self.teacher.model, inputs)
        loss: torch.Tensor = self.divergence(student, teacher, labels=inputs["labels"], beta=self.beta)
        return loss

    def _written(self, rows: Rows, device: torch.device) -> dict[str, torch.Tensor]:
        """Model inputs whose targets the student has drawn for the rows' sources."""
        from understudy.students._live import generation_settings, inference, pad

        live: Any = self.live
        sources = [row["source"] for row in rows]
        with inference(live.model):
            out = live.model.generate(
                input_ids=pad(sources, live.pad).to(device),
                attention_mask=pad([[1] * len(source) for source in sources], 0).to(device),
                **generation_settings(self.temperature, 1.0, self.max_new_tokens),
            )
        # The first position holds the decoder's start token.
        drawn = [self._ended(row) for row in out[:, 1:].tolist()]
        fresh = [{**row, "target": target} for row, target in zip(rows, drawn, strict=True)]
        return {name: tensor.to(device) for name, tensor in live.collate(fresh).items()}

    def _ended(self, drawn: Sequence[int]) -> list[int]:
        """Up to and with the end of the text."""
        ends: set[int] = self.live.ends  # type: ignore[attr-defined]
        end = next((at for at, token in enumerate(drawn) if token in ends), len(drawn))
        return list(drawn[: end + 1])
