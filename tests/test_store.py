"""The store: what a hash covers, the done-mark, and files that are whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from understudy.errors import StoreError
from understudy.store import MARK, Step, Store, digest, hash_files, write_text

DATA = Step("data", "data", {"task": "toy", "limit": 3})


def train(**changes: Any) -> Step:
    """A step that needs DATA, with one thing changed."""
    plain: dict[str, Any] = {
        "name": "train",
        "kind": "train",
        "settings": {"seed": 0, "rate": 0.1},
        "needs": {"data": DATA},
    }
    return Step(**{**plain, **changes})


# One change -> whether the step must be run again.
CHANGES: Mapping[str, tuple[Step, bool]] = {
    "kind": (train(kind="predict"), True),
    "a setting": (train(settings={"seed": 1, "rate": 0.1}), True),
    "a setting's type": (train(settings={"seed": "0", "rate": 0.1}), True),
    "a new setting": (train(settings={"seed": 0, "rate": 0.1, "clip": 1}), True),
    "no needs": (train(needs={}), True),
    "a need's setting": (train(needs={"data": Step("data", "data", {"task": "toy", "limit": 4})}), True),
    "a need's role": (train(needs={"questions": DATA}), True),
    "order of settings": (train(settings={"rate": 0.1, "seed": 0}), False),
    "name": (train(name="train/other"), False),
    "a need's name": (train(needs={"data": Step("other", "data", DATA.settings)}), False),
    "title": (train(title="Train it"), False),
    "cost": (train(cost=9.0), False),
    "alone": (train(alone=True), False),
}


@pytest.mark.parametrize(("step", "differs"), CHANGES.values(), ids=CHANGES.keys())
def test_what_the_hash_covers(step: Step, differs: bool) -> None:
    assert (step.hash != train().hash) is differs


def test_what_is_not_json_cannot_be_hashed() -> None:
    with pytest.raises(ValueError):
        digest({"rate": float("nan")})
    with pytest.raises(TypeError):
        digest({"path": Path("here")})


def test_a_step_is_done_when_its_mark_is_there(tmp_path: Path) -> None:
    store, step = Store(tmp_path), train()
    store.folder(step).mkdir()
    (store.folder(step) / "weights").write_text("half")
    assert not store.done(step)
    store.finish(step, {"result": {"loss": 0.5}, "seconds": 1.0})
    assert store.done(step)
    outcome = store.outcome(step)
    assert outcome["result"] == {"loss": 0.5}
    assert (outcome["name"], outcome["hash"], outcome["needs"]) == ("train", step.hash, {"data": DATA.hash})


def test_two_steps_never_share_a_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.folder(train()) != store.folder(train(settings={}))
    assert store.folder(train()).name == f"train-{train().hash}"


def test_the_outcome_of_a_step_that_is_not_done(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the step train is not done: run the recipe again"):
        Store(tmp_path).outcome(train())


@pytest.mark.parametrize("content", [b'{"result": ', b"", b"\xff\xfe"], ids=["cut", "empty", "bytes"])
def test_an_unreadable_mark_says_which_file_to_delete(tmp_path: Path, content: bytes) -> None:
    store, step = Store(tmp_path), train()
    store.folder(step).mkdir()
    (store.folder(step) / MARK).write_bytes(content)
    with pytest.raises(StoreError, match=rf"{MARK} is not readable .*delete it and run again"):
        store.outcome(step)


def test_opening_to_read_creates_nothing(tmp_path: Path) -> None:
    Store(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()


def test_a_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create the run folder"):
        Store(tmp_path / "file")


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "é \ud83d\n")
    assert path.read_text(encoding="utf-8", errors="surrogatepass") == "é \ud83d\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("where", ["pathlib.Path.replace", "os.fsync"])
def test_an_interrupted_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mark_is_synced_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, step = Store(tmp_path), train()
    seen: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda _: seen.append(store.done(step)))
    store.finish(step, {"result": {}})
    assert seen == [False]
    assert json.loads((store.folder(step) / MARK).read_text())["kind"] == "train"


def test_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire = FileLock.acquire
    monkeypatch.setattr(FileLock, "acquire", lambda lock, timeout: acquire(lock, timeout=0.05))
    store = Store(tmp_path)
    with store.lock(), pytest.raises(StoreError, match="another run is working in"), Store(tmp_path).lock():
        pass
    with store.lock():
        pass


def test_files_are_hashed_by_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "a", tmp_path / "two" / "a"
    for path in (one, two):
        path.parent.mkdir()
        path.write_bytes(b"same")
    before = hash_files((one, two))
    assert len(before) == 2, "files of one name in two folders are two files"
    assert len(set(before.values())) == 1
    two.write_bytes(b"other")
    assert hash_files((one, two)) != before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*absent\.jsonl: No such file"):
        hash_files((tmp_path / "absent.jsonl",))
