"""Subcommands of `deepseek-dashboard`: one file per command, and its name here. Only the file of the command at hand is loaded."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from keyword import iskeyword

from access.program import Program
from collectors import VERSION

from .command import PROGRAM, typeable

OTHERS = (
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
)
COMMANDS = Program(
    PROGRAM,
    __name__,
    {name: f"{name}_" if iskeyword(name) else name for name in OTHERS},
    default="serve",
    version=VERSION,
    shown=typeable,
    interrupted=0,  # Ctrl-C is how a dashboard is ended
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for a mistake in the command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends everything in order, like Ctrl-C
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--"]:  # deepseek-dashboard -- python train.py
        words = ["run", *words]
    return COMMANDS.main(words)
