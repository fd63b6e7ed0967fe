"""`deepseek-models`: one file per command, and its name here. Only the file of the command at hand is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from access.program import Program

from ..errors import ModelsError

COMMANDS = Program(
    "deepseek-models",
    __name__,
    {
        "compress": "compress",
        "fetch": "fetch",
        "list": "listing",
        "pick": "pick",
        "serve": "serve",
        "show": "show",
        "suggest": "suggest",
        "token": "token",
    },
    about="Verified models: a zoo, compression with gates, serving.",
    mistake=ModelsError,
)
OUT_OF_MEMORY = "allocate memory"  # in PyTorch's RuntimeError


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 for what cannot be done, 2 for a mistake in the command."""
    try:
        return COMMANDS.main(sys.argv[1:] if arguments is None else arguments)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and OUT_OF_MEMORY not in str(error):
            raise
        print(
            f"{COMMANDS.name}: this host has too little memory for it; end other programs, or take a smaller model or images",
            file=sys.stderr,
        )
        return 1
