"""Lines by their constant words, for as many as are read at once: each number becomes `#`, and is kept as a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from collectors.analysis.logs.columns import LineFloats, LogColumns, Masked
from collectors.analysis.logs.words import PLACE
from collectors.records import LogLine

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
NUMBER = re.compile(
    r"0x[0-9a-fA-F]+|(?<![A-Za-z0-9.])(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{6,}(?![A-Za-z0-9.])|[+-]?\d+(?:[,_]\d{3})*(?:\.\d+)?(?:[eE][+-]?\d+)?"
)
IDENTIFIER = re.compile(r"[0-9]+[eE][0-9]+")
SPACES = re.compile(r"\s+")  # numbers of other widths are padded otherwise
MOST_CHARACTERS = 400  # of a line


class MaskedLines:
    """The columns of some lines, and the numbers in them."""

    def __init__(self, lines: Sequence[LogLine], mask_of: Callable[[str], tuple[str, list[str]]] | None = None) -> None:
        """`mask_of` is `mask`, unless the same lines are masked again and again."""
        mask_of = mask_of or mask
        lines = sorted(lines, key=lambda line: line.time_s)
        ids: dict[str, int] = {}
        self.templates: dict[int, Masked] = {}
        self._numbers: list[list[str]] = []
        template = np.zeros(len(lines), np.int64)
        for i, line in enumerate(lines):
            text, numbers = mask_of(line.text)
            template[i] = number = ids.setdefault(text, len(ids))
            if number not in self.templates:
                self.templates[number] = Masked(text, line.text[:MOST_CHARACTERS])
            self._numbers.append(numbers)
        times_s = np.array([line.time_s for line in lines], np.float64)
        self.columns = LogColumns(times_s, template, np.array([line.level for line in lines], np.int64))

    def values(self, template: int, field: int) -> LineFloats:
        """Of the field of all lines of a template, in order of time; NaN where it is not a number."""
        rows = np.flatnonzero(self.columns.template == template).tolist()
        return np.array([_value(self._numbers[row][field]) for row in rows], np.float64)


def mask(text: str) -> tuple[str, list[str]]:
    """`"step 7 | loss 0.5" -> ("step # | loss #", ["7", "0.5"])`"""
    plain = ANSI.sub("", text)[:MOST_CHARACTERS].replace(PLACE, "")
    return SPACES.sub(" ", NUMBER.sub(PLACE, plain)), NUMBER.findall(plain)


def _value(text: str) -> float:
    if IDENTIFIER.fullmatch(text):  # 22660e98 is no number
        return float("nan")
    try:
        return float(text.replace(",", "").replace("_", ""))
    except ValueError:
        return float("nan")
