"""A command of `deepseek-jobs`: its name, help, arguments and function."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..state_folder import NoDaemon, QueueError

if TYPE_CHECKING:
    from ..client import QueueClient

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


def jobs_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", nargs="+", metavar="JOB", help=f"{IS_JOB}; several may be given")


def count(text: str) -> int:
    """Of slots, or cores."""
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r:.30} is not a whole number above 0, of nine digits at most")
    return int(text)


def for_each(words: Sequence[str], order: Callable[[QueueClient, int], str]) -> int:
    """Give the daemon an order for each of these jobs and print what it did; one that is refused keeps none of the others. The exit code."""
    from ..client import QueueClient
    from ..state_folder import state_folder
    from ..view import QueueView

    folder, code = state_folder(), 0
    for word in dict.fromkeys(words):
        try:
            print(order(QueueClient(folder), QueueView(folder).find(word).id))
        except NoDaemon:
            raise
        except QueueError as error:
            print(f"deepseek-jobs: {error}", file=sys.stderr)
            code = 2
    return code
