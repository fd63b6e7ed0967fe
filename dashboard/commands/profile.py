"""`deepseek-dashboard profile --pid 4127 --seconds 10`"""

from __future__ import annotations

import argparse
from linecache import getline

from access.program import Command, UsageError, positive
from collectors.options import add_flags
from collectors.records import Frame


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pid", type=int, required=True, metavar="N", help="the process")
    parser.add_argument("--seconds", type=positive, default=10.0, metavar="N", help="how long to watch (default: 10)")
    add_flags(parser, ["sampler"])


def run(options: argparse.Namespace) -> int:
    from collectors.sampler import report, samplers

    try:
        lines = report.record_profiles(options.pid, options.seconds, samplers.choose(options.sampler), what_waits)
    except report.ReportRefused as refused:
        raise UsageError(str(refused)) from None
    print("\n".join(lines))
    return 0


def what_waits(stack: tuple[Frame, ...]) -> str:
    """By its frames, else by its line of source: `time.sleep` has no frame of its own."""
    from analysis.stacks.waits import wait_at, wait_of, waiting

    if found := waiting([wait_of(frame) for frame in stack]):
        return found.wait.what
    asleep = wait_at(getline(stack[-1].file, stack[-1].line)) if stack else None
    return asleep.joined if asleep else ""


COMMAND = Command(
    "profile", "Show where a Python process spends its time: its hottest lines and its waits.", arguments, run
)
