"""`deepseek-dashboard doctor`: what of this host, its folders and the running dashboard is well, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from collectors.service.folders import INSIDE
from collectors.service.log_folders import LogFolders, add_place, found_here, place_of

from ...reach.flags import port as port_number
from ..command import Command, typeable

USUAL_PORT = 8080


def arguments(parser: argparse.ArgumentParser) -> None:
    add_place(parser)
    parser.add_argument("--port", type=port_number, metavar="N", help="TCP port to look at (default: that of the running dashboard, else 8080)")  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print all that was found as JSON, for a bug report; without secrets"
    )


def run(options: argparse.Namespace) -> int:
    """Exit code 1 if something is wrong."""
    from ... import address
    from .place import CheckedHost
    from .report import diagnose, json_of, lines_of, verdict_of

    place = usual_place(options)
    data_dir = Path(os.path.abspath(options.data_dir)) if options.data_dir else place.data_dir  # noqa: PTH100  # a link stays as it is written
    number = options.port if options.port is not None else address.port_of(data_dir) or USUAL_PORT
    rows = diagnose(CheckedHost(tuple(place.folders), data_dir, number))
    print(json.dumps(json_of(rows), indent=1) if options.json else typeable("\n".join(lines_of(rows))), flush=True)
    return int(verdict_of(rows) == "wrong")


def usual_place(options: argparse.Namespace) -> LogFolders:
    """That of the dashboard; where that cannot be found out the usual one."""
    try:
        return place_of(options)
    except (OSError, ValueError, RuntimeError):
        folder = Path(os.path.abspath((options.log_dir or found_here())[0]))  # noqa: PTH100  # it may be a link to itself
        return LogFolders(folder, (), folder / INSIDE)


COMMAND = Command("doctor", "Look at this host and say what is wrong, with the remedy.", arguments, run)
