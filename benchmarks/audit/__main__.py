"""How often a verdict is right, on programs that whoever writes the rules has not seen.

python -m benchmarks.audit record FOLDER NAME...       run these programs beside a collector, one at a time, and keep what it stored;
        [--again SHARE]                                `all` are those of both halves, `acceptance` and `fresh` are further sets
python -m benchmarks.audit evaluate FOLDER...          ask for six windows of each slow phase, and for healthy ones; rules can change
        [--set fit|held_out|acceptance|fresh] [--only NAME...] [--csv FILE] [--table FILE]    between two evaluations of one recording
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.support import leash

from .catalogue import ACCEPTANCE, FRESH, PROGRAMS, ROWS
from .evaluation import evaluate
from .recording import record_all
from .tables import summary, write_csv

GROUPS = {
    "all": [row.name for row in PROGRAMS],
    "acceptance": [row.name for row in ACCEPTANCE],
    "fresh": [row.name for row in FRESH],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run programs beside a collector and keep its store")
    recording.add_argument("folder", type=Path, help="gets a folder a program; those that are there are kept")
    recording.add_argument(
        "programs", nargs="+", choices=[*GROUPS, *ROWS], metavar="NAME", help=", ".join([*GROUPS, *ROWS])
    )
    recording.add_argument(
        "--again", type=float, metavar="SHARE", help="also those whose loop waited for a core for more of the time"
    )
    evaluating = commands.add_parser("evaluate", help="ask for windows of recordings")
    evaluating.add_argument("folders", type=Path, nargs="+")
    evaluating.add_argument("--set", choices=("fit", "held_out", "acceptance", "fresh"), help="only these programs")
    evaluating.add_argument("--only", nargs="*", metavar="NAME", help="only these programs")
    evaluating.add_argument("--csv", type=Path, metavar="FILE", help="write a row a window")
    evaluating.add_argument("--table", type=Path, metavar="FILE", help="write the summary as Markdown")
    options = parser.parse_args()
    leash.fasten()
    if options.command == "record":
        record_all(
            options.folder.resolve(),
            [name for one in options.programs for name in GROUPS.get(one, [one])],
            options.again,
        )
        return 0
    results = evaluate([folder.resolve() for folder in options.folders], options.set, options.only)
    text = summary(results)
    print(text)
    if options.csv:
        write_csv(options.csv, results)
    if options.table:
        options.table.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
