"""`deepseek-jobs hold 7`."""

from __future__ import annotations

import argparse

from .command import JobsCommand, job_argument


def run(parsed: argparse.Namespace) -> int:
    from ..asking import Asking
    from ..state_folder import state_folder

    Asking(state_folder()).hold(parsed.job)
    print(f"job {parsed.job} is held")
    return 0


COMMAND = JobsCommand("hold", "Let a queued job wait until it is released.", job_argument, run)
