"""`deepseek-jobs hold 7 8`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .command import JobsCommand, for_each, jobs_argument

if TYPE_CHECKING:
    from ..client import QueueClient


def run(parsed: argparse.Namespace) -> int:
    return for_each(parsed.jobs, _hold)


def _hold(asking: QueueClient, job: int) -> str:
    asking.hold(job)
    return f"job {job} is held"


COMMAND = JobsCommand("hold", "Let queued jobs wait until they are released.", jobs_argument, run)
