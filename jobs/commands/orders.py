"""`deepseek-jobs cancel 7 8`, `hold 7 8`, `release 7 8`: orders to the daemon."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from access.program import Command

from ..state_folder import NoDaemon, QueueError
from .command import IS_JOB

if TYPE_CHECKING:
    from ..client import QueueClient


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", nargs="+", metavar="JOB", help=f"{IS_JOB}; several may be given")


def _for_each(parsed: argparse.Namespace, order: Callable[[QueueClient, int], str]) -> int:
    """Give the daemon an order for each of these jobs and print what it did; one that is refused keeps none of the others. The exit code."""
    from ..client import QueueClient
    from ..state_folder import state_folder
    from ..view import QueueView

    folder, code = state_folder(), 0
    for word in dict.fromkeys(parsed.jobs):
        try:
            print(order(QueueClient(folder), QueueView(folder).find(word).id))
        except NoDaemon:
            raise
        except QueueError as error:
            print(f"deepseek-jobs: {error}", file=sys.stderr)
            code = 2
    return code


def _cancel(asking: QueueClient, job: int) -> str:
    return f"job {job} is asked to end" if asking.cancel(job) else f"job {job} is cancelled"


def _hold(asking: QueueClient, job: int) -> str:
    asking.hold(job)
    return f"job {job} is held"


def _release(asking: QueueClient, job: int) -> str:
    asking.release(job)
    return f"job {job} is released"


def _order(name: str, help: str, order: Callable[[QueueClient, int], str]) -> Command:
    return Command(name, help, arguments, partial(_for_each, order=order))


CANCEL = _order("cancel", "Cancel jobs, queued or running.", _cancel)
HOLD = _order("hold", "Hold queued jobs until they are released.", _hold)
RELEASE = _order("release", "Release held jobs into the queue.", _release)
