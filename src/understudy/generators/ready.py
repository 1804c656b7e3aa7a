"""Makes the writer that a recipe means of a student, and says which it is and why."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import TeacherError, TrainingError
from understudy.generators import parity
from understudy.generators.contract import EXACT, MEANT, REFERENCE, Engine, Writer, settled
from understudy.generators.ctranslate2 import CTranslate2
from understudy.generators.parity import Rehearsal
from understudy.generators.static import Static
from understudy.generators.transformers import Transformers
from understudy.generators.vllm import VLLM
from understudy.roles import LiveStudent, Stage
from understudy.store import digest, hash_files

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (Transformers(), CTranslate2(), VLLM(), Static())
}
FAST: dict[str, tuple[str, ...]] = {"cpu": ("ctranslate2", "static"), "cuda": ("vllm", "static")}
"""What "auto" tries on a device: the first that can run the student."""
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
    device = device_here()
    name = settled(wanted.engine, wanted.compute_type)
    free = name == "auto" and wanted.compute_type == EXACT
    why = "the recipe names it"
    if free:
        name, why = _fastest(live, wanted, device)
    elif name == "auto":
        name, why = _meant(live, wanted, device)
    engine = ENGINES[name]
    if refusal := engine.refusal(live, wanted.compute_type, device):
        raise TrainingError(f"{refusal}: set evaluate.engine to transformers and compute_type to float32")
    if (name, wanted.compute_type) == (REFERENCE, EXACT):
        return _reference(live, device, why)
    key = {"engine": name, "version": engine.version()}
    weights, built = kept(model, name, cache)
    live.model.to(device)
    try:
        writer = engine.build(live, wanted.compute_type, device, built / "model")
    except (RuntimeError, ValueError, TeacherError) as error:
        # Converters refuse what they cannot express, and servers say why they end, each in its own words.
        failure = f"{name} cannot run this student: {(str(error).splitlines() or [type(error).__name__])[0]}"
        if not free:
            raise TrainingError(f"{failure}: set evaluate.engine to transformers") from error
        return _reference(live, device, failure)
    about = {**key, "compute_type": wanted.compute_type, "device": device, "weights": weights}
    with ExitStack() as stack:
        stack.callback(writer.close)
        records = parity.records(built, about, live, writer, stage, rehearsal)
        told: dict[str, Any] = {**key, "compute_type": wanted.compute_type, "why": why}
        told |= {name: _short(record) for name, record in records.items()}
        faults = [parity.fault(record, wanted.compute_type) for record in records.values()]
        if not (fault := next(filter(None, faults), "")):
            stack.pop_all()
            return writer, told
    if not free:
        raise TrainingError(f"{fault}: set evaluate.engine to transformers, which is what it differs from")
    writer, instead = _reference(live, device, f"{fault}, so its answers do not count")
    return writer, {**instead, "refused": told}


def device_here() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def kept(model: Path, engine: str, cache: Path) -> tuple[str, Path]:
    """The hash of a student's weights, and where in `cache` what an engine makes of them lies."""
    weights = digest(hash_files(tuple(sorted(path for path in model.iterdir() if path.is_file()))))
    about = {"engine": engine, "version": ENGINES[engine].version(), "weights": weights}
    return weights, cache / digest(about)[:16]


def _fastest(live: LiveStudent, wanted: Wanted, device: str) -> tuple[str, str]:
    """An engine for float32, and why it is that one."""
    if wanted.drawn:
        return REFERENCE, "texts are drawn, and no two engines draw alike"
    if wanted.answers < WORTH:
        return REFERENCE, f"fewer than {WORTH} texts are written, and measuring another engine costs more"
    refusals = []
    for name in FAST[device]:
        if not (refusal := ENGINES[name].refusal(live, EXACT, device)):
            where = "CPU" if device == "cpu" else "GPU"
            why = (
                f"it is installed, can run this student, and at least {WORTH} texts are written on a {where}"
            )
            return name, why
        refusals.append(refusal)
    return REFERENCE, "; ".join(refusals)


def _meant(live: LiveStudent, wanted: Wanted, device: str) -> tuple[str, str]:
    """An engine for another format, and why it is that one."""
    kind = wanted.compute_type
    name = next(name for name in MEANT[kind] if not ENGINES[name].refusal(live, kind, device))
    return name, f"it is what auto means in {kind} for such a student, on every machine"


def _reference(live: LiveStudent, device: str, why: str) -> tuple[Writer, dict[str, Any]]:
    engine = ENGINES[REFERENCE]
    told = {"engine": REFERENCE, "version": engine.version(), "compute_type": EXACT, "why": why}
    return engine.build(live, EXACT, device, Path()), told


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what only later stages and the curious read."""
    kept = {name: record[name] for name in ("split", "prompts", "tokens", "ties") if name in record}
    short = {**kept, "different": len(record["different"]), "record": digest(record)[:16]}
    return {**short, **({"correct": record["correct"]} if "correct" in record else {})}
