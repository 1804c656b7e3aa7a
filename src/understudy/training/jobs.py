"""One training as a folder, for the processes that share it: written here, worked on there, collected here.

    job/start/        the student as it is before the training
    job/tokens/       its examples as token ids, which every process maps into its memory: one copy for all
    job/plan.json     the batches; job/job.json: everything else
    job/stopping.json, job/dev/: what is measured on dev, where that may end the training
    job/trained/      what came out of it; job/result.json, written last

Checkpoints lie beside it, so a job that is started again goes on from them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy import errors, shelves
from understudy.batches import Plan
from understudy.errors import TrainingError, UnderstudyError
from understudy.roles import Lesson, Student, TrainSpec
from understudy.store import digest, write_text
from understudy.training import measuring, tokens
from understudy.training.devices import Place

if TYPE_CHECKING:
    from understudy.training.encode import Progress

_JOB, _TOKENS, _PLAN, _RESULT, _PROGRESS = (
    "job.json",
    "tokens",
    "plan.json",
    "result.json",
    "progress.jsonl",
)
_ERRORS = "error-*.json"
_SHOWN = 400


def write(student: Student, lesson: Lesson, folder: Path) -> Path:
    """Write the job into `folder/job`, unless it is there and finished."""
    job, journal = folder / "job", lesson.journal
    settings = {
        "student": student.model_dump(mode="json"),
        "train": lesson.spec.model_dump(mode="json"),
        "learning_rate": lesson.learning_rate,
        "seed": lesson.seed,
        "name": journal.name if journal else "",
        "trackers": str(journal.trackers) if journal and journal.trackers else "",
    }
    text = json.dumps({**settings, "plan": digest(asdict(lesson.plan))}, indent=1)
    if is_finished(job) and (job / _JOB).read_text(encoding="utf-8") == text:
        return job
    shutil.rmtree(job, ignore_errors=True)
    lesson.live.save(job / "start")
    _packed(lesson.encoded).save(job / _TOKENS)
    if journal and journal.stopper:
        measuring.write(journal.stopper, job)
    write_text(job / _PLAN, json.dumps(asdict(lesson.plan)))
    write_text(job / _JOB, text)
    return job


def _packed(groups: Sequence[tokens.Group]) -> tokens.Tokens:
    if isinstance(groups, tokens.Tokens):
        return groups
    writer = tokens.Writer()
    for place, group in enumerate(groups):
        writer.add(group, place)
    return writer.done()


def is_finished(job: Path) -> bool:
    return (job / _RESULT).is_file()


def work(job: Path) -> None:
    """Be one of the processes that train a job. What goes wrong is written down before it is raised."""
    rank = int(os.environ.get("RANK", "0"))
    try:
        _train(job, rank)
    except Exception as error:
        name = type(error).__name__
        said = {"kind": name, "said": str(error), "ours": isinstance(error, UnderstudyError)}
        record = {**said, "rank": rank, "time": time.time(), "bereft": _is_bereft(error)}
        write_text(job / f"error-{rank}.json", json.dumps(record))
        raise


def _train(job: Path, rank: int) -> None:
    from understudy.training import sharing, trainer
    from understudy.training.journal import Journal

    settings = json.loads((job / _JOB).read_text(encoding="utf-8"))
    student = _student(settings["student"])
    live = student.load(job / "start")
    planned = json.loads((job / _PLAN).read_text(encoding="utf-8"))
    plan = Plan(**{**planned, "batches": tuple(tuple(batch) for batch in planned["batches"])})
    groups = tokens.load(job / _TOKENS)
    spec = TrainSpec(**settings["train"])
    many = int(os.environ.get("WORLD_SIZE", "1"))
    told = _teller(job) if rank == 0 else _silence
    rate, seed, trackers = settings["learning_rate"], settings["seed"], settings["trackers"]
    stopper = measuring.read(job, live, spec, Place(rank, many))
    journal = Journal(stopper, settings["name"], Path(trackers) if trackers else None)
    loss = trainer.fit(live, groups, plan, spec, rate, seed, job.parent, told, journal=journal)
    whole = sharing.whole(live.model)
    if rank == 0:
        if whole is not None:
            live = student.load(job / "start")
            live.model.load_state_dict(whole)
        live.save(job / "trained")
        result = {"loss": loss, "processes": many, "sharded": whole is not None}
        befell = {"losses": journal.losses, "notes": journal.notes}
        stopping = stopper.told() if stopper else None
        write_text(job / _RESULT, json.dumps({**result, **befell, "stopping": stopping}))


def _student(settings: Mapping[str, Any]) -> Student:
    student: Student = shelves.load("students", str(settings["name"]))(**settings)
    return student


def _teller(job: Path) -> Progress:
    def tell(fraction: float, detail: str) -> None:
        with (job / _PROGRESS).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([fraction, detail]) + "\n")

    return tell


def _silence(fraction: float, detail: str) -> None:
    """The first process speaks for all."""


def _is_bereft(error: Exception) -> bool:
    """Whether it only says that another process is gone."""
    import torch

    text = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or "gloo" in text or "closed by peer" in text


class Listener:
    """Passes on what the first process of a job tells."""

    def __init__(self, job: Path, progress: Progress) -> None:
        self._path = job / _PROGRESS
        self._progress = progress
        self._read = self._path.stat().st_size if self._path.exists() else 0

    def tell(self) -> None:
        """The last word since the last call, if there is a new one."""
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            lines.seek(self._read)
            new = lines.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        if whole:
            fraction, detail = json.loads(whole.splitlines()[-1])
            self._progress(fraction, detail)


def collect(job: Path, lesson: Lesson) -> tuple[float, int]:
    """Put the trained weights into the lesson's student and what befell the training into its journal; the
    training's loss, and how many processes shared it."""
    settings = json.loads((job / _JOB).read_text(encoding="utf-8"))
    trained = _student(settings["student"]).load(job / "trained")
    lesson.live.model.load_state_dict(trained.model.state_dict())
    result = json.loads((job / _RESULT).read_text(encoding="utf-8"))
    if lesson.journal is not None:
        lesson.journal.losses, lesson.journal.notes = result["losses"], result["notes"]
        if lesson.journal.stopper is not None:
            lesson.journal.stopper.learn(result["stopping"])
    return result["loss"], result["processes"]


def is_refused(job: Path) -> bool:
    """Whether a process has found that the set-up is bad, so that another try would end the same."""
    return any(each["ours"] for each in _said(job))


def _said(job: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(job.glob(_ERRORS))]


def failure(job: Path, processes: int, otherwise: str) -> UnderstudyError:
    """Why a job failed, in one sentence: that of the process that failed first, not of those that missed it;
    `otherwise` where no process left a word."""
    first = min(_said(job), key=lambda each: (each["bereft"], not each["ours"], each["time"]), default=None)
    if first is None or first["bereft"]:
        return TrainingError(otherwise)
    if first["ours"]:
        error: UnderstudyError = getattr(errors, first["kind"], TrainingError)(first["said"])
        return error
    words = (first["said"].strip().splitlines() or [""])[-1]
    return TrainingError(
        f"process {first['rank'] + 1} of the {processes} that train together ended with {first['kind']}: "
        f"{words[:_SHOWN]}; mend what it says and run again"
    )
