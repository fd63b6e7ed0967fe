"""The run of a job: its folder in the log folder that its user named, and what it says while the job is stuck."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from collectors.queue_events import FILE, STUCK, write_queue_event

from .request import JobRequest
from .state_folder import QueueError

SCRIPT = re.compile(r"[^/]*\.(py|sh)$")
MAX_STEM = 60  # characters of the command's name in that of a run, before the job's number
MAX_OF_A_NAME = 1000  # runs: queues of several users may share a log folder, and a new queue counts its jobs from 1


def make_run(request: JobRequest, job: int) -> str:
    """The run's name, whose folder is made: that which was asked for, or `train-7`. Raises QueueError where it cannot be made."""
    if not request.log_dir:
        return ""
    log_dir, name = Path(request.log_dir), request.name or f"{stem_of(request.argv)}-{job}"
    for tried in (name, f"{name}-{job}", *(f"{name}-{job}-{more}" for more in range(2, MAX_OF_A_NAME))):
        try:
            (log_dir / tried).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise QueueError(
                    "the name of the run is too long for a folder; choose a shorter one with --name"
                ) from None
            raise QueueError(
                f"cannot make a run in {log_dir} ({error.strerror}); choose another folder with --log-dir"
            ) from None
        return tried
    raise QueueError(f"there are {MAX_OF_A_NAME} runs {name} in {log_dir}; choose another name with --name")


def remove_if_empty(run: Path) -> None:
    """A run that never was holds only what the queue wrote."""
    with suppress(OSError):
        if {entry.name for entry in os.scandir(run)} <= {FILE}:
            (run / FILE).unlink(missing_ok=True)
            run.rmdir()


def stem_of(argv: tuple[str, ...]) -> str:
    """`("python", "-m", "train.main") -> "main"`, else the script's name, else the program's."""
    module = next((argv[place + 1] for place, word in enumerate(argv[:-1]) if word in ("-m", "--module")), None)
    script = next((Path(word).stem for word in argv if SCRIPT.search(word)), None)
    last = (script or (module.rpartition(".")[2] if module else None)) or Path(argv[0]).name
    return re.sub(r"[^\w.-]+", "-", last).strip(".-")[:MAX_STEM] or "job"


# Jobs that wait for what no end of another job gives: after a while their runs say so, on and on, until they move.

AGAIN_S = 300.0  # the dashboard takes what was said longer ago than twice that for over


class StuckJobs:
    """Keeps in memory since when; the next daemon counts anew."""

    def __init__(self, run_of: Callable[[int], Path | None], stuck_s: float) -> None:
        self._run_of, self._stuck_s = run_of, stuck_s
        self._since_s: dict[int, float] = {}
        self._said_s: dict[int, float] = {}

    def look(self, blocked: Mapping[int, str], now_s: float) -> list[int]:
        """`blocked`: by job, in words, why nothing that the queue does helps it. Returns the jobs that are stuck from now on."""
        self._since_s = {job: self._since_s.get(job, now_s) for job in blocked}
        self._said_s = {job: said_s for job, said_s in self._said_s.items() if job in blocked}
        newly = []
        for job, since_s in self._since_s.items():
            if now_s - since_s < self._stuck_s or now_s - self._said_s.get(job, -AGAIN_S) < AGAIN_S:
                continue
            if job not in self._said_s:
                newly.append(job)
            self._said_s[job] = now_s
            write_queue_event(self._run_of(job), STUCK, now_s, blocked[job], job=job, since_s=round(since_s, 3))
        return newly
