"""A command: its name, help, arguments and function."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[2]  # of the checkout, or the folder `deepseek` where it is installed


class Mistake(Exception):
    """A user error; the text is one sentence with the remedy."""


class CommandParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message}; {self.prog} --help lists the options")


class Command(NamedTuple):
    """Its file imports neither Dash nor pandas before `run` needs them: `--help` is fast."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]  # the exit code; raises Mistake


def make_folder(folder: Path, flag: str, *, private: bool = False) -> None:
    """`private`: no other user may read it. Raises Mistake where it cannot be made or written to."""
    try:
        if private:
            from collectors.service import folders

            folders.make_private(folder)
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Mistake(f"cannot write to {folder} ({error.strerror}); choose another folder with {flag}") from None
