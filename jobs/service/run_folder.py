"""The folder of a job's run, in the log folder that its user named."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from ..errors import QueueError
from ..request import JobRequest
from ..run_events import FILE as EVENTS

SCRIPT = re.compile(r"[^/]*\.(py|sh)$")
NAME_LENGTH = 60
MOST_OF_A_NAME = 1000  # runs: queues of several users may share a log folder, and a new queue counts its jobs from 1


def make_run(request: JobRequest, job: int) -> str:
    """The run's name, whose folder is made: that which was asked for, or `train-7`. Raises QueueError where it cannot be made."""
    if not request.log_dir:
        return ""
    log_dir, name = Path(request.log_dir), request.name or f"{stem_of(request.argv)}-{job}"
    for tried in (name, f"{name}-{job}", *(f"{name}-{job}-{more}" for more in range(2, MOST_OF_A_NAME))):
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
    raise QueueError(f"there are {MOST_OF_A_NAME} runs {name} in {log_dir}; choose another name with --name")


def remove_if_empty(run: Path) -> None:
    """A run that never was holds only what the queue wrote."""
    with suppress(OSError):
        if {entry.name for entry in os.scandir(run)} <= {EVENTS}:
            (run / EVENTS).unlink(missing_ok=True)
            run.rmdir()


def stem_of(argv: tuple[str, ...]) -> str:
    """`("python", "-m", "train.main") -> "main"`, else the script's name, else the program's."""
    module = next((argv[place + 1] for place, word in enumerate(argv[:-1]) if word in ("-m", "--module")), None)
    script = next((Path(word).stem for word in argv if SCRIPT.search(word)), None)
    last = (script or (module.rpartition(".")[2] if module else None)) or Path(argv[0]).name
    return re.sub(r"[^\w.-]+", "-", last).strip(".-")[:NAME_LENGTH] or "job"
