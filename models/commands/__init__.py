"""`deepseek-models`: one file per command, and its name here. Only the file of the command at hand is loaded."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from ..errors import ModelsError, WrongOption
from .command import ModelsCommand, ModelsParser

FILES = {
    "compress": "compress",
    "fetch": "fetch",
    "list": "listing",
    "pick": "pick",
    "serve": "serve",
    "show": "show",
    "suggest": "suggest",
    "token": "token",
}
NAMES = tuple(FILES)
PROGRAM = "deepseek-models"
OUT_OF_MEMORY = "allocate memory"  # in PyTorch's RuntimeError


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 for what cannot be done, 2 for a mistake in the command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] and words[0] in NAMES:
            command = command_in(words[0])
            code = command.run(parser_of(command).parse_args(words[1:]))
            sys.stdout.flush()  # a full disk is met here, and not at the end of the interpreter
            return code
        parser = overview()
        parser.parse_args(words)
        parser.print_help()
        return 2
    except ModelsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head`
        _drop_output()
        return 0
    except OSError as error:
        _drop_output()
        place = f"{error.filename}: " if error.filename else ""
        print(
            f"{PROGRAM}: {place}{error.strerror or error}; look at its rights, and at the room on its disk",
            file=sys.stderr,
        )
        return 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and OUT_OF_MEMORY not in str(error):
            raise
        print(
            f"{PROGRAM}: this host has too little memory for it; end other programs, or take a smaller model or images",
            file=sys.stderr,
        )
        return 1


def _drop_output() -> None:
    """What is still buffered would fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def command_in(name: str) -> ModelsCommand:
    found: ModelsCommand = import_module(f".{FILES[name]}", __name__).COMMAND
    return found


def parser_of(command: ModelsCommand) -> ModelsParser:
    parser = ModelsParser(prog=f"{PROGRAM} {command.name}", description=command.help)
    command.arguments(parser)
    return parser


def overview() -> ModelsParser:
    """Of the program without a command."""
    commands = [command_in(name) for name in NAMES]
    width = max(len(command.name) for command in commands)
    rows = [
        f"  {command.name:<{width}}  {command.help[0].lower()}{command.help[1:].rstrip('.')}" for command in commands
    ]
    parser = ModelsParser(
        prog=PROGRAM,
        description="Models as checked folders: a zoo, compression that passes gates, serving.",
        formatter_class=RawDescriptionHelpFormatter,
        usage="%(prog)s COMMAND ...",
        epilog="\n".join(["commands, each with a --help of its own:", *rows]),
    )
    parser.add_argument("words", nargs="*", help=SUPPRESS, type=_unknown)
    return parser


def _unknown(word: str) -> str:
    raise WrongOption(f"there is no command {word!r}; {PROGRAM} --help lists them")
