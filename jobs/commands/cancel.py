"""`deepseek-jobs cancel 7`."""

from __future__ import annotations

import argparse

from .command import JobsCommand, job_argument


def run(parsed: argparse.Namespace) -> int:
    from ..asking import Asking
    from ..state_folder import state_folder

    ran = Asking(state_folder()).cancel(parsed.job)
    print(f"job {parsed.job} is asked to end" if ran else f"job {parsed.job} is cancelled")
    return 0


COMMAND = JobsCommand("cancel", "End a job, or take it out of the queue.", job_argument, run)
