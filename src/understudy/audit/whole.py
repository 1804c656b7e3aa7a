"""Every audit of a question set and its rationales, in the order in which they are read.

A run does this as one of its steps, for which nothing else waits; `understudy audit` does it for a run
or for a file. An audit drops nothing: `curate` and `data` do, by what they are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy import shelves
from understudy.asking import bought, ledger_of, metered, price_of_teacher, run_name
from understudy.audit.bias import bias
from understudy.audit.contamination import contamination
from understudy.audit.gold import export, gold, suspects
from understudy.audit.leak import leak
from understudy.audit.material import Material, gather
from understudy.audit.quality import quality
from understudy.audit.reader import ReadBack, read_back
from understudy.audit.section import Section, save_sections
from understudy.ledger import Ledger
from understudy.records import load_rationales
from understudy.roles import Source
from understudy.rows import NoSplitError
from understudy.types import Completion, Question
from understudy.work import Work, teacher_of

SUSPECTS = "suspects.csv"


def sections(
    material: Material,
    against: Mapping[str, Sequence[Question]],
    read: ReadBack | None = None,
) -> list[Section]:
    """What there is to say of `material`; `against` are other question sets by name."""
    return [
        quality(material),
        leak(material, read),
        bias(material),
        gold(material),
        contamination(material, against),
    ]


def audit_run(settings: Mapping[str, Any], work: Work) -> dict[str, Any]:
    """The step of a run: its sections, and the suspicious golds as a table for a person to read."""
    prepared = work.prepared()
    material = gather(
        prepared.splits,
        settings["split"],
        _in_order(work.annotated(), prepared.splits[settings["split"]]),
        load_rationales(work.needs["curate"]),
        prepared.form,
        settings["shown_answer"],
    )
    against = {name: questions for entry in settings["against"] for name, questions in _others(entry)}
    found = sections(material, against, _read(settings, material, work))
    save_sections(work.folder, found)
    doubted = suspects(material)
    export(doubted, work.folder / SUSPECTS)
    return {
        "sections": [section.name for section in found],
        "suspects": len(doubted),
        **({"bought": bought(work)} if settings["reader"] else {}),
    }


def _in_order(
    annotated: Mapping[str, Sequence[Completion]], questions: Sequence[Question]
) -> list[Completion]:
    """What all teachers wrote, in the order of the questions and then of the samples."""
    place = {question.id: number for number, question in enumerate(questions)}
    written = [said for completions in annotated.values() for said in completions]
    return sorted(written, key=lambda said: (place[said.question_id], said.sample))


def _read(settings: Mapping[str, Any], material: Material, work: Work) -> ReadBack | None:
    """What the reader makes of the rationales, if there is a reader."""
    if settings["reader"] is None:
        return None
    reader = teacher_of(work.how["reader"])
    price, path = price_of_teacher(reader, work.how), ledger_of(work.how, work.ledger)
    completer = reader.build(None)
    try:
        asked = metered(completer, work.how, path, price)
        with Ledger(path, run=run_name(work.how, work.folder), price=price.of if price else None) as ledger:
            return read_back(material, asked, ledger, settings["read"])
    finally:
        completer.close()


def _others(entry: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Question]]]:
    """Every split of another task that its source has."""
    task = shelves.load("tasks", entry["task"])
    for split in task.splits:
        try:
            yield f"{task.name} {split}", task.load(split, Source(**entry["source"]))
        except NoSplitError:
            continue
