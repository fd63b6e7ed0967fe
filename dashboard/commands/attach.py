"""`deepseek-dashboard attach 4127`: turn a running process into a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from access.program import Command, UsageError
from collectors.keeper.linked_folders import USUAL


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pid", type=int, metavar="PID", help="the process")
    parser.add_argument(
        "--log-dir", type=Path, metavar="DIR", help=f"where the run's folder is made (default: {USUAL[0]})"
    )
    parser.add_argument("--name", default="", metavar="NAME", help="name of the run (default: script name and pid)")


def run(parsed: argparse.Namespace) -> int:
    from collectors import rights
    from collectors.log_folders import last_used

    from .. import address
    from ..attach import AttachRefused, attach

    log_dir: Path = parsed.log_dir or Path(USUAL[0])
    rights.look_at_others()  # root has named the process itself
    try:
        attached = attach(log_dir, parsed.pid, parsed.name)
    except AttachRefused as refused:
        raise UsageError(str(refused)) from None
    place = last_used([log_dir])
    url = address.read_address(place.data_dir)
    run = place.name_of(log_dir.resolve() / attached.run) if url else attached.run
    shows = (
        f"{url} shows {run}"
        if url
        else f"show it with: deepseek-dashboard{f' --log-dir {parsed.log_dir}' if parsed.log_dir else ''}"
    )
    for line in (f"process {parsed.pid} is the run {run}; {shows}", *attached.notes):
        print(line)
    return 0


COMMAND = Command("attach", "Turn a running process into a run.", arguments, run)
