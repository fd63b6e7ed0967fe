"""A daemon that is started from inside of a job is not the job's: it has neither the job's variables nor its cores, and does not end with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress

from ..executors.processes import DAEMON, MARK

OF_A_JOB = (MARK, "DEEPSEEK_RUN_FOLDER", "DEEPSEEK_JOB", "DEEPSEEK_JOB_ATTEMPT", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def of_no_job(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a job was given, and with the sign of a daemon where it is one's."""
    if MARK not in environment:
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in OF_A_JOB} | {DAEMON: "1"}


def leave_job() -> None:
    """Begin this program anew outside of the job in which it was started, if it was: /proc shows the environment of a program's start."""
    if MARK in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], of_no_job(os.environ))
    if DAEMON in os.environ:
        with suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))  # of these the kernel takes those that are allowed
