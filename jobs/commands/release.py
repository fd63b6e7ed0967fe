"""`deepseek-jobs release 7`."""

from __future__ import annotations

import argparse

from .command import JobsCommand, job_argument


def run(parsed: argparse.Namespace) -> int:
    from ..asking import Asking
    from ..state_folder import state_folder

    Asking(state_folder()).release(parsed.job)
    print(f"job {parsed.job} is released")
    return 0


COMMAND = JobsCommand("release", "Let a held job wait for its turn again.", job_argument, run)
