"""The contracts: Task, Teacher, Completer, Method, Learner, Student, Metric.

Abstract here, final on the shelves: a shelf module holds one concrete thing and nothing subclasses it.
Teachers, methods and students are *specs*: frozen pydantic models whose fields are the recipe's keys
and whose `build` or `load` makes the live thing, so a recipe is validated without importing torch.
"""

from __future__ import annotations

from understudy.roles.learners import Learner, Lesson
from understudy.roles.methods import Method, Stage
from understudy.roles.metrics import Metric
from understudy.roles.probes import Changed, Material, Probe, Skipped
from understudy.roles.spec import Spec
from understudy.roles.students import Generated, LiveStudent, Student
from understudy.roles.tasks import Hub, Source, Task
from understudy.roles.teachers import Apprenticeship, Completer, Identity, Landed, Teacher
from understudy.roles.training import Budget, ClusterSpec, Lora, StoppingSpec, TrainSpec

__all__ = [
    "Apprenticeship",
    "Budget",
    "Changed",
    "ClusterSpec",
    "Completer",
    "Generated",
    "Hub",
    "Identity",
    "Landed",
    "Learner",
    "Lesson",
    "LiveStudent",
    "Lora",
    "Material",
    "Method",
    "Metric",
    "Probe",
    "Skipped",
    "Source",
    "Spec",
    "Stage",
    "StoppingSpec",
    "Student",
    "Task",
    "Teacher",
    "TrainSpec",
]
