"""What the columns of a table with a header are: step, time, series or text; and whether they are metrics at all."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..opening import NotMetrics
from .roles import ISO, STEPS, TIMES, scale_of, unix_s
from .values import MAX_STEP

METRIC = re.compile(
    r"loss|acc(?:uracy)?(?:\b|_)|(?:\b|_)lr(?:\b|_)|learning_rate|error|reward|return|score|perplexity|(?:\b|_)ppl(?:\b|_)"
    r"|(?:\b|_)f1(?:\b|_)|(?:\b|_)auc(?:\b|_)|(?:\b|_)m?iou(?:\b|_)|bleu|rouge|grad_norm|precision|recall|throughput|per_s(?:ec)?\b"
)
METRIC_FILE = re.compile(r"(?:metrics?|progress|history|loss(?:es)?|train(?:ing)?[_-]?log)\b")
MAX_COLUMNS = 1_000
JUDGED_ROWS = 20
BACKWARD_SHARE = 0.25  # of rows whose step is lower than that of the row before; with more it is not a step
DECIMAL_COMMA = re.compile(rb"[-+]?\d+,\d+([eE][-+]?\d+)?")
BOM = "\ufeff"

Cells = Sequence[bytes]


class TableColumns(NamedTuple):
    """Indices into the header; `scale` turns the time column's numbers into Unix seconds."""

    header: tuple[str, ...]
    step: int | None
    time: int | None
    scale: float
    series: tuple[int, ...]
    text: tuple[int, ...]


def has_decimal_commas(rows: Sequence[Cells]) -> bool:
    """Whether numbers stand as `0,25`, as spreadsheets write them in much of Europe, and none as `0.25`."""
    cells = [cell.strip() for row in rows for cell in row]
    return any(map(DECIMAL_COMMA.fullmatch, cells)) and not any(
        b"." in cell and _number(cell) is not None for cell in cells
    )


def header_of(cells: Cells) -> tuple[str, ...]:
    """The names of the columns. Raises NotMetrics where the first line does not name them."""
    names = tuple(cell.decode("utf-8", "replace").removeprefix(BOM).strip() for cell in cells)
    if len(names) > MAX_COLUMNS:
        raise NotMetrics(f"has {len(names):,} columns, and more than {MAX_COLUMNS:,} are not read")
    if any(_number(name) is not None for name in names) or not any(names):
        raise NotMetrics("has no header: its first line does not name the columns")
    return names


def judged(header: tuple[str, ...], rows: Sequence[Cells], file: str) -> TableColumns:
    """What each column is, by the first rows. Raises NotMetrics where they do not look like metrics.

    Metrics have numbers, no more columns of text than of numbers, and a step or a time; else a name that says so.
    """
    kinds = [_kind([row[place].decode("utf-8", "replace").strip() for row in rows]) for place in range(len(header))]
    lower = [name.lower() for name in header]
    step, time, scale = _step(lower, rows, kinds), None, 1.0
    for name in TIMES:
        if time is None and name in lower and (found := _scale(name, rows, lower.index(name))) is not None:
            time, scale = lower.index(name), found
    rest = [
        place for place, name in enumerate(header) if name and header.index(name) == place and place not in (step, time)
    ]
    series = tuple(place for place in rest if kinds[place] != "text")
    text = tuple(place for place in rest if kinds[place] == "text")
    numbers = sum(kinds[place] == "number" for place in rest)
    if not numbers:
        raise NotMetrics("does not look like metrics: it has no column of numbers beside step and time")
    if len(text) > len(series):
        raise NotMetrics(f"does not look like metrics: {len(text)} of its {len(header)} columns are text")
    if step is None and time is None and not METRIC_FILE.match(file.lower()) and not any(map(METRIC.search, lower)):
        raise NotMetrics(
            "does not look like metrics: it has neither a step nor a time, and no column is named like a metric"
        )
    return TableColumns(header, step, time, scale, series, text)


def step_of(cell: bytes) -> int | None:
    """`b"7.0" -> 7`; None for what is not a number that can be a step."""
    number = _number(cell)
    return int(number) if number is not None and abs(number) <= MAX_STEP else None


def time_of(cell: bytes, scale: float) -> float | None:
    """Unix seconds; None for what is not a time."""
    return unix_s(cell.decode("utf-8", "replace") if scale == ISO else _number(cell), scale)


def _kind(cells: Sequence[str]) -> str:
    filled = [cell for cell in cells if cell]
    if not filled:
        return "empty"
    return "text" if sum(_number(cell) is None for cell in filled) * 2 > len(filled) else "number"


def _step(names: Sequence[str], rows: Sequence[Cells], kinds: Sequence[str]) -> int | None:
    for name in STEPS:
        if name in names and kinds[place := names.index(name)] == "number":
            steps = [number for row in rows if (number := _number(row[place])) is not None and math.isfinite(number)]
            back = sum(later < earlier for earlier, later in itertools.pairwise(steps))
            if steps and all(step == int(step) for step in steps) and back <= BACKWARD_SHARE * len(steps):
                return place
    return None


def _scale(name: str, rows: Sequence[Cells], place: int) -> float | None:
    """By the first cell that is filled; None where the column is no time of day."""
    first = next((row[place] for row in rows if row[place].strip()), b"")
    number = _number(first)
    scale = scale_of(first.decode("utf-8", "replace") if number is None else number)
    return 1.0 if scale is None and name == "time_s" and unix_s(number, 1.0) is not None else scale


def _number(cell: bytes | str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
