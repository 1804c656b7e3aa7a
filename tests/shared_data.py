"""Where the real data sets lie, for tests that use them and skip with a reason where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _root() -> Path:
    named = os.environ.get("UNDERSTUDY_SHARED_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[1].parent / "shared" / "data"


def shared_data(name: str) -> Path:
    """The folder of one real data set, or skip the test saying what is missing."""
    folder = _root() / name
    if not folder.is_dir():
        pytest.skip(
            f"real data '{name}' is not here (set UNDERSTUDY_SHARED_DATA to the folder that holds it)"
        )
    return folder


def shared_model(name: str) -> Path:
    """The folder of one real tokenizer or model, or skip the test saying what is missing."""
    folder = _root().parent / "models" / name
    if not folder.is_dir():
        pytest.skip(f"real model '{name}' is not here (it is looked for beside UNDERSTUDY_SHARED_DATA)")
    return folder
