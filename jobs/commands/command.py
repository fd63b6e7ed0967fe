"""A command of `deepseek-jobs`: its name, help, arguments and function."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from ..errors import QueueError


class JobsParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise QueueError(f"{message}; {self.prog} --help lists the options")


class JobsCommand(NamedTuple):
    """Its file imports what takes long only in `run`: `--help` is fast."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]  # the exit code; raises QueueError


def job_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", type=job_number, metavar="N", help="the number of the job")


def job_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a job; deepseek-jobs queue lists them")
    return int(text)
