"""python -m benchmarks.audit record FOLDER NAME...       run these programs beside a collector, one at a time, and keep what it stored
python -m benchmarks.audit evaluate FOLDER...          ask for six windows of each slow phase, and for healthy ones; rules can change
        [--set fit|held_out|acceptance] [--only NAME...] [--csv FILE] [--table FILE]          between two evaluations of one recording
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests import leash

from .catalogue import ROWS
from .recording import record_all


def main() -> int:
    parser = argparse.ArgumentParser(description="How often a verdict is right, on programs that whoever writes the rules has not seen")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run programs beside a collector and keep its store")
    recording.add_argument("folder", type=Path, help="gets a folder a program; those that are there are kept")
    recording.add_argument("programs", nargs="+", choices=[*ROWS], metavar="NAME", help=", ".join(ROWS))
    options = parser.parse_args()
    leash.fasten()
    if options.command == "record":
        record_all(options.folder.resolve(), options.programs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
