"""The live side of `openai_batch`: requests go out in files, and answers come back hours later.

A batch that is on its way when a call ends stays on its way, and the next call waits for it. What comes back
without an answer that could still be had is sent again in a later batch. The catch: a provider is paid for
what a batch has answered when it expires or is cancelled, so that is always collected first.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from understudy.errors import TeacherError
from understudy.ledger import UNANSWERED
from understudy.roles import Identity, Landed
from understudy.streams import windows
from understudy.teachers._batch_rows import Form, Wanted, runs, wanted
from understudy.teachers._faults import PASSING, Fault
from understudy.teachers._notes import Note, Notes
from understudy.teachers._provider import Json, Provider
from understudy.teachers._refusals import rejected
from understudy.teachers._wire import OpenAIDialect
from understudy.types import Completion, Request, Sampling

ROUNDS = 3
"""How often a request is sent in all while its batches expire or fail on it."""
REJECTED_AT_START = 3
"""Requests that may be rejected before the first answer, until the recipe is held to be wrong."""
SLOWER = 1.5
LONGEST_POLL_S = 600.0
_TOGETHER = 256
_ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class Plan:
    """How requests are cut into files and how often one looks; the fields are those of `openai_batch`."""

    dialect: OpenAIDialect
    requests_per_file: int
    bytes_per_file: int
    concurrency: int
    poll_s: float


class BatchClient:
    """A completer."""

    def __init__(self, provider: Provider, notes: Notes, plan: Plan) -> None:
        self._provider = provider
        self._notes = notes
        self._plan = plan

    @property
    def identity(self) -> Identity:
        return self._provider.identity

    def close(self) -> None:
        """Nothing stays open between calls."""

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """See `roles.Completer`."""
        form = Form(self.identity.endpoint, self._plan.dialect, sampling)
        return _Call(self._provider, self._notes, self._plan, form, requests).run()


class _Call:
    """One call of `complete`: who waits for which sample, and which batches are running."""

    def __init__(
        self, provider: Provider, notes: Notes, plan: Plan, form: Form, requests: Iterable[Request]
    ) -> None:
        self.provider = provider
        self.notes = notes
        self.plan = plan
        self.form = form
        self.requests = enumerate(requests)
        self.ready: deque[tuple[str, bytes]] = deque()
        """Rows to be written into the next file."""
        self.waiting: dict[Wanted, list[tuple[int, Request]]] = {}
        self.known = {sample: note for note in notes.all() for row in note.rows for sample in wanted(row)}
        self.running: list[Note] = []
        self.sent: Counter[Wanted] = Counter()
        self.details: dict[Wanted, str] = {}
        """Why a sample came back without an answer, the last time."""
        self.grouped = True
        """Whether the provider draws several samples for one row, until it is seen not to."""
        self.answered = 0

    def run(self) -> Iterator[Sequence[Landed]]:
        pause = self.plan.poll_s
        while True:
            self._fill()
            if not self.running:
                return
            ended = [
                (note, batch) for note in self.running if (batch := self._look(note)).get("status") in _ENDED
            ]
            for note, batch in ended:
                self.running.remove(note)
                yield from self._landed(note, batch)
            if ended:
                pause = self.plan.poll_s
            else:
                time.sleep(pause)
                pause = min(pause * SLOWER, max(LONGEST_POLL_S, self.plan.poll_s))

    # ------------------------------------------------------------ what goes out

    def _fill(self) -> None:
        """Send files until enough batches are running or there is nothing left to send."""
        while len(self.running) < self.plan.concurrency:
            with tempfile.TemporaryFile() as file:  # it has no name, so a kill leaves no prompts behind
                rows = self._write(file)
                if not rows:
                    return
                file.flush()
                uploaded = self.provider.upload(file)
            note = Note(uploaded["id"], uploaded.get("created_at", 0), tuple(rows))
            self.notes.write(note)
            self._start(note)

    def _start(self, note: Note) -> None:
        """From here on the note leads to the batch, even if this process ends before it hears of it."""
        batch = self.provider.create(note.file, note.created, self.form.path)
        note = replace(note, batch=batch["id"])
        self.notes.write(note)
        self.running.append(note)

    def _write(self, file: BinaryIO) -> list[str]:
        """Write the rows of the next file; their custom ids."""
        rows: list[str] = []
        size = 0
        while len(rows) < self.plan.requests_per_file and (row := self._next_row()):
            name, line = row
            if rows and size + len(line) > self.plan.bytes_per_file:
                self.ready.appendleft(row)
                break
            file.write(line)
            rows.append(name)
            size += len(line)
        return rows

    def _next_row(self) -> tuple[str, bytes] | None:
        """The next row that nobody has sent yet; requests are read until one is found."""
        while not self.ready:
            following = next(self.requests, None)
            if following is None:
                return None
            position, request = following
            asked = self.form.asked(request)
            new = [s for s in request.samples if self._is_new((asked, s), position, request)]
            self._send(asked, request, new)
        return self.ready.popleft()

    def _is_new(self, sample: Wanted, position: int, request: Request) -> bool:
        """Whether a sample must be sent; if not, it is on its way already, and is waited for."""
        others = self.waiting.setdefault(sample, [])
        others.append((position, request))
        if len(others) > 1:
            return False
        note = self.known.get(sample)
        if note is None:
            return True
        if all(note.file != other.file for other in self.running):
            self._adopt(note)
        return False

    def _adopt(self, note: Note) -> None:
        if note.batch:
            self.running.append(note)
        else:
            self._start(note)

    def _send(self, asked: str, request: Request, samples: Sequence[int]) -> None:
        for run in runs(samples, self.grouped):
            self.ready.append(self.form.row(asked, request, run))
            self.sent.update((asked, sample) for sample in run)

    # ------------------------------------------------------------ what comes back

    def _look(self, note: Note) -> Json:
        batch = self.provider.batch(note.batch)
        if batch is None:
            raise TeacherError(
                f"the provider at {self.provider.base_url} does not know the batch {note.batch}; use the key "
                f"that it was made with, or delete {self.notes.path(note)} to send its requests again"
            )
        return batch

    def _landed(self, note: Note, batch: Json) -> Iterator[Sequence[Landed]]:
        """Everything that an ended batch answers; what it leaves open goes out again."""
        if batch["status"] == "failed":
            self.notes.forget(note)
            raise _failed(note, batch)
        rows = set(note.rows)
        ours = [sample for row in note.rows for sample in wanted(row) if sample in self.waiting]
        ended: list[Fault] = []
        for name in ("output_file_id", "error_file_id"):
            if batch.get(name):
                for lines in windows(self.provider.lines(batch[name]), _TOGETHER):
                    if landed := [item for line in lines for item in self._answers(line, rows, ended)]:
                        yield landed
        if left := list(self._left(ours, batch["status"] == "cancelled")):
            yield left
        self._settle(note, set(ours))
        if ended:
            self._stop_if_hopeless(ended)

    def _answers(self, line: Json, rows: set[str], ended: list[Fault]) -> Iterator[Landed]:
        """What one line of a result file gives to those who wait; faults of the set-up go to `ended`."""
        row = line.get("custom_id")
        samples = wanted(row) if isinstance(row, str) and row in rows else []
        awaited = [sample for sample in samples if sample in self.waiting]
        if not awaited:  # a line that came twice, or was never asked for
            return
        request = self.waiting[awaited[0]][0][1]
        got = self.form.read(line, request, [sample for _, sample in samples])
        if isinstance(got, Fault):
            yield from self._fault(got, awaited, len(samples), ended)
            return
        self.answered += 1
        self.grouped = self.grouped and len(got) == len(samples)
        for completion in got:
            yield from self._hand_over((samples[0][0], completion.sample), completion)

    def _fault(
        self, fault: Fault, awaited: Sequence[Wanted], together: int, ended: list[Fault]
    ) -> Iterator[Landed]:
        """A row without an answer: final, to be sent again, or a sign that the set-up is wrong."""
        self.details.update(dict.fromkeys(awaited, fault.detail))
        if fault.kind == "content_filter":
            yield from self._errors(awaited, f"content filter: {fault.detail}")
        elif fault.kind == "too_long":
            yield from self._errors(awaited, f"context too long: {fault.detail}")
        elif fault.kind == "rejected" and together > 1:
            self.grouped = False
        elif fault.kind not in PASSING:
            ended.append(fault)
            yield from self._errors(awaited, f"{UNANSWERED}: {fault.detail}")

    def _left(self, ours: Sequence[Wanted], cancelled: bool) -> Iterator[Landed]:
        """Send again what an ended batch left open, unless somebody stopped it or it was sent often."""
        again: dict[str, list[int]] = {}
        for asked, number in ours:
            sample = (asked, number)
            if sample not in self.waiting:
                continue
            if cancelled:
                yield from self._errors([sample], f"{UNANSWERED}: the batch was cancelled")
            elif self.sent[sample] >= ROUNDS:
                detail = self.details.get(sample, "the batch expired")
                yield from self._errors([sample], f"{UNANSWERED}: {detail} (tries: {self.sent[sample]})")
            else:
                again.setdefault(asked, []).append(number)
        for asked, numbers in again.items():
            self._send(asked, self.waiting[asked, numbers[0]][0][1], numbers)

    def _errors(self, samples: Sequence[Wanted], error: str) -> Iterator[Landed]:
        for sample in samples:
            yield from self._hand_over(sample, Completion("", sample[1], "", "error", error=error))

    def _hand_over(self, sample: Wanted, completion: Completion) -> Iterator[Landed]:
        attempts = max(1, self.sent[sample])
        for position, request in self.waiting.pop(sample, ()):
            yield position, replace(completion, question_id=request.question.id, attempts=attempts)

    def _settle(self, note: Note, ours: set[Wanted]) -> None:
        """Forget the rows that this call asked for: they were handed over, or go out again."""
        for row in note.rows:
            for sample in wanted(row):
                self.known.pop(sample, None)
        rows = tuple(row for row in note.rows if not ours.issuperset(wanted(row)))
        if rows:
            self.notes.write(replace(note, rows=rows))
        else:
            self.notes.forget(note)

    def _stop_if_hopeless(self, faults: Sequence[Fault]) -> None:
        """End the run when every other request would meet the same fault."""
        for fault in faults:
            if refused := self.provider.refusal(fault):
                raise refused
        if self.answered == 0 and len(faults) >= REJECTED_AT_START:
            raise rejected(faults[0], self.provider.identity)


def _failed(note: Note, batch: Json) -> TeacherError:
    errors = (batch.get("errors") or {}).get("data") or []
    said = "; ".join(str(error.get("message")) for error in errors[:3]) or "no reason given"
    return TeacherError(
        f"the provider refused the batch {note.batch} ({said}); nothing of it was run, so mend that and run "
        "again: batches that run go on and are collected then"
    )
