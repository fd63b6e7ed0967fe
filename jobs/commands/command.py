"""The argument that names a job."""

from __future__ import annotations

import argparse

IS_JOB = "job number or run name"


def job_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help=IS_JOB)
