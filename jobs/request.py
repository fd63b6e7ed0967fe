"""What a user asks of the queue: a command and where it may run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .errors import QueueError

LOCAL, SLURM = "local", "slurm"
PLACES = (LOCAL, SLURM)  # the executors that a job can name
NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:/(?!\.)[A-Za-z0-9._-]+)*")  # of a run
NAME_LENGTH = 100
MOST_SLOTS = 1 << 20
MOST_MIB = 2.0**40


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
        wrong = isinstance(value, bool) and bool not in types.get(name, ())
        if (
            name not in types
            or wrong
            or not isinstance(value, types[name])
            or not all(isinstance(text, str) for text in texts)
        ):
            raise QueueError(f"a request for a job has no {name!r:.100} such as {_shown(value)}")
    if missing := {"argv", "cwd", "family"} - fields.keys():
        raise QueueError(f"a request for a job needs {', '.join(sorted(missing))}")
    request = JobRequest(**fields)  # type: ignore[arg-type]
    resume = None if request.resume_argv is None else tuple(request.resume_argv)
    request = request._replace(argv=tuple(request.argv), resume_argv=resume)
    check(request)
    return request


def check(request: JobRequest) -> None:
    """What holds on any host. Raises QueueError."""
    for what, argv, remedy in (
        ("the command", request.argv, "write it behind --, as in: deepseek-jobs submit -- python train.py"),
        (
            "--resume-with",
            request.resume_argv,
            "leave it out, or write how the job goes on, as in: 'python train.py --resume'",
        ),
    ):
        if argv is not None and (not argv or not argv[0]):
            raise QueueError(f"{what} is empty; {remedy}")
        for word in argv or ():
            require_text(what, word)
    for what, text in (
        ("the working folder", request.cwd),
        ("the log folder", request.log_dir),
        ("the family", request.family),
    ):
        require_text(what, text)
    for what, folder in (("the working folder", request.cwd), ("the log folder", request.log_dir or "/")):
        if not folder.startswith("/"):
            raise QueueError(f"{what} is an absolute path, not {folder!r:.200}")
    for name, value in request.environment.items():
        require_text("the environment", f"{name}={value}", any_bytes=True)
        if not name or "=" in name:
            raise QueueError(f"the environment has no variable named {name!r:.100}; a name is not empty and has no =")
    if request.name and (len(request.name) > NAME_LENGTH or not NAME.fullmatch(request.name)):
        raise QueueError(
            f"{request.name!r:.200} is no name of a run; take letters, digits and . _ - /, without a dot or slash at the start of a part"
        )
    if not 1 <= request.slots <= MOST_SLOTS:
        raise QueueError(f"a job needs at least one GPU or core slot, not {shortly(request.slots)}")
    if request.declared_mib is not None and not 0 < request.declared_mib <= MOST_MIB:
        raise QueueError(f"--memory is an amount such as 20GiB, not {shortly(request.declared_mib)}")
    if request.place not in PLACES:
        raise QueueError(f"a job runs at {' or '.join(PLACES)}, not at {request.place!r:.100}")


def require_text(what: str, text: str, *, any_bytes: bool = False) -> None:
    """Raises QueueError where no program can be given this; where it is shown, too, it is UTF-8."""
    if "\0" in text:
        raise QueueError(f"{what} has a NUL byte, which no program can be given")
    try:
        text.encode(errors="surrogateescape" if any_bytes else "strict")
    except UnicodeEncodeError:
        raise QueueError(
            f"{what} has bytes that are no UTF-8: {text!r:.200}; rename the file, or put them into a script"
        ) from None


def shortly(number: float) -> str:
    """A number may have as many digits as a question has room for."""
    return str(number) if -1e15 < number < 1e15 else "such a number"


def _shown(value: object) -> str:
    return shortly(value) if isinstance(value, int | float) else f"{value!r:.200}"
