"""What a user asks of the queue: a command and where it may run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from .errors import QueueError

LOCAL, SLURM = "local", "slurm"
PLACES = (LOCAL, SLURM)  # the executors that a job can name


class JobRequest(NamedTuple):
    """`argv` and `resume_argv` are run without a shell, in `cwd`, with `environment` and nothing else of the submitter's."""

    argv: tuple[str, ...]
    cwd: str
    family: str
    slots: int = 1
    high: bool = False
    shares: bool = False
    resume_argv: tuple[str, ...] | None = None
    declared_mib: float | None = None
    environment: Mapping[str, str] = {}
    name: str = ""  # of its run; "" for the script's with the job's number
    log_dir: str = ""  # absolute; "" where the job is to have no run
    place: str = LOCAL

    def as_json(self) -> dict[str, object]:
        return self._asdict() | {"environment": dict(self.environment)}


def request_from(fields: Mapping[str, object]) -> JobRequest:
    """What `as_json` gave. Raises QueueError for anything else."""
    types: dict[str, tuple[type, ...]] = {
        "argv": (list,), "cwd": (str,), "family": (str,), "slots": (int,), "high": (bool,), "shares": (bool,),
        "resume_argv": (list, type(None)), "declared_mib": (int, float, type(None)), "environment": (dict,), "name": (str,),
        "log_dir": (str,), "place": (str,),
    }  # fmt: skip
    for name, value in fields.items():
        texts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else []
        if name not in types or not isinstance(value, types[name]) or not all(isinstance(text, str) for text in texts):
            raise QueueError(f"a request for a job has no {name} such as {value!r}")
    if missing := {"argv", "cwd", "family"} - fields.keys():
        raise QueueError(f"a request for a job needs {', '.join(sorted(missing))}")
    request = JobRequest(**fields)  # type: ignore[arg-type]
    resume = None if request.resume_argv is None else tuple(request.resume_argv)
    return request._replace(argv=tuple(request.argv), resume_argv=resume)


def check(request: JobRequest) -> None:
    """What holds on any host. Raises QueueError."""
    for name, argv in (("the command", request.argv), ("--resume-with", request.resume_argv)):
        if argv is not None and (not argv or not argv[0]):
            raise QueueError(f"{name} is empty; write it behind --, as in: deepseek-jobs submit -- python train.py")
        if argv is not None and any("\0" in part for part in argv):
            raise QueueError(f"{name} has a NUL byte, which no program can be given")
    if request.slots < 1:
        raise QueueError(f"a job needs at least one GPU or core slot, not {request.slots}")
    if request.declared_mib is not None and not (math.isfinite(request.declared_mib) and request.declared_mib > 0):
        raise QueueError(f"--memory is an amount such as 20GiB, not {request.declared_mib}")
    if request.place not in PLACES:
        raise QueueError(f"a job runs at {' or '.join(PLACES)}, not at {request.place!r}")
