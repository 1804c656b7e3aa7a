"""A writer that was measured in another process, on a machine that runs the same weights in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from understudy.errors import TrainingError
from understudy.generators.contract import EXACT, REFERENCE, Writer
from understudy.generators.ready import ENGINES, device_here, kept
from understudy.roles import LiveStudent


class Measured(BaseModel):
    """What a record of parity holds for. Plain values, to be sent."""

    model_config = ConfigDict(frozen=True)

    engine: str
    version: str
    compute_type: str
    device: str
    weights: str
    """The hash of the trained student's files."""

    @property
    def is_reference(self) -> bool:
        """Whether it is what the others are measured against, which may run on any device."""
        return (self.engine, self.compute_type) == (REFERENCE, EXACT)


def as_measured(told: Mapping[str, Any], model: Path) -> Measured:
    """Of what `ready` told here about the student in the folder `model`."""
    weights, _ = kept(model, told["engine"], Path())
    named = {name: told[name] for name in ("engine", "version", "compute_type")}
    return Measured(**named, device=device_here(), weights=weights)


def trusted(live: LiveStudent, model: Path, measured: Measured, cache: Path) -> Writer:
    """The writer, built without measuring it again. `live` was loaded from `model`; `cache` is as in `ready`.

    Raises TrainingError where this machine would not run what was measured.
    """
    engine = ENGINES[measured.engine]
    if engine.version() != measured.version:
        there = engine.version() or "none"
        raise TrainingError(
            f"a machine of the cluster has {measured.engine} {there}, and {measured.version} is where the "
            "command runs: install the same version everywhere"
        )
    device = device_here()
    weights, built = kept(model, measured.engine, cache)
    if weights != measured.weights:
        raise TrainingError(
            f"a machine of the cluster has other weights in {model} than the one where the command runs: "
            "give --out a folder that all of them see"
        )
    if not measured.is_reference and device != measured.device:
        raise TrainingError(
            f"{measured.engine} was measured on a {measured.device}, and an actor runs on a {device}: set "
            "evaluate.ray.gpus_per_actor to what the machine of the command has, or evaluate.engine to "
            "transformers"
        )
    if refusal := engine.refusal(live, measured.compute_type, device):
        raise TrainingError(f"on a machine of the cluster, {refusal}")
    # Engines convert the student on the device that they write on.
    live.model.to(device)
    return engine.build(live, measured.compute_type, device, built / "model")
