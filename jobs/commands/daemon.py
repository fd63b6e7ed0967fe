"""`deepseek-jobs daemon`: run the queue's daemon in the foreground."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from access.program import Command, count


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cores-a-slot",
        type=count,
        metavar="N",
        help="cores per slot on a host without GPUs (default: 4, or all if fewer); on a host with GPUs: use its cores",
    )
    parser.add_argument(
        "--idle-limit",
        metavar="SIZE",
        help="ignore other processes that hold at most this much of a GPU that has idled for ten minutes (default: ignore none)",
    )
    parser.add_argument(
        "--rules",
        type=Path,
        metavar="FILE",
        help='JSON file with rules to override, e.g. {"stop_s": 60} (docs/jobs.md)',
    )


def run(parsed: argparse.Namespace) -> int:
    import logging

    from .. import lease
    from ..daemon import JobsDaemon
    from ..request import mib
    from ..settings import rules_from
    from ..state_folder import keep_flags, state_folder

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    daemon = JobsDaemon(
        state_folder(),
        rules_from(parsed.rules),
        cores_a_slot=parsed.cores_a_slot,
        idle_limit_mib=mib(parsed.idle_limit, "--idle-limit") if parsed.idle_limit else 0.0,
        leases=Path(os.environ.get(lease.VARIABLE) or lease.FOLDER),
    )
    try:
        keep_flags(state_folder(), _flags(parsed))
        daemon.run()
    finally:
        daemon.close()
    return 0


def _flags(parsed: argparse.Namespace) -> list[str]:
    """As they are given to a daemon that is started in any folder."""
    rules = parsed.rules and str(parsed.rules.absolute())
    given = {"--cores-a-slot": parsed.cores_a_slot, "--idle-limit": parsed.idle_limit, "--rules": rules}
    return [word for flag, value in given.items() if value is not None for word in (flag, str(value))]


COMMAND = Command("daemon", "Run the queue's daemon in the foreground.", arguments, run)
