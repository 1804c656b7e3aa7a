"""The recipe's keys that every student shares: where its weights and its tokenizer come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path

from pydantic import Field, model_validator

from understudy.roles import Student


class Origin(Student):
    """Give either `checkpoint` (a hub id or folder) or `config` (a named small shape, random weights)."""

    checkpoint: str | None = None
    revision: str | None = None
    """Commit of the hub's checkpoint."""
    config: str | None = None
    tokenizer: str = "word"
    """Of a from-scratch student: "word", "char" or "bpe", trained on the training text, or the folder or
    hub id of a trained one."""
    vocabulary: int = Field(8192, gt=16)
    """Largest vocabulary of a tokenizer that is trained here."""

    @model_validator(mode="after")
    def _one_origin(self) -> Origin:
        if (self.checkpoint is None) == (self.config is None):
            raise ValueError("give either checkpoint or config, not both and not neither")
        if self.config is not None and self.config not in self.shapes():
            raise ValueError(f"config '{self.config}' is not one of {', '.join(self.shapes())}")
        return self

    @classmethod
    @abstractmethod
    def shapes(cls) -> Collection[str]:
        """The names that `config` may take."""

    def describe(self) -> str:
        if self.checkpoint is not None:
            return f"{self.name}: fine-tuned from the checkpoint {self.checkpoint}"
        shape = f"random weights of shape '{self.config}', {self.tokenizer} tokens"
        return f"{self.name}: trained from scratch, {shape}"

    def files(self) -> tuple[Path, ...]:
        """The files of a local checkpoint or tokenizer folder; a hub id is identified by its revision."""
        folders = [Path(name) for name in (self.checkpoint, self.tokenizer) if name is not None]
        return tuple(
            path
            for folder in folders
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if path.is_file()
        )
