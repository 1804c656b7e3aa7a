"""Prepare the splits of a task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from understudy.roles import Spec


class DataSpec(Spec):
    """Which questions take part. Counts are upper limits, taken from the front of the split."""

    train: int | None = Field(None, gt=0)
    dev: int | None = Field(None, gt=0)
    """Size of dev; a task without one cuts it from the end of train (10 % by default)."""
    test: int | None = Field(None, gt=0)
    """Limits every evaluation split. For a quick look only: the report says so."""
    duplicates: Literal["error", "drop"] = "error"
    overlap: Literal["error", "drop"] = "error"
    """Questions of an evaluation split that also occur in train: "drop" removes them from train."""
