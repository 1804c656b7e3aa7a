"""One training on the machines of a Ray cluster: workers share each batch, and all see its checkpoints.

Ray Train starts the workers, connects them, and starts all of them again when one is lost; each then goes on
from the last checkpoint, as after a kill. What they do is what torchrun's processes do on one machine
(`training.jobs`). The catch: the cluster must have room for all workers when the training starts.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.engines.ray import RaySpec, connected
from understudy.errors import TeacherError, TrainingError
from understudy.roles import ClusterSpec, Lesson, Student
from understudy.training import jobs
from understudy.training.devices import check_strategy

__all__ = ["fit"]

_POLL_S = 0.5
_SHOWN = 400


def fit(student: Student, lesson: Lesson, spec: ClusterSpec) -> tuple[float, int]:
    """As `trainer.fit`, on a cluster: the loss, and how many workers shared it. The lesson's student gets the
    trained weights.

    Raises TrainingError when there is no Ray, no cluster, no room in it, or more workers are lost than `spec`
    allows; and what any worker raises. Checkpoints stay then.
    """
    check_strategy(lesson.spec, spec.gpus > 0)
    folder = lesson.folder if spec.storage is None else spec.storage / lesson.folder.name
    job = jobs.write(student, lesson, folder)
    if not jobs.is_finished(job):
        with _cluster(spec):
            _train(job, spec, jobs.Listener(job, lesson.progress))
    result = jobs.collect(job, lesson)
    shutil.rmtree(job)
    if folder != lesson.folder:
        shutil.rmtree(folder)
    return result


@contextmanager
def _cluster(spec: ClusterSpec) -> Iterator[None]:
    """Connected to the cluster, with room for all workers."""
    try:
        ray, ours = connected(RaySpec(address=spec.address, actors=1, cpus_per_actor=0))
    except TeacherError as error:
        raise TrainingError(str(error)) from error
    try:
        has = ray.cluster_resources()
        for unit, each in (("CPU", spec.cpus), ("GPU", spec.gpus)):
            if spec.workers * each > has.get(unit, 0):
                raise TrainingError(
                    f"{spec.workers} workers with {each:g} {unit}s each want more than the "
                    f"{has.get(unit, 0):g} of the cluster: lower train.ray.workers or "
                    f"train.ray.{unit.lower()}s, or add machines"
                )
        yield
    finally:
        if ours:
            ray.shutdown()


def _train(job: Path, spec: ClusterSpec, listener: jobs.Listener) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    kept = job / "ray"
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": str(job.resolve())},
        torch_config=TorchConfig(backend="nccl" if spec.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=spec.workers,
            use_gpu=spec.gpus > 0,
            resources_per_worker={"CPU": spec.cpus, **({"GPU": spec.gpus} if spec.gpus else {})},
        ),
        run_config=RunConfig(
            name="training",
            storage_path=str(kept.resolve()),
            failure_config=FailureConfig(max_failures=spec.failures),
        ),
    )
    why = ""
    with _told(listener):
        try:
            trainer.fit()
        except TrainingFailedError as error:
            why = " ".join(str(error).split())[:_SHOWN]
    if not jobs.is_finished(job):
        raise jobs.failure(
            job,
            spec.workers,
            f"the workers of the training were lost more than {spec.failures} times: look for the reason in "
            "the cluster (too little memory, another version of understudy, a folder that not all machines "
            f"see) and run again to go on from the last checkpoint ({why})",
        )


def _work(config: Mapping[str, Any]) -> None:
    """What each worker does. Ray starts all again whatever went wrong: a bad set-up fails at once then."""
    job = Path(config["job"])
    if jobs.is_refused(job):
        raise TrainingError("another worker has refused this training; its own sentence says why")
    jobs.work(job)


@contextmanager
def _told(listener: jobs.Listener) -> Iterator[None]:
    """Pass on progress beside a call that blocks."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(_POLL_S):
            listener.tell()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
