"""`deepseek-jobs stop`: stop the daemon; running jobs continue."""

from __future__ import annotations

import argparse
import time

from access.program import Command

END_S = 10.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(parsed: argparse.Namespace) -> int:
    from ..client import QueueClient
    from ..state_folder import daemon_of, state_folder

    folder = state_folder()
    QueueClient(folder).stop()
    until_s = time.monotonic() + END_S
    while daemon_of(folder) is not None and time.monotonic() < until_s:
        time.sleep(0.02)
    print(
        "the daemon has ended; jobs that run go on, and the next daemon takes them over; until then nothing is started, held, released or cancelled"
    )
    return 0


COMMAND = Command("stop", "Stop the daemon; running jobs continue.", arguments, run)
