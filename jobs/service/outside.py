"""A daemon that is started from inside of a job is not the job's: it has neither the job's variables nor its cores, and does not end with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress

from collectors.process.proc import ancestors

from ..executors.processes import DAEMON, MARK, environment_words

OF_A_JOB = (
    MARK,
    "DEEPSEEK_RUN_FOLDER",
    "DEEPSEEK_JOB",
    "DEEPSEEK_JOB_ATTEMPT",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)


def of_no_job(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a daemon that this process starts: in a job without what the job was given, and with the sign of a daemon."""
    if not _is_in_job(environment):
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in OF_A_JOB} | {DAEMON: "1"}


def leave_job() -> None:
    """Begin this program anew outside of the job in which it was started, if it was: /proc shows the environment of a program's start."""
    if MARK in os.environ or (DAEMON not in os.environ and _is_in_job(os.environ)):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], of_no_job(os.environ))
    if DAEMON in os.environ:
        with suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))  # of these the kernel takes those that are allowed


def _is_in_job(environment: Mapping[str, str]) -> bool:
    """`env -i` takes the job's mark from this process, and not from the processes above it: the last of them in the job is its keeper's child."""
    signs = tuple(f"{name}=".encode() for name in (MARK, DAEMON))
    return MARK in environment or any(
        word.startswith(signs) for pid in ancestors(os.getpid()) for word in environment_words(pid)
    )
