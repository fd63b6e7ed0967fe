"""`deepseek-jobs`: the table of its commands; only the file of the command at hand is loaded."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO

from collectors import VERSION

from ..state_folder import QueueError
from .command import JobsCommand, JobsParser

FILES = {  # by command; the command is there by its name in capitals
    "submit": "submit", "queue": "listing", "show": "show", "explain": "explain", "cancel": "orders", "hold": "orders", "release": "orders",
    "logs": "logs", "daemon": "daemon", "stop": "stop",
}  # fmt: skip
NAMES = tuple(FILES)
PROGRAM = "deepseek-jobs"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for a mistake in the command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["logs"]:  # the job's own text, as `cat` would print it
        return _run(words)
    with inert_output():
        return _run(words)


def _run(words: list[str]) -> int:
    try:
        code = _called(words)
        sys.stdout.flush()
        return code
    except QueueError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what Python would write at its end
        where = f": {error.filename}" if error.filename else " (to its output, if no file is named)"
        print(f"{PROGRAM}: {error.strerror or error}{where}", file=sys.stderr)
        return 1


def _called(words: list[str]) -> int:
    if words[:1] and words[0] in NAMES:
        command = command_in(words[0])
        return command.run(parser_of(command).parse_args(words[1:]))
    parser = overview()
    parser.parse_args(words)
    parser.print_help()
    return 2


def command_in(name: str) -> JobsCommand:
    found: JobsCommand = getattr(import_module(f".{FILES[name]}", __name__), name.upper())
    return found


def parser_of(command: JobsCommand) -> JobsParser:
    parser = JobsParser(prog=f"{PROGRAM} {command.name}", description=command.help)
    command.arguments(parser)
    return parser


def overview() -> JobsParser:
    """Of the program without a command."""
    commands = [command_in(name) for name in NAMES]
    width = max(len(command.name) for command in commands)
    rows = [
        f"  {command.name:<{width}}  {command.help[0].lower()}{command.help[1:].rstrip('.')}" for command in commands
    ]
    parser = JobsParser(
        prog=PROGRAM,
        description="A queue of jobs for your GPUs, or cores: it places them by what was measured.",
        formatter_class=RawDescriptionHelpFormatter,
        usage="%(prog)s COMMAND ...",
        epilog="\n".join(["commands, each with a --help of its own:", *rows]),
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    parser.add_argument("words", nargs="*", help=SUPPRESS, type=_unknown)
    return parser


def _unknown(word: str) -> str:
    raise QueueError(f"there is no command {word!r}; {PROGRAM} --help lists them")


# What is printed goes to a terminal, which would obey the control characters that a job's output or a name holds.

CONTROLS = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160)] if chr(code) not in "\n\t"}


def inert(text: str) -> str:
    """`"\\x1b[31mgone"` -> `"\\\\x1b[31mgone"`"""
    return text.translate(CONTROLS)


class InertText:
    """A text file whose control characters are shown."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(inert(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def inert_output() -> Iterator[None]:
    """Of standard output and errors, in whatever encoding: what that lacks is written as an escape."""
    before = sys.stdout, sys.stderr
    for file in before:
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = InertText(before[0]), InertText(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
