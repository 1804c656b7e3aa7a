"""What a finished training says of itself in the report: when it ended and why, and what befell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 12
"""Measurements that a sentence names at most; the step's record has all of them."""


def sentences(who: str, record: Mapping[str, Any]) -> Iterator[str]:
    """Of the training called `who`, from its result."""
    stopping = record.get("stopping")
    if stopping:
        yield _stopped(who, stopping)
    for note in record.get("notes", ()):
        yield f"{who}: {note}."


def _stopped(who: str, told: Mapping[str, Any]) -> str:
    what = "loss on dev" if told["metric"] == "dev_loss" else "accuracy on dev questions"
    best = next(point for point in told["curve"] if point["step"] == told["best"])
    extreme = "lowest" if told["metric"] == "dev_loss" else "highest"
    end = told["stopped"]
    planned = f"{told['planned']:,} steps"
    length = f"ended after {end:,} of {planned}" if end else f"ran its {planned}"
    averaged = told["averaged"]
    saved = "whose weights were taken"
    if averaged:
        steps = ", ".join(f"{step:,}" for step in averaged["steps"])
        saved = f"but the mean of the weights after steps {steps} was taken, at {averaged['value']:.4g}"
    shown = told["curve"][-SHOWN:]
    values = ", ".join(f"{point['step']:,}: {point['value']:.4g}" for point in shown)
    begun = "the last: " if len(shown) < len(told["curve"]) else ""
    return (
        f"{who} {length}. Its {what} was {extreme} ({best['value']:.4g}) after step {best['step']:,} "
        f"({best['tokens']:,} tokens), {saved} ({begun}{values})."
    )
