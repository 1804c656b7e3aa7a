"""Which row sits in which slot: a row that is over gives its slot to the next one that waits.

So the slots stay full while texts of different lengths are written. What a row writes depends on no other
row, but for the last bits of sums. When nobody waits any more, rows move together, and steps get smaller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from understudy.generators._graphs import Graphs
from understudy.generators._memory import Memory
from understudy.generators._t5 import Decoder
from understudy.students._stops import Stops
from understudy.types import Sampling


@dataclass(slots=True)
class Line:
    """One text to be written."""

    number: int
    source: Sequence[int]
    begun: Sequence[int]
    """What the text begins with."""
    seed: int
    age: int = 0
    """Steps since it was seated, which is the column that it reads next."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the host looks, and the sizes that steps come in."""

    every: int
    """Steps between two looks: a row goes on so long, at most, after its end."""
    columns: int
    """Columns are attended to in multiples of this."""
    together: int
    """Sources that are read at a time, of like length: padding is read too."""
    halving: bool
    """Whether the number of rows in a step is halved only, never cut to fit: each size is a graph."""


# On a CPU a look costs nothing, and what a step reads is what it costs. On a GPU a look waits for all that
# was begun, and each size is captured once.
PACES = {"cpu": Pace(4, 16, 8, halving=False), "cuda": Pace(16, 128, 64, halving=True)}


class Refill:
    """Writes with one decoder. Memory and graphs are kept for the next asking of the same size."""

    def __init__(self, decoder: Decoder, ends: Collection[int]) -> None:
        self._decoder = decoder
        self._ends = frozenset(ends)
        self._pace = PACES[decoder.device]
        self._captures = decoder.device != "cpu"
        self._memory: Memory | None = None
        self._graphs: dict[Sampling, Graphs] = {}

    def run(
        self, lines: Sequence[Line], slots: int, sampling: Sampling, stops: Stops
    ) -> Iterator[list[Line]]:
        """The lines as they are over, `ids` and `logprobs` filled in."""
        memory = self._room(lines, min(slots, len(lines)), sampling)
        waiting = deque(lines)
        seats: list[Line | None] = [None] * memory.slots
        while waiting or any(seats):
            free = [slot for slot, line in enumerate(seats) if line is None]
            # An encoder is quicker with several sources at a time, so a few slots may wait for each other.
            if waiting and len(free) >= max(1, memory.slots // 16):
                self._seat(memory, seats, free, waiting, sampling)
            elif free and not waiting:
                self._close_up(memory, seats)
            self._steps(memory, seats, sampling)
            if over := self._look(memory, seats, sampling, stops):
                yield over

    def _room(self, lines: Sequence[Line], slots: int, sampling: Sampling) -> Memory:
        longest = 1 + max(len(line.begun) for line in lines) + sampling.max_tokens
        width = self._whole(longest + self._pace.every)
        reach = self._whole(max(len(line.source) for line in lines))
        memory = self._memory
        if memory is None or (memory.slots, memory.width, memory.reach) != (slots, width, reach):
            # The old one goes first: two of them may be more than there is.
            self._memory = memory = None
            self._graphs.clear()
            self._memory = memory = self._decoder.memory(slots, width, reach)
        return memory

    def _whole(self, columns: int) -> int:
        return -(-columns // self._pace.columns) * self._pace.columns

    def _seat(
        self,
        memory: Memory,
        seats: list[Line | None],
        free: Sequence[int],
        waiting: deque[Line],
        sampling: Sampling,
    ) -> None:
        group = [waiting.popleft() for _ in range(min(len(free), len(waiting)))]
        pairs = sorted(zip(free, group, strict=False), key=lambda pair: len(pair[1].source))
        for start in range(0, len(pairs), self._pace.together):
            places, lines = zip(*pairs[start : start + self._pace.together], strict=True)
            drawn = None
            if sampling.temperature > 0:
                drawn = torch.stack([_numbers(line, memory.width + 1) for line in lines])
                drawn = drawn.to(self._decoder.device)
            sources, begun = [line.source for line in lines], [line.begun for line in lines]
            self._decoder.admit(memory, places, sources, begun, drawn)
        for slot, line in pairs:
            seats[slot] = line

    def _close_up(self, memory: Memory, seats: list[Line | None]) -> None:
        """Rows from the back into free slots further in front, so that steps can be smaller."""
        here = [slot for slot, line in enumerate(seats) if line is not None]
        into = [slot for slot in range(len(here)) if seats[slot] is None]
        if not into:
            return
        back = here[-len(into) :]
        length = self._whole(1 + max(line.age for line in seats if line is not None))
        with torch.inference_mode():
            memory.move(back, into, min(length, memory.width))
        for old, new in zip(back, into, strict=True):
            seats[new], seats[old] = seats[old], None

    def _steps(self, memory: Memory, seats: Sequence[Line | None], sampling: Sampling) -> None:
        live = [line for line in seats if line is not None]
        rows = self._rows(memory.slots, max(slot for slot, line in enumerate(seats) if line is not None) + 1)
        # A graph is made for one size of source, or there would be too many.
        reach = memory.reach if self._pace.halving else self._whole(max(len(line.source) for line in live))
        with torch.inference_mode():
            for _ in range(self._pace.every):
                length = min(self._whole(1 + max(line.age for line in live)), memory.width)
                self._step(memory, rows, length, reach, sampling)
                for line in live:
                    line.age += 1

    def _rows(self, slots: int, needed: int) -> int:
        if not self._pace.halving:
            return needed
        while slots // 2 >= needed:
            slots //= 2
        return slots

    def _step(self, memory: Memory, rows: int, length: int, reach: int, sampling: Sampling) -> None:
        def step() -> None:
            self._decoder.step(memory, rows, length, reach, sampling)

        if not self._captures:
            return step()
        if sampling not in self._graphs:
            self._graphs[sampling] = Graphs((memory.text, memory.position))
        return self._graphs[sampling].run((rows, length), step)

    def _look(self, memory: Memory, seats: list[Line | None], sampling: Sampling, stops: Stops) -> list[Line]:
        """The rows that are over; their slots are free."""
        over = []
        text = memory.text.cpu()
        for slot, line in enumerate(seats):
            if line is None:
                continue
            first, seen = 1 + len(line.begun), len(line.ids)
            line.ids += text[slot, first + seen : line.age + 1].tolist()
            if end := self._end(line.ids, seen, sampling, stops):
                del line.ids[end:]
                line.logprobs = memory.logprobs[slot, first : first + end].tolist()
                seats[slot] = None
                over.append(line)
        return over

    def _end(self, ids: Sequence[int], seen: int, sampling: Sampling, stops: Stops) -> int:
        """How many of the ids count if the row is over, else 0. The first `seen` have been looked at."""
        for length in range(seen + 1, len(ids) + 1):
            last = ids[length - 1] in self._ends or length == sampling.max_tokens
            if last or stops.came(ids[:length]):
                return length
        return 0


def _numbers(line: Line, width: int) -> torch.Tensor:
    """What decides the row's draws: its own numbers, one for each token that it writes."""
    numbers = torch.zeros(width)
    first = 1 + len(line.begun)
    generator = torch.Generator().manual_seed(line.seed)
    numbers[first:] = torch.rand(width - first, generator=generator)
    return numbers
