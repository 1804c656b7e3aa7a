"""The far side of `engine: ray`: one teacher in a process of a cluster. It knows nothing of Ray.

The teacher works in a thread of its own, in rounds: a round is one call of its `complete`, and lasts as long
as there is something in the inbox when the teacher reads on. So the stream that it reads never waits, which
would keep a teacher that reads far ahead from handing over what it has. The catch: a teacher that reads
further ahead than the inbox is deep has a short pause after each round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Condition, Thread

from understudy.errors import TeacherError
from understudy.roles import Completer, Identity, Landed, Teacher
from understudy.types import Request, Sampling

WAITING = 64
"""Completions that wait to be fetched before the teacher is made to wait: a lost worker loses them."""


class Worker:
    """Calls come one at a time: `here`, `enter`, then `work` again and again, then `leave`."""

    def __init__(self) -> None:
        self._completer: Completer | None = None
        self._turn = Condition()
        """Held by whoever touches the fields below."""
        self._inbox: deque[tuple[int, Request]] = deque()
        self._landed: list[Landed] = []
        self._error: BaseException | None = None
        self._busy = False

    def here(self) -> None:
        """Returns once there is a place for this worker in the cluster."""

    def enter(self, teacher: Teacher, model: Path | None) -> Identity:
        """Build the teacher, with the keys of this machine's environment, and say who it is."""
        self._completer = teacher.build(model)
        return self._completer.identity

    def work(self, sampling: Sampling, fresh: Sequence[tuple[int, Request]]) -> list[Landed]:
        """Take on `fresh` and return what has landed since the last call, by the positions that came with it.

        Waits until something has landed or nothing is left to do. What the teacher raises is raised when all
        that it answered before has been returned; what it left in the inbox is then forgotten.
        """
        with self._turn:
            self._inbox.extend(fresh)
            if self._inbox and not self._busy and not self._error:
                self._busy = True
                Thread(target=self._rounds, args=(sampling,), name="understudy-worker", daemon=True).start()
            self._turn.wait_for(lambda: self._landed or not self._busy)
            landed, self._landed = self._landed, []
            self._turn.notify()
            if self._error and not landed:
                error, self._error = self._error, None
                self._inbox.clear()
                raise error
            return landed

    def leave(self) -> None:
        if self._completer:
            self._completer.close()

    # ------------------------------------------------------------ the teacher's thread

    def _rounds(self, sampling: Sampling) -> None:
        try:
            while self._more():
                self._round(sampling)
        except BaseException as error:
            with self._turn:
                self._error, self._busy = error, False
                self._turn.notify()

    def _more(self) -> bool:
        with self._turn:
            self._busy = bool(self._inbox)
            self._turn.notify()
            return self._busy

    def _round(self, sampling: Sampling) -> None:
        assert self._completer is not None, "it has entered"
        places: list[int] = []
        for batch in self._completer.complete(self._stream(places), sampling):
            with self._turn:
                self._turn.wait_for(lambda: len(self._landed) < WAITING)
                self._landed += [(places[index], said) for index, said in batch]
                self._turn.notify()
        if not places:
            raise TeacherError("the teacher ended without reading what it was asked; mend its completer")

    def _stream(self, places: list[int]) -> Iterator[Request]:
        """What is in the inbox, as far as it is read; `places` learns the positions."""
        while True:
            with self._turn:
                if not self._inbox:
                    return
                position, request = self._inbox.popleft()
            places.append(position)
            yield request
