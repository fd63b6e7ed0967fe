"""`deepseek-jobs logs -f 7`: what a job prints."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from access.program import Command

from ..state_folder import QueueError, open_plain
from .command import job_argument

LOOK_S = 0.2
PART_BYTES = 1 << 16


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--follow", action="store_true", help="follow until the job finishes, through all its attempts"
    )
    job_argument(parser)


def run(parsed: argparse.Namespace) -> int:
    from ..queue import OVER
    from ..state_folder import ATTEMPTS, state_folder
    from ..view import QueueView

    view = QueueView(state_folder())
    row = view.find(parsed.job)
    folder = Path(row.log_dir) / row.run if row.run else view.folder / ATTEMPTS / f"{row.id}.1"
    path = folder / "output.log"
    if row.state in OVER and not path.exists():
        raise QueueError(
            f"job {row.id} is {row.state}, and {path} is not there{' any more' if row.attempts else ': it never ran'}"
        )
    if not parsed.follow and not path.exists():
        raise QueueError(
            f"job {row.id} has printed nothing yet ({row.state}); follow it with: deepseek-jobs logs -f {row.id}"
        )
    offset, has_daemon = 0, True
    while True:
        if has_daemon and parsed.follow and row.state not in OVER and not (has_daemon := view.daemon() is not None):
            print(
                "deepseek-jobs: no daemon runs, so that its end is not seen; start one with: deepseek-jobs daemon",
                file=sys.stderr,
            )
        over = not parsed.follow or view.job(row.id).state in OVER  # before the last look at its output
        offset = _shown(path, offset)
        if over:
            return 0
        time.sleep(LOOK_S)


def _shown(path: Path, offset: int) -> int:
    """Print what is new; where it ends."""
    try:
        with open_plain(path) as file:
            if offset > os.fstat(file.fileno()).st_size:  # it was cut, and begins anew
                offset = 0
            file.seek(offset)
            while part := file.read(PART_BYTES):
                _write(part)
                offset += len(part)
    except FileNotFoundError:
        pass
    return offset


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


COMMAND = Command("logs", "Print a job's output.", arguments, run)
