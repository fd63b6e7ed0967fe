"""`deepseek-jobs release 7 8`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .command import JobsCommand, for_each, jobs_argument

if TYPE_CHECKING:
    from ..client import QueueClient


def run(parsed: argparse.Namespace) -> int:
    return for_each(parsed.jobs, _release)


def _release(asking: QueueClient, job: int) -> str:
    asking.release(job)
    return f"job {job} is released"


COMMAND = JobsCommand("release", "Let held jobs wait for their turn again.", jobs_argument, run)
