"""What is printed goes to a terminal, which would obey the control characters that a job's output or a name holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

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
