"""Where losses are told besides the run's own page: trackers, and only those that the recipe names.

They are the Trainer's own. A tracker's key is read by the tracker itself, from where it looks for it; it is
in no recipe, ledger or log of ours. After a kill, the steps since the last checkpoint are told twice.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import TrainingError

FOLDER = "trackers"
"""In the folder of a run: what trackers write that keep files."""
PROJECT = {"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME", "trackio": "TRACKIO_PROJECT"}
"""The variables in which trackers look for what the runs belong to."""


def check_trackers(names: Sequence[str]) -> None:
    """Raises TrainingError for one that is not installed: before anything is asked for, paid or trained."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise TrainingError(
                f"train.report_to names {name}, which is not installed: pip install {name}, or leave it out"
            )


@contextmanager
def told(names: Sequence[str], name: str, folder: Path | None) -> Iterator[None]:
    """Inside the block those trackers that look into the environment find their place in `folder`, under the
    training's own `name`. What the user has set there stays."""
    wanted = {PROJECT[each]: "understudy" for each in names if each in PROJECT}
    if folder is not None and names:
        place = folder.absolute()
        places = {
            "tensorboard": ("TENSORBOARD_LOGGING_DIR", str(place / "tensorboard" / name)),
            "wandb": ("WANDB_DIR", str(place)),
            "mlflow": ("MLFLOW_TRACKING_URI", (place / "mlflow").as_uri()),
            "trackio": ("TRACKIO_DIR", str(place / "trackio")),
        }
        place.mkdir(parents=True, exist_ok=True)
        wanted |= dict(places[each] for each in names)
    added = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)
