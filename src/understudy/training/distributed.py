"""One training in several processes of this machine, started by torchrun; or in one of them, started by hand.

    torchrun --nproc-per-node 2 -m understudy.training.distributed JOB

The processes end when the one that started them is gone, however it went: a guard stands between it and
torchrun, and each process looks whether torchrun is still there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError
from understudy.teachers import _guard
from understudy.training import jobs

if TYPE_CHECKING:
    from understudy.roles import Lesson, Student
    from understudy.training.encode import Progress

_POLL_S = 0.2
_SHOWN = 400


def fit(student: Student, lesson: Lesson, processes: int) -> tuple[float, int]:
    """As `trainer.fit`, in several processes: the loss, and how many shared the training, which is not
    `processes` for a job that was started by hand. The lesson's student gets the trained weights.

    The job stays in the lesson's folder when it fails. Raises what any of the processes raises, or a
    TrainingError that says which one was lost.
    """
    job = jobs.write(student, lesson, lesson.folder)
    if not jobs.is_finished(job):
        _launch(job, processes, lesson.progress)
    result = jobs.collect(job, lesson)
    shutil.rmtree(job)
    return result


def _launch(job: Path, processes: int, progress: Progress) -> None:
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
        *(f"--log-dir={job / 'logs'}", "--redirects=3", "-m", __name__, str(job)),
    ]
    listener = jobs.Listener(job, progress)
    with (job / "log.txt").open("wb") as log:
        guard = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", _guard.__file__, str(os.getpid()), *torchrun],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(processes),
        )
        try:
            while guard.poll() is None:
                time.sleep(_POLL_S)
                listener.tell()
        finally:
            if guard.poll() is None:
                guard.terminate()
                guard.wait()
    if guard.returncode or not jobs.is_finished(job):
        raise _failed(job, processes)


def _environment(processes: int) -> dict[str, str]:
    """Ours, with our share of the cores for each, and modules found where we find them."""
    import torch

    threads = max(1, torch.get_num_threads() // processes)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}


def _failed(job: Path, processes: int) -> UnderstudyError:
    log = (job / "log.txt").read_text(encoding="utf-8", errors="replace")
    cause = log.rpartition("Root Cause")[2]
    rank, code = (re.search(rf"^\s*{word}\s*: (-?\d+)", cause, re.MULTILINE) for word in ("rank", "exitcode"))
    if rank is None or code is None:
        return jobs.failure(
            job,
            processes,
            f"the {processes} processes that train together ended without a word: read {job / 'log.txt'} and "
            f"run again (its end: {_end(log)})",
        )
    how = f"was killed by signal {-int(code[1])} (out of memory?)"
    if int(code[1]) >= 0:
        how = f"ended with exit code {code[1]}"
    last = [path.read_text(encoding="utf-8", errors="replace") for path in _logs(job, rank[1])]
    return jobs.failure(
        job,
        processes,
        f"process {int(rank[1]) + 1} of the {processes} that train together {how}: run the same command "
        f"again to go on from the last checkpoint (its last line: {_end(''.join(last)) or 'none'})",
    )


def _logs(job: Path, rank: str) -> list[Path]:
    return sorted((job / "logs").glob(f"*/attempt_0/{rank}/std*.log"))


def _end(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:_SHOWN] if lines else ""


# ---------------------------------------------------------------- inside a process


def main(job: Path) -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    jobs.work(job)
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
