"""Lines of text logs as the store returns them to those who count, filter and search: columns, texts and templates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

UNKNOWN_TEMPLATE = 0  # of lines from before version 7 of the schema, until the writer has grouped them


class LineColumns(NamedTuple):
    """Some lines of one run, by arrival. All columns have one entry per line."""

    run: str
    files: list[str]  # names, to which `file` is an index
    number: NDArray[np.int64]
    time_s: NDArray[np.float64]
    level: NDArray[np.int64]
    file: NDArray[np.int64]
    rank: NDArray[np.int64]  # -1 where it is not known
    template: NDArray[np.int64]  # an id, or UNKNOWN_TEMPLATE

    def where(self, kept: NDArray[np.bool_]) -> LineColumns:
        columns: list[NDArray[Any]] = [column[kept] for column in self[2:]]
        return LineColumns(self.run, self.files, *columns)


class LineTexts(NamedTuple):
    """The texts of some lines of one run, by arrival, joined by line ends: UTF-8 that may contain surrogates."""

    number: NDArray[np.int64]
    texts: bytes

    def text(self, at: int) -> str:
        return self.texts.split(b"\n")[at].decode("utf-8", "surrogatepass")


class LineExtent(NamedTuple):
    """How many lines a run has, and the numbers of the first and the last one; how many have no template yet."""

    lines: int
    first: int
    last: int
    ungrouped: int


class LineTemplate(NamedTuple):
    """Lines of a run that differ in their placeholders only; see collectors/analysis/logs/templates.py."""

    id: int  # stays as long as the run is stored
    text: str
    example: str  # its first line, at most 1,000 characters
    wide: bool  # whether its lines share their first words and about their length only
    level: int  # the highest
    lines: int
    first_time_s: float
    last_time_s: float
