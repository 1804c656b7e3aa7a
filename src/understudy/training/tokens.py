"""Groups of token ids as flat arrays, read a group at a time: a million examples are a file, not ten
gigabytes.

As lists of Python numbers, an example of 170 tokens takes about 8 KB; here it takes 4 bytes a token. The
arrays may lie in a folder that is named after what went into them: tokenizer, texts, limits. Then they are
made once and mapped into memory by every training that reads the same examples, and by one that goes on
after a kill.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from understudy.batches import Sizes
from understudy.types import Example

if TYPE_CHECKING:
    from understudy.students._flops import Flops

Group = tuple[Mapping[str, Any], ...]
ARRAYS = ("ids", "ends", "groups", "objective", "weight", "cut", "silent", "kept")
_AT_ONCE = 4096
"""Groups whose texts are copied at a time, to be hashed."""
MARK = "objectives.json"
"""Written last into the folder before it gets its name."""


class Tokens(Sequence[Group]):
    """Groups of rows as `LiveStudent.encode` makes them.

    `arrays`: ids (tokens,); ends (rows, 2): where a row's source and target end in ids; groups (groups,):
    which row each ends before; objective (rows,): index into `objectives`; weight, cut, silent (rows,);
    kept (groups,): which of the groups that were given each is.
    """

    def __init__(self, arrays: Mapping[str, Any], objectives: Sequence[str]) -> None:
        self.arrays = arrays
        self.objectives = tuple(objectives)
        # The same memory, without what numpy does at every look into a mapped file.
        self._plain = {name: np.asarray(array) for name, array in arrays.items()}

    def __len__(self) -> int:
        return len(self.arrays["groups"])

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> list[Group]: ...
    def __getitem__(self, index: int | slice) -> Group | list[Group]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        at = index % len(self)
        ends = self._plain["groups"]
        return tuple(self._row(row) for row in range(ends[at - 1] if at else 0, ends[at]))

    def _row(self, row: int) -> Mapping[str, Any]:
        of = self._plain
        start = int(of["ends"][row - 1, 1]) if row else 0
        middle, end = of["ends"][row].tolist()
        return {
            "source": of["ids"][start:middle].tolist(),
            "target": of["ids"][middle:end].tolist(),
            "objective": self.objectives[of["objective"][row]],
            "weight": float(of["weight"][row]),
            "cut": int(of["cut"][row]),
            "silent": bool(of["silent"][row]),
        }

    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Source and target tokens of every row, of shape (rows, 2)."""
        return np.diff(self._plain["ends"].reshape(-1), prepend=0).reshape(-1, 2)

    def target_tokens(self) -> list[int]:
        """Of every group."""
        sums: list[int] = np.add.reduceat(self.lengths()[:, 1], self._starts()).tolist()
        return sums

    def extents(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Source and target tokens of every group, of shape (groups, 2)."""
        found: np.ndarray[Any, np.dtype[np.int64]] = np.add.reduceat(self.lengths(), self._starts(), axis=0)
        return found

    def _starts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The first row of every group."""
        return np.concatenate([[0], self._plain["groups"][:-1]])

    @property
    def rows(self) -> int:
        return len(self.arrays["weight"])

    def longest(self, kind: str) -> int:
        """Tokens of the longest sequence that a model reads: a decoder reads both sides as one."""
        table = self.lengths()
        return int(table.sum(1).max() if kind == "causal" else table.max())

    def shortest(self, count: int) -> list[Mapping[str, Any]]:
        """The rows with the fewest tokens, shortest first."""
        return [self._row(at) for at in np.argsort(self.lengths().sum(1), kind="stable")[:count].tolist()]

    def sizes(self, kind: str, flops: Flops) -> Sizes:
        """What each group costs."""
        source, target = self.lengths().T
        starts = self._starts()
        tokens = np.add.reduceat(source + target, starts)
        cost: Any = flops.training(source, target)
        costs = np.add.reduceat(np.asarray(cost, dtype=float), starts)
        if kind == "causal":
            source, target = source + target, np.zeros_like(target)
        wide, high = (np.maximum.reduceat(side, starts) for side in (source, target))
        return Sizes(self._plain["groups"] - starts, wide, high, tokens, costs)

    def save(self, folder: Path) -> None:
        """Whole or not at all; of two that are saved at once, one stays."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix=".half-", dir=folder.parent))
        try:
            for name in ARRAYS:
                np.save(half / f"{name}.npy", self.arrays[name])
            (half / MARK).write_text(json.dumps(self.objectives), encoding="utf-8")
            if not folder.exists():
                half.rename(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)


def load(folder: Path) -> Tokens:
    """What `save` wrote, mapped into memory and read as far as it is used."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return Tokens(arrays, json.loads((folder / MARK).read_text(encoding="utf-8")))


class Writer:
    """Takes groups one after the other and packs them."""

    def __init__(self) -> None:
        self.ids, self.ends, self.groups = array("i"), array("q"), array("q")
        self.objective, self.weight, self.cut, self.silent = array("i"), array("d"), array("i"), array("b")
        self.kept = array("q")
        self.names: dict[str, int] = {}

    def add(self, group: Iterable[Mapping[str, Any]], place: int) -> None:
        """`place` is where the group stood among those that were given."""
        for row in group:
            for side in ("source", "target"):
                self.ids.extend(row[side])
                self.ends.append(len(self.ids))
            self.objective.append(self.names.setdefault(row["objective"], len(self.names)))
            self.weight.append(row["weight"])
            self.cut.append(row["cut"])
            self.silent.append(row["silent"])
        self.groups.append(len(self.weight))
        self.kept.append(place)

    def done(self) -> Tokens:
        made = {name: np.asarray(getattr(self, name)) for name in ARRAYS}
        made["ends"] = made["ends"].reshape(-1, 2)
        return Tokens(made, tuple(self.names))


def name_of(live: Any, groups: Sequence[tuple[Example, ...]], limits: Sequence[int]) -> str | None:
    """A name for what `live` makes of `groups`, by content; None for a tokenizer that cannot be written
    down."""
    backend = getattr(live.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    codec = live.codec
    how = [live.kind, type(codec).__qualname__, getattr(codec, "escapes", None), list(limits)]
    found = hashlib.sha256(json.dumps(how).encode())
    found.update(json.dumps(live.tokenizer.special_tokens_map, default=str, sort_keys=True).encode())
    found.update(backend.to_str().encode("utf-8", "surrogatepass"))
    objectives: dict[str, int] = {}
    for start in range(0, len(groups), _AT_ONCE):
        for piece in _written(groups[start : start + _AT_ONCE], objectives):
            found.update(piece)
    found.update(json.dumps([len(groups), list(objectives)]).encode())
    return found.hexdigest()[:24]


def _written(groups: Sequence[tuple[Example, ...]], objectives: dict[str, int]) -> Iterator[bytes]:
    """All that tokens are made of, so that no other groups are written alike: the lengths of every part, and
    the texts one after the other. Names of objectives get numbers."""
    examples = [example for group in groups for example in group]
    texts = [e.source for e in examples]
    texts += [e.target for e in examples]
    yield array("q", [len(examples), *map(len, groups), *map(len, texts)]).tobytes()
    yield array("d", [e.weight for e in examples]).tobytes()
    yield array("q", [e.cut for e in examples]).tobytes()
    yield array("q", [objectives.setdefault(e.objective, len(objectives)) for e in examples]).tobytes()
    yield bytes([e.silent for e in examples])
    yield "".join(texts).encode("utf-8", "surrogatepass")
