"""`deepseek-models pick models/student models/student-fp32`: the fastest runtime and precision of this host."""

from __future__ import annotations

import argparse
from pathlib import Path

from access.program import Command, count


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="model folder; further ones must compute the same, such as its int8 version",
    )
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="threads per call (default: 1)")
    parser.add_argument("--again", action="store_true", help="time again even if this host has a result")


def run(parsed: argparse.Namespace) -> int:
    from ..artifact import Artifact
    from ..runtimes.pick import pick

    picked = pick(*(Artifact.open(folder) for folder in parsed.folders), threads=parsed.threads, again=parsed.again)
    print(f"{'':2}{'model':<24} {'runtime':<12} {'precision':<9} {'p50 ms':>9} {'p99 ms':>9} {'CPU ms':>9}")
    for row in picked.rows:
        mark = "*" if row == picked.fastest else " "
        times = f"{row.p50_ms:9.3f} {row.p99_ms:9.3f} {row.cpu_ms:9.3f}" if not row.refused else row.refused
        print(f"{mark} {row.model:<24} {row.runtime:<12} {row.precision:<9} {times}")
    print(f"{'kept from' if picked.kept else 'timed on'} {picked.host}; threads: {picked.threads}")
    return 0


COMMAND = Command(
    "pick", "Time a model in every runtime and precision available here and name the fastest.", arguments, run
)
