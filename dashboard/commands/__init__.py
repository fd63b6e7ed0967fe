"""Subcommands of `deepseek-dashboard`: one file per command, and its name here. Only the file of the command at hand is loaded."""

from __future__ import annotations

import os
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword

from collectors import VERSION

from .command import PROGRAM, Command, CommandParser, UsageError, typeable

MAIN, *OTHERS = FILES = (
    "serve",
    "run",
    "attach",
    "profile",
    "why",
    "try",
    "report",
    "trace",
    "store",
    "doctor",
    "export",
    "open",
    "url",
    "token",
    "mcp",
)  # the first one is a command without a name


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for a mistake in the command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends everything in order, like Ctrl-C
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--"]:  # deepseek-dashboard -- python train.py
        words = ["run", *words]
    named = bool(words) and words[0] in OTHERS
    command = command_in(words[0] if named else MAIN)
    try:
        code = command.run(parser_of(command).parse_args(words[1:] if named else words))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what Python would write at its end
        return 0
    except UsageError as mistake:
        print(f"{PROGRAM}: {typeable(str(mistake))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def command_in(file: str) -> Command:
    found: Command = import_module(f".{file}{'_' if iskeyword(file) else ''}", __name__).COMMAND
    return found


def parser_of(command: Command) -> CommandParser:
    parser = CommandParser(prog=f"{PROGRAM} {command.name}".strip(), description=command.help)
    if not command.name:
        width = max(map(len, OTHERS))
        others = [
            f"  {other.name:<{width}}  {other.help[0].lower()}{other.help[1:].rstrip('.')}"
            for other in map(command_in, OTHERS)
        ]
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "\n".join(["other commands, each with a --help of its own:", *others])
        parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    command.arguments(parser)
    return parser
