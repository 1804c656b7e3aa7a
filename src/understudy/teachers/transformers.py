"""A model on this machine as the teacher: a Hugging Face folder or Hub id, decoder or encoder-decoder.

The chat template is used where the tokenizer has one; else the prompt is continued as plain text. The
catch: a Hub id without a revision means "whatever is there today"; pin one, or the ledger may answer
with what yesterday's weights said.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from understudy.roles import Apprenticeship, Completer, Identity, Teacher

__all__ = ["Transformers"]


class Transformers(Teacher):
    """Batched generation with `transformers`. Code that comes with a checkpoint is never run."""

    name: Literal["transformers"] = "transformers"
    model: str = Field(min_length=1)
    """A folder, or an id on the Hugging Face Hub."""
    revision: str = ""
    """Branch, tag or commit on the Hub."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """"auto" is the checkpoint's own on a GPU, float32 on a CPU."""
    device: str = "auto"
    """"auto" takes a CUDA GPU, else Apple's, else the CPU."""
    batch_tokens: int = Field(16384, gt=0)
    """Prompt and answer tokens of a batch, padding included: lower it when memory runs out."""

    def apprenticeship(self) -> Apprenticeship | None:
        return None

    def files(self) -> tuple[Path, ...]:
        """The files of the folder; none for a Hub id."""
        folder = Path(self.model).expanduser()
        if not folder.is_dir():
            return ()
        return tuple(sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")))

    def identity(self) -> Identity:
        """A folder is known by its name and the hash of its files, a Hub id by its revision."""
        files = self.files()
        if not files:
            return Identity("transformers", self.model, self.revision)
        stamps = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        return Identity("transformers", Path(self.model).resolve().name, _content(stamps))

    def build(self, model: Path | None) -> Completer:
        """Raises TeacherError when the model cannot be loaded."""
        del model
        from understudy.teachers._local import Local

        return Local(self.identity(), self.model, self.revision, self.dtype, self.device, self.batch_tokens)


@cache
def _content(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash of names and bytes; size and time are there to hash large files only once."""
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        with path.open("rb") as file:
            digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
