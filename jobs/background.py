"""Starts a daemon that outlives the shell or the job it is started from."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from collectors.machine.proc import ancestors

from . import state_folder
from .client import QueueClient
from .processes import DAEMON, MARK, environment_words
from .state_folder import LOG, NoDaemon, QueueError, daemon_of, kept_flags

OF_A_JOB = (
    MARK,
    "DEEPSEEK_RUN_FOLDER",
    "DEEPSEEK_JOB",
    "DEEPSEEK_JOB_ATTEMPT",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)


def daemon_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a daemon that this process starts: in a job without what the job was given, and with the sign of a daemon."""
    if not _is_in_job(environment):
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in OF_A_JOB} | {DAEMON: "1"}


def leave_job() -> None:
    """Begin this program anew outside of the job in which it was started, if it was: /proc shows the environment of a program's start."""
    if MARK in os.environ or (DAEMON not in os.environ and _is_in_job(os.environ)):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], daemon_environment(os.environ))
    if DAEMON in os.environ:
        with suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))  # of these the kernel takes those that are allowed


def _is_in_job(environment: Mapping[str, str]) -> bool:
    """`env -i` takes the job's mark from this process, and not from the processes above it: the last of them in the job is its keeper's child."""
    signs = tuple(f"{name}=".encode() for name in (MARK, DAEMON))
    return MARK in environment or any(
        word.startswith(signs) for pid in ancestors(os.getpid()) for word in environment_words(pid)
    )


# Start a daemon in the background, where none runs.

MAIN = Path(__file__).with_name("__main__.py")
START_S = 30.0
SAYS = "deepseek-jobs: "  # before a sentence of the daemon's about itself
MIN_ROOM_BYTES = 1 << 16
MAX_LOG_BYTES = 4 << 20  # then its log begins anew


def start(folder: Path) -> int:
    """With the flags of the last one. The pid of the daemon, once it answers: of several that are started at once, one stays. Raises QueueError with what it said, where none does."""
    state_folder.make(folder)
    flags = kept_flags(folder)
    path = folder / LOG
    _require_room(folder)
    mode = "wb" if path.exists() and path.stat().st_size > MAX_LOG_BYTES else "ab"
    with path.open(mode) as log:
        before = os.fstat(log.fileno()).st_size
        environment = {**daemon_environment(os.environ), state_folder.VARIABLE: str(folder)}
        daemon = subprocess.Popen(
            [sys.executable, str(MAIN), "daemon", *flags], cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    path.chmod(0o600)
    asking, until_s = QueueClient(folder), time.monotonic() + START_S
    while time.monotonic() < until_s:
        with suppress(NoDaemon):
            pid = int(asking.ask("about")["pid"])
            daemon.returncode = 0  # it lives on
            return pid
        if daemon.poll() is not None and daemon_of(folder) is None:
            break
        time.sleep(0.02)
    with path.open("rb") as log:
        log.seek(before)
        lines = log.read().decode(errors="replace").splitlines()
    ours = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
    said = (
        ours[-1]
        if ours
        else f"it ended with code {daemon.poll()}"
        if daemon.poll() is not None
        else "it does not answer"
    )
    last = f" with the flags of the last one ({shlex.join(flags)})" if flags else ""
    raise QueueError(f"the daemon did not start{last}: {said}; see {path}, or start it with: deepseek-jobs daemon")


def _require_room(folder: Path) -> None:
    """Raises QueueError where nothing can be written: the daemon could not even say so in its log."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * MIN_ROOM_BYTES)
    except OSError as error:
        raise QueueError(f"cannot write to {folder} ({error.strerror}): make room on its disk, and try again") from None
