"""The argument that names a job."""

from __future__ import annotations

import argparse

IS_JOB = "its number, or the name of its run"


def job_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help=IS_JOB)
