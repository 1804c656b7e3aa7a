"""Makes the writer that a recipe means of a student, and says which it is and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import TrainingError
from understudy.generators import parity
from understudy.generators.contract import EXACT, REFERENCE, Engine, Writer, settled
from understudy.generators.ctranslate2 import CTranslate2
from understudy.generators.parity import Rehearsal
from understudy.generators.transformers import Transformers
from understudy.roles import LiveStudent, Stage
from understudy.store import digest, hash_files

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (Transformers(), CTranslate2())}
FAST = "ctranslate2"
"""What "auto" tries."""
WORTH = 4 * parity.PROMPTS
"""Answers from which on "auto" tries it: for fewer, the measuring costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step asks for."""

    engine: str
    compute_type: str
    answers: int
    """How many texts are to be written, about."""
    drawn: bool = False
    """Whether texts are drawn, so that two engines never write the same."""


def ready(
    live: LiveStudent, model: Path, wanted: Wanted, stage: Stage, rehearsal: Rehearsal, cache: Path
) -> tuple[Writer, dict[str, Any]]:
    """The writer, and what is to be told about it. `model` is the folder that the student was loaded from.

    Raises TrainingError where a named engine, or a format other than float32, cannot be had: another engine
    or format in its place would be another answer than the recipe asks for.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = settled(wanted.engine, wanted.compute_type)
    free = name == "auto"
    why = "the recipe names it"
    if free:
        name, why = _fastest(live, wanted, device)
    engine = ENGINES[name]
    if refusal := engine.refusal(live, wanted.compute_type, device):
        raise TrainingError(f"{refusal}: set evaluate.engine to transformers and compute_type to float32")
    if (name, wanted.compute_type) == (REFERENCE, EXACT):
        return _reference(live, device, why)
    key = {"engine": name, "version": engine.version()}
    weights = digest(hash_files(tuple(sorted(path for path in model.iterdir() if path.is_file()))))
    built = cache / digest({**key, "weights": weights})[:16]
    live.model.to(device)
    try:
        writer = engine.build(live, wanted.compute_type, device, built / "model")
    except (RuntimeError, ValueError) as error:
        # Converters refuse what they cannot express in these, each in its own words.
        failure = f"{name} cannot run this student: {(str(error).splitlines() or [type(error).__name__])[0]}"
        if not free:
            raise TrainingError(f"{failure}: set evaluate.engine to transformers") from error
        return _reference(live, device, failure)
    about = {**key, "compute_type": wanted.compute_type, "device": device, "weights": weights}
    record = parity.measured(built, about, live, writer, stage, rehearsal)
    told = {**key, "compute_type": wanted.compute_type, "why": why, "parity": _short(record)}
    if fault := parity.fault(record, wanted.compute_type):
        if not free:
            raise TrainingError(
                f"{fault}: set evaluate.engine to transformers, which is what it differs from"
            )
        writer, instead = _reference(live, device, f"{fault}, so its answers do not count")
        return writer, {**instead, "refused": told}
    return writer, told


def _fastest(live: LiveStudent, wanted: Wanted, device: str) -> tuple[str, str]:
    """An engine for float32, and why it is that one."""
    if wanted.drawn:
        return REFERENCE, "texts are drawn, and no two engines draw alike"
    if device != "cpu":
        return REFERENCE, "another engine is only known to be faster on CPUs"
    if wanted.answers < WORTH:
        return REFERENCE, f"fewer than {WORTH} texts are written, and measuring another engine costs more"
    if refusal := ENGINES[FAST].refusal(live, EXACT, device):
        return REFERENCE, refusal
    return FAST, f"it is installed, can run this student, and at least {WORTH} texts are written on a CPU"


def _reference(live: LiveStudent, device: str, why: str) -> tuple[Writer, dict[str, Any]]:
    engine = ENGINES[REFERENCE]
    told = {"engine": REFERENCE, "version": engine.version(), "compute_type": EXACT, "why": why}
    return engine.build(live, EXACT, device, Path()), told


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what only later stages and the curious read."""
    kept = {name: record[name] for name in ("split", "prompts", "tokens", "ties") if name in record}
    short = {**kept, "different": len(record["different"]), "record": digest(record)[:16]}
    return {**short, **({"correct": record["correct"]} if "correct" in record else {})}
