"""What a person may type behind `deepseek-dashboard`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from collectors import VERSION, amounts


class Mistake(Exception):
    """The person's to mend; the text is one sentence with the remedy."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message}; {self.prog} --help lists the options")


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="deepseek-dashboard",
        description="Live GPU charts, training curves, logs and flame graphs on one clock.",
        epilog="deepseek-dashboard profile --pid N shows in the shell what a process does; "
        "deepseek-dashboard store check|compact looks after the store.",
    )
    parser.add_argument("--version", action="version", version=f"deepseek-dashboard {VERSION}")
    parser.add_argument("--port", type=port, default=8080, metavar="N", help="TCP port to serve on (default: 8080)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="NAME", help="address to listen on; loopback only (default: 127.0.0.1)"
    )
    add_folders(parser)
    parser.add_argument(
        "--retention",
        type=amounts.seconds,
        metavar="TIME",
        help="drop GPU, host and profile samples after so long, e.g. 30d; runs are kept (default: never)",
    )
    parser.add_argument(
        "--max-size",
        type=amounts.size_bytes,
        metavar="SIZE",
        help="of the store, e.g. 20GB: drop the oldest of those samples, then pause (default: no limit)",
    )
    parser.add_argument("--demo", action="store_true", help="start a small real training run and watch it")
    parser.add_argument("--no-profile", dest="profile", action="store_false", help="do not sample the trainers' Python stacks")
    add_sampler(parser)
    parser.add_argument(
        "--profile-budget",
        type=positive,
        metavar="PERCENT",
        help="what sampling may use of one core (default: 2 for one process to 10 for a hundred; with py-spy 5 to 25)",
    )
    return parser.parse_args(words)


def parse_store(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="deepseek-dashboard store", description="Look after the store of a log folder.")
    parser.add_argument(
        "action", choices=["check", "compact"], help="check: name all that is damaged; compact: pack everything as dense as it gets"
    )
    add_folders(parser)
    return parser.parse_args(words)


def parse_profile(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="deepseek-dashboard profile",
        description="Show where a Python process spends its time: its hottest lines and its waits.",
    )
    parser.add_argument("--pid", type=int, required=True, metavar="N", help="the process")
    parser.add_argument("--seconds", type=positive, default=10.0, metavar="N", help="how long to watch (default: 10)")
    add_sampler(parser)
    return parser.parse_args(words)


def add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-dir", type=Path, default=Path("logs"), metavar="FOLDER", help="log folder to follow (default: ./logs)"
    )
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where the store lies (default: <log-dir>/.deepseek)")


def add_sampler(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sampler",
        choices=["native", "py-spy"],
        help="what samples the stacks (default: native, and py-spy where that one cannot)",
    )


def port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port between 0 (any free one) and 65535")
    return int(text)


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number
