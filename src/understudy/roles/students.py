"""The contracts of a student, and of the live one that it makes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from understudy.roles.spec import Spec
from understudy.types import Example, FinishReason, Sampling

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Generated:
    """Text that a student wrote. `source_tokens` counts what it read, a prefix included; `tokens` what it
    generated, end of text included."""

    text: str
    finish_reason: FinishReason
    source_tokens: int
    tokens: int
    logprob: float | None = None
    """Sum of the natural log-probabilities of the generated tokens, end of text included, up to the stop
    string: the model's own, at temperature 1 and over its whole vocabulary, however they were drawn."""
    ids: tuple[int, ...] = field(default=(), compare=False, repr=False)
    """The generated tokens that `tokens` counts, for whoever compares two ways of writing."""


class LiveStudent(Protocol):
    """A model and its tokenizer in memory. Token ids are Python lists until `collate`."""

    model: torch.nn.Module
    kind: str

    def encode(self, examples: Sequence[Example]) -> list[Mapping[str, Any]]:
        """Of each: `source` and `target` token ids (end of text included), `objective`, `weight`, `cut` (the
        target token where the answer part begins, 0 for none) and `silent` (no loss before `cut`)."""
        ...

    def collate(self, encoded: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Model inputs plus `labels` (rows, positions), aligned with the logits that predict them and
        -100 wherever there is no target token."""
        ...

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each source has, to batch sources of like length."""
        ...

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        """Answer every source; same order and length as `sources`. `prefixes` are texts that the answers
        begin with: they are read, not generated, and not part of what is returned."""
        ...

    def save(self, folder: Path) -> None: ...

    def close(self) -> None:
        """End what it holds open. A model in memory holds nothing."""
        ...


class Student(Spec):
    """Spec of a student: from a checkpoint (hub id or folder), or from scratch."""

    name: str

    @abstractmethod
    def describe(self) -> str:
        """One plain phrase for the report: what it was before training."""

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Local files of the checkpoint, to be hashed into the training step."""

    @abstractmethod
    def create(self, texts: Sequence[str], seed: int) -> LiveStudent:
        """The untrained student. `texts` are all training sources and targets: a from-scratch
        student trains its tokenizer on them; a checkpoint ignores them."""

    @abstractmethod
    def load(self, folder: Path) -> LiveStudent:
        """The student that `LiveStudent.save` wrote."""
