"""`deepseek-dashboard doctor`: what of this host, its folders and the running dashboard is well, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from collectors.options import add_flags
from collectors.service.folders import INSIDE, data_dir_of

from ..command import Command
from ..serve import port as port_number

USUAL_PORT = 8080


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ["log_dir", "data_dir"])
    parser.add_argument("--port", type=port_number, metavar="N", help="TCP port to look at (default: that of the running dashboard, else 8080)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON, for a bug report; without secrets")


def run(options: argparse.Namespace) -> int:
    """Exit code 1 if something is wrong."""
    from ... import address
    from .place import CheckedHost
    from .report import diagnose, json_of, lines_of, verdict_of

    log_dir = Path(os.path.abspath(options.log_dir))  # noqa: PTH100  # links stay as they are written
    data_dir = Path(os.path.abspath(options.data_dir)) if options.data_dir else usual_data_dir(log_dir)  # noqa: PTH100
    number = options.port if options.port is not None else address.port_of(data_dir) or USUAL_PORT
    rows = diagnose(CheckedHost(log_dir, data_dir, number))
    print(json.dumps(json_of(rows), indent=1) if options.json else "\n".join(lines_of(rows)), flush=True)
    return int(verdict_of(rows) == "wrong")


def usual_data_dir(log_dir: Path) -> Path:
    """Where the dashboard would put it; the usual place where that cannot be found out."""
    try:
        return data_dir_of(log_dir)
    except (OSError, ValueError):
        return log_dir / INSIDE


COMMAND = Command("doctor", "Look at this host and say what is wrong, with the remedy.", arguments, run)
