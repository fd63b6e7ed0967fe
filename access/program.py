"""A program of several commands, such as `deepseek-jobs queue`: each is a file of its own, loaded when it is called."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

COLUMNS, MARGIN = 80, 2  # of help
MAX_DIGITS = 9  # of a count
MAX_PORT = 65535
OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class UsageError(Exception):
    """A user error; the text is one sentence with the remedy."""


class Parser(argparse.ArgumentParser):
    """Raises UsageError instead of exiting. It finds the width of help itself: argparse would load four compressions for that, 4 ms."""

    def __init__(self, *, formatter: type[argparse.HelpFormatter] = argparse.HelpFormatter, **about: Any) -> None:
        super().__init__(**{"formatter_class": partial(formatter, width=columns() - MARGIN), **about})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help lists the options")


class Command(NamedTuple):
    """Its file imports what takes long only in `run`: `--help` is fast."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]  # the exit code; raises UsageError, or an error that its program names


class Program:
    """Commands by name, each in a module of `package` as its `COMMAND`; `orders:HOLD` is another name in a module.

    `default` is the command of a call that names none; without it, such a call prints `about` and the commands. An error of type
    `mistake` is one sentence for the user, and its `code`, 2 unless it has one, is the exit code.
    """

    def __init__(
        self,
        name: str,
        package: str,
        files: Mapping[str, str],
        *,
        about: str = "",
        default: str = "",
        version: str = "",
        mistake: type[Exception] = UsageError,
        shown: Callable[[str], str] = str,  # the text of a mistake, for the terminal
        interrupted: int = 130,  # the exit code after Ctrl-C
    ) -> None:
        self.name = name
        self.commands = tuple(files)
        self._package, self._files = package, files
        self._about, self._default, self._version = about, default, version
        self._mistake, self._shown, self._interrupted = mistake, shown, interrupted

    def main(self, words: Sequence[str]) -> int:
        """The exit code: 2 for a mistake in the command, 1 for a file that cannot be read or written."""
        named = bool(words) and words[0] in self._files
        try:
            command = self.command(words[0] if named else self._default)
            code = command.run(self.parser(command).parse_args(words[1:] if named else words))
            sys.stdout.flush()  # a full disk is met here, and not at the end of the interpreter
            return code
        except (UsageError, self._mistake) as error:
            self._say(self._shown(str(error)))
            return int(getattr(error, "code", 2))
        except KeyboardInterrupt:
            return self._interrupted
        except BrokenPipeError:  # `| head`
            _drop_output()
            return 0
        except OSError as error:
            if not error.filename and error.errno not in OF_DISKS:
                raise  # of a connection, or of ours
            _drop_output()
            place = f"{error.filename}: " if error.filename else ""
            self._say(f"{place}{error.strerror or error}; look at its rights, and at the room on its disk")
            return 1

    def command(self, name: str) -> Command:
        """`""` is the one that lists the others, where none is the default."""
        if not name:
            return Command("", self._about, self._no_command, self._list)
        module, _, attribute = self._files.get(name, name).partition(":")
        found: Command = getattr(import_module(f".{module}", self._package), attribute or "COMMAND")
        return found

    def parser(self, command: Command) -> Parser:
        prog = f"{self.name} {command.name}".strip()
        if command.name:
            parser = Parser(prog=prog, description=command.help)
        else:
            parser = Parser(
                prog=prog,
                description=command.help,
                epilog=self._epilog(),
                formatter=argparse.RawDescriptionHelpFormatter,
                usage=None if self._default else "%(prog)s COMMAND ...",
            )
            if self._version:
                parser.add_argument("--version", action="version", version=f"{self.name} {self._version}")
        command.arguments(parser)
        return parser

    def _epilog(self) -> str:
        commands = [self.command(name) for name in self.commands]
        width = max(map(len, self.commands))
        rows = [f"  {each.name:<{width}}  {each.help[0].lower()}{each.help[1:].rstrip('.')}" for each in commands]
        return "\n".join([f"{'other ' if self._default else ''}commands (each has its own --help):", *rows])

    def _no_command(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("words", nargs="*", help=argparse.SUPPRESS, type=self._unknown)

    def _unknown(self, word: str) -> str:
        raise UsageError(f"there is no command {word!r}; {self.name} --help lists them")

    def _list(self, parsed: argparse.Namespace) -> int:
        self.parser(self.command("")).print_help()
        return 2

    def _say(self, sentence: str) -> None:
        sys.stderr.write(f"{self.name}: {sentence}\n")


def _drop_output() -> None:
    """What is still buffered would fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def columns() -> int:
    """Of the terminal, or what COLUMNS says."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(1).columns or COLUMNS
    except OSError:  # it is none
        return COLUMNS


# Types of options.


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r:.30} is not a whole number above 0, of nine digits at most")
    return int(text)


def positive(text: str) -> float:
    if not 0 < (value := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def amount(text: str) -> float:
    """A number that may be 0."""
    if not 0 <= (value := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (0-{MAX_PORT}; 0 picks a free port)")
    return int(text)
