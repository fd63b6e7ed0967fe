"""What is wrong with a board's file, with the line."""

from __future__ import annotations


class BoardError(ValueError):
    """One sentence that begins with the line, counted from 1: `line 7: unknown key colr; is it colour?`"""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line, self.what = line, what
