"""`deepseek-jobs`: the table of its commands; only the file of the command at hand is loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from access.program import Program
from collectors import VERSION

from ..state_folder import QueueError

COMMANDS = Program(
    "deepseek-jobs",
    __name__,
    {
        "submit": "submit",
        "queue": "listing",
        "show": "show",
        "explain": "explain",
        "cancel": "orders:CANCEL",
        "hold": "orders:HOLD",
        "release": "orders:RELEASE",
        "logs": "logs",
        "daemon": "daemon",
        "stop": "stop",
    },
    about="A job queue for your GPUs or cores that places jobs by what they were measured to need.",
    version=VERSION,
    mistake=QueueError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for a mistake in the command."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["logs"]:  # the job's own text, as `cat` would print it
        return COMMANDS.main(words)
    with inert_output():
        return COMMANDS.main(words)


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
