"""Where a step works, and the specs that its settings name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import shelves
from understudy.data import Prepared, load_prepared
from understudy.records import load_completions
from understudy.roles import Method, Student, Teacher
from understudy.store import MARK
from understudy.training import Progress
from understudy.types import Completion

ANNOTATE = "annotate"
"""The role of the step that asked the teacher; of several, followed by their labels."""


@dataclass(frozen=True, slots=True)
class Work:
    """Where a step works: its own folder, those of the steps it needs by role, and the run's ledger."""

    folder: Path
    needs: Mapping[str, Path]
    ledger: Path
    how: Mapping[str, Any]
    """What the step was told beside its settings: see `Step.how`."""
    progress: Progress

    def prepared(self) -> Prepared:
        return load_prepared(self.needs["data"])

    def annotated(self) -> dict[str, list[Completion]]:
        """What each teacher wrote, by its label, which is empty where there is only one."""
        roles = [role for role in self.needs if role.split()[0] == ANNOTATE]
        return {
            role.removeprefix(ANNOTATE).strip(): load_completions(self.needs[role]) for role in sorted(roles)
        }


def result_of(folder: Path) -> dict[str, Any]:
    """What a finished step reported."""
    result: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))["result"]
    return result


def _build(shelf: str, settings: Mapping[str, Any]) -> Any:
    return shelves.load(shelf, str(settings["name"]))(**settings)


def teacher_of(settings: Mapping[str, Any]) -> Teacher:
    teacher: Teacher = _build("teachers", settings)
    return teacher


def method_of(settings: Mapping[str, Any]) -> Method:
    method: Method = _build("methods", settings)
    return method


def student_of(settings: Mapping[str, Any]) -> Student:
    student: Student = _build("students", settings)
    return student
