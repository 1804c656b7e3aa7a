"""student: a student of this project as the teacher, trained by the run itself or by an earlier one.

With `split` it is trained first, from the gold rationales of that split, which takes no part in anything
else; with `path` it is a folder that `understudy run` saved. It reads the bare question, as single_stage
students do, so the recipe's prompt must be `style: bare`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from understudy.errors import TeacherError
from understudy.roles import Apprenticeship, Completer, Identity, Teacher

__all__ = ["StudentTeacher"]


class StudentTeacher(Teacher):
    """Give either `path` (a trained model's folder) or `split` with `train`."""

    name: Literal["student"] = "student"
    student: dict[str, Any]
    """The student's own entry, such as {name: causal, config: demo-teacher}."""
    path: str | None = None
    split: str | None = None
    train: dict[str, Any] = Field(default_factory=dict)
    """Keys of the recipe's `train` section, for the teacher alone."""
    batch_tokens: int = Field(16384, gt=0)

    @model_validator(mode="after")
    def _one_origin(self) -> StudentTeacher:
        if (self.path is None) == (self.split is None):
            raise ValueError(
                "give either path (a trained model) or split (to train one), not both and not neither"
            )
        return self

    def apprenticeship(self) -> Apprenticeship | None:
        if self.split is None:
            return None
        return Apprenticeship(self.split, self.student, {"name": "single_stage"}, self.train)

    def files(self) -> tuple[Path, ...]:
        """The files of the trained model. Raises TeacherError when its folder is not there."""
        if self.path is None:
            return ()
        folder = Path(self.path)
        if not folder.is_dir():
            raise TeacherError(f"the teacher's trained model is not at {folder}: correct teacher.path")
        return tuple(sorted(path for path in folder.iterdir() if path.is_file()))

    def identity(self) -> Identity:
        return Identity("local", f"student:{self.student.get('config') or self.student.get('checkpoint')}")

    def build(self, model: Path | None) -> Completer:
        from understudy import shelves
        from understudy.students._completer import StudentCompleter

        folder = model or (Path(self.path) if self.path else None)
        if folder is None or not folder.is_dir():
            raise TeacherError(
                f"the teacher's trained model is not at {folder}: give teacher.path or run again"
            )
        settings = dict(self.student)
        spec = shelves.load("students", settings.pop("name"))(**settings)
        return StudentCompleter(spec.load(folder), self.identity(), self.batch_tokens)
