"""What may stand behind `deepseek-dashboard`: one file a command, and its row here."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from collectors import VERSION

from . import profile, run, serve, store
from .command import Command, CommandParser, Mistake

COMMANDS: tuple[Command, ...] = (serve.COMMAND, run.COMMAND, profile.COMMAND, store.COMMAND)  # the first one has no name
PROGRAM = "deepseek-dashboard"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for a mistake in the command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends everything in order, like Ctrl-C
    words = sys.argv[1:] if arguments is None else arguments
    named = {command.name: command for command in COMMANDS}
    command = named.get(words[0]) if words else None
    try:
        parsed = parser_of(command or COMMANDS[0]).parse_args(words[1:] if command else words)
        return (command or COMMANDS[0]).run(parsed)
    except Mistake as mistake:
        print(f"{PROGRAM}: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def parser_of(command: Command) -> CommandParser:
    parser = CommandParser(prog=f"{PROGRAM} {command.name}".strip(), description=command.help)
    if command is COMMANDS[0]:
        others = "; ".join(f"{PROGRAM} {one.name}: {one.help[0].lower()}{one.help[1:].rstrip('.')}" for one in COMMANDS[1:])
        parser.epilog = f"Other commands: {others}."
        parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    command.arguments(parser)
    return parser
