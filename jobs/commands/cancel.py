"""`deepseek-jobs cancel 7 8`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .command import JobsCommand, for_each, jobs_argument

if TYPE_CHECKING:
    from ..client import QueueClient


def run(parsed: argparse.Namespace) -> int:
    return for_each(parsed.jobs, _cancel)


def _cancel(asking: QueueClient, job: int) -> str:
    return f"job {job} is asked to end" if asking.cancel(job) else f"job {job} is cancelled"


COMMAND = JobsCommand("cancel", "End jobs, or take them out of the queue.", jobs_argument, run)
