"""A command of `deepseek-jobs`: its name, help, arguments and function."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from ..state_folder import QueueError

IS_JOB = "its number, or the name of its run"


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
    parser.add_argument("job", metavar="JOB", help=IS_JOB)


def count(text: str) -> int:
    """Of slots, or cores."""
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r:.30} is not a whole number above 0, of nine digits at most")
    return int(text)
