"""What a report is made from: every arm's judged rows, and what is known about how they came to be.

An arm is one method by one student by one seed on one split. A study is all arms of one task. Both are
plain and hold raw material only; every derived number is made in one place, `report.assemble`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.types import AnswerForm, Judged, Question, Rationale

Role = Literal["method", "control", "upper_bound", "teacher"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One method by one student by one seed on one split.

    Methods and controls of a split must have answered the same questions. An upper bound (such as a
    second stage that reads the teacher's rationale) and the teacher may have answered fewer.
    """

    method: str
    """A label that is unique within student, seed and split: "answer_only", "answer_only_2x"."""
    student: str
    """A label; for the teacher's own answers, the teacher's."""
    seed: int
    split: str
    rows: tuple[Judged, ...]
    role: Role = "method"
    note: str = ""
    """Plain words: "stage 2 reads the teacher's rationale: an upper bound"."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """What was spent. Shown where present: `learning_rate`, `steps`, `tokens` (source + target seen),
    `target_tokens`, `seconds`, `parameters`, `final_loss`, `budget_multiple` (1 is the equal budget)."""


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that one report tells, before any number is derived."""

    title: str
    task: str
    task_title: str
    form: AnswerForm
    arms: tuple[Arm, ...]
    """In the order in which the report shows them."""
    curation: Mapping[str, Any] = field(default_factory=dict)
    """{"annotated": int, "kept": int, "dropped": {reason: int}}, counted in rationales."""
    teacher: Mapping[str, Any] = field(default_factory=dict)
    """{"name", "model", "accuracy", "n", "correct", "interval", "on", "shown_answer", ...}; `on` says
    what was measured: "annotation", or the name of a split."""
    rationales: Mapping[str, tuple[Rationale, ...]] = field(default_factory=dict)
    """A few kept teacher rationales to show, by question id."""
    questions: tuple[Question, ...] = ()
    """The questions of those rationales where no arm answered them (as a rule: training questions)."""
    students: Mapping[str, str] = field(default_factory=dict)
    """What each student was before training, by label, in plain words."""
    audit: tuple[Mapping[str, Any], ...] = ()
    """{"name", "title", "sentences", "columns", "rows", "numbers"} for each part: `audit.section`."""
    spending: tuple[Mapping[str, Any], ...] = ()
    """Of each step that asked a teacher: {"step", "model", "split", "bought", "prompt_tokens",
    "completion_tokens", "usd"}; `usd` is null where the price is not known."""
    notes: tuple[str, ...] = ()
    """Plain sentences a reader must know: questions dropped, limits set, small n."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Versions, seeds, hashes of steps, seconds per step, platform, tokens."""
