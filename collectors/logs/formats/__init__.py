"""Formats of the log folder: one file a format, each turns lines into records and remembers what it needs to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from ...records import Record
from .values import inert

MAX_LINE_BYTES = 1 << 20  # a longer line is skipped


class Arrival(NamedTuple):
    """Lines that were written between the last look at their file and this one. Unix seconds."""

    since_s: float
    until_s: float

    def at(self, place: int, count: int) -> float:
        """When line `place` (from 1) of `count` was written, by estimate: they are spread evenly."""
        return round(self.since_s + (self.until_s - self.since_s) * place / count, 6)


@dataclass
class Tally:
    """What became of a file's lines."""

    lines_read: int = 0  # all of them, skipped ones too
    lines_skipped: int = 0
    fields_skipped: int = 0
    first_skip: str = ""  # "line 7: not JSON"

    def skip_line(self, reason: str) -> None:
        self.lines_skipped += 1
        self._note(reason)

    def skip_field(self, name: str, reason: str) -> None:
        self.fields_skipped += 1
        if not self.first_skip:
            self._note(f"{inert(name[:80])} {reason}")

    def _note(self, reason: str) -> None:
        self.first_skip = self.first_skip or f"line {self.lines_read}: {reason}"


class Remembering(Protocol):
    """One file's parser. `state` is JSON: stored with the offset, handed to the constructor when the file is taken up again."""

    tally: Tally

    def state(self) -> dict[str, Any]: ...


class LineFormat(Remembering, Protocol):
    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        """Records of whole lines (without line ends), of as many as `tally.lines_read` grows by: at least one, mostly all.

        `arrival` is None for what was there before it was followed.
        """


class ByteFormat(Remembering, Protocol):
    def parse_bytes(self, data: bytes, arrival: Arrival | None) -> tuple[list[Record], int]:
        """Records of what follows the last offset, and how many of these bytes they took: none where a record is not complete yet."""


class WholeFormat(Remembering, Protocol):
    def parse_whole(self, data: bytes) -> list[Record]:
        """What is new in a file that changed."""


Format: TypeAlias = LineFormat | ByteFormat | WholeFormat
