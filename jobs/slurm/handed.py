"""What lies in the run's folder for the node: the commands, their folder and environment, in a file of the user's alone.

    .job.json          {"token": ..., "argv": [...], "resume_argv": null or [...], "cwd": ..., "environment": {...}, "log_dir": ...}
    .job-<token>       the number of the job of Slurm that runs it: no second one does

JSON keeps every argument as it is: quotes, newlines, and bytes that are not UTF-8, as surrogates.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..measuring.plain_file import bytes_of, open_plain

FILE = ".job.json"
CLAIM = ".job-{token}"
TEXT = "slurm.log"  # what Slurm itself says of the job, and the node's part of us
ENDED = "exit.json"  # of the keeper
STARTED = "started.json"  # of the keeper
MOST_BYTES = 16 << 20  # a command line and an environment have 2 MB at most


class HandedError(Exception):
    """A sentence for the log of the job."""


class Handed(NamedTuple):
    """What a job runs."""

    token: str  # of the submission: one that was repeated has another one
    argv: tuple[str, ...]
    resume_argv: tuple[str, ...] | None
    cwd: str
    environment: Mapping[str, str]
    log_dir: str


def new_token() -> str:
    return secrets.token_hex(8)


def hand_over(folder: Path, handed: Handed) -> None:
    """Written whole, readable for its user alone. What an earlier submission has left is void then. Raises OSError."""
    path = folder / FILE
    part = path.with_name(f"{FILE}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(handed._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    for claim in folder.glob(CLAIM.format(token="*")):
        if claim.name != CLAIM.format(token=handed.token):
            claim.unlink(missing_ok=True)


def take(folder: Path, token: str) -> Handed:
    """Raises HandedError, also where the job was submitted anew meanwhile."""
    try:
        with open_plain(folder / FILE) as file:
            fields: Any = json.loads(file.read(MOST_BYTES))
        handed = Handed(**{name: fields[name] for name in Handed._fields})
    except FileNotFoundError:
        raise HandedError(
            f"{folder / FILE} is not there: the log folder must be on a file system that the nodes share"
        ) from None
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise HandedError(f"{folder / FILE} cannot be read ({type(error).__name__})") from None
    if handed.token != token:
        raise HandedError("this job was submitted again; the newer one runs")
    return handed


def claim(folder: Path, token: str, job: str) -> None:
    """For this job of Slurm, also when it is started again. Raises HandedError where another one has it."""
    path = folder / CLAIM.format(token=token)
    part = path.with_name(f"{path.name}.{job}")
    try:
        part.write_text(job)
        with suppress(FileExistsError):
            os.link(part, path)  # whole, or not at all, also over NFS
        part.unlink()
        other = path.read_text()
    except OSError as error:
        raise HandedError(f"cannot write to {folder} on this node ({error.strerror})") from None
    if other != job:
        raise HandedError(f"job {other} of Slurm runs this already")


def claimed_by(folder: Path) -> int | None:
    """The number of the job of Slurm that has run, or runs, what was handed over last."""
    try:
        token = json.loads(bytes_of(folder / FILE, MOST_BYTES))["token"]
        return int(bytes_of(folder / CLAIM.format(token=token), MOST_BYTES))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def forget(folder: Path) -> None:
    """A job that is over leaves its run, without the environment that it was given."""
    for name in (FILE, CLAIM.format(token="*")):
        for path in folder.glob(name):
            with suppress(OSError):
                path.unlink()
