"""ARC-Challenge: the harder grade-school science questions. https://allenai.org/data/arc, CC BY-SA 4.0.

    {"id": "..", "question": {"stem": "..", "choices": [{"text": "..", "label": "A"}, ..]}, "answerKey": "C"}

The catch: some questions are labelled 1 to 4, and some have 3 or 5 options; labels become A, B, ... by
position. Some copies of the test set lack 2 of the 1,172 questions (GenMC's does), so AI2's own file is
looked for first.
"""

from __future__ import annotations

from understudy.roles import Hub, Task
from understudy.tasks._exemplars import SCIENCE
from understudy.tasks._original import Original, multiple_choice

__all__ = ["arc_challenge"]


def _names(split: str) -> tuple[str, ...]:
    """AI2's own file first, then the layout of the GenMC repository, from either folder."""
    names = (f"ARC-Challenge-{split.title()}.jsonl", f"official/{split}.jsonl", f"{split}.jsonl")
    return tuple(f"{folder}{name}" for folder in ("", "arc_challenge/", "ARC-Challenge/") for name in names)


_original = Original(
    name="arc_challenge",
    files={split: _names(split) for split in ("train", "dev", "test")},
    parse=multiple_choice,
    hub=Hub("allenai/ai2_arc", "210d026faf9955653af8916fad021475a3f00453", "ARC-Challenge"),
    hub_splits={"train": "train", "dev": "validation", "test": "test"},
)

arc_challenge = Task(
    name="arc_challenge",
    title="ARC-Challenge",
    form="choice",
    splits=tuple(_original.files),
    load=_original.load,
    exemplars=SCIENCE,
    licence="CC BY-SA 4.0",
    homepage="https://allenai.org/data/arc",
    hub=_original.hub,
    counts={"train": 1119, "dev": 299, "test": 1172},
    files=_original.paths,
)
