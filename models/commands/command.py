"""A command of `deepseek-models`: its name, help, arguments and function."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

from ..errors import WrongOption

COLUMNS, MARGIN = 80, 2  # of help


class ModelsParser(argparse.ArgumentParser):
    """Each option asks for the width of help, and what finds that by itself loads four compressions for it: 4 ms of `list`."""

    def __init__(self, **about: Any) -> None:
        super().__init__(**{"formatter_class": partial(argparse.HelpFormatter, width=columns() - MARGIN), **about})

    def error(self, message: str) -> NoReturn:
        raise WrongOption(f"{message}; {self.prog} --help lists the options")


class ModelsCommand(NamedTuple):
    """Its file imports what takes long only in `run`: `--help` is fast."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]  # the exit code; raises ModelsError


def columns() -> int:
    """Of the terminal, or what COLUMNS says."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(1).columns or COLUMNS
    except OSError:  # it is none
        return COLUMNS


def count(text: str) -> int:
    """The type of an option that is a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def number(text: str) -> float:
    """The type of an option that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
