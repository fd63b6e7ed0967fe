"""What the columns of a table with a header are: step, time, series or text; and whether they are metrics at all."""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..opening import NotMetrics
from .values import MAX_STEP, MAX_TIME_S

STEPS = (
    *("step", "global_step", "_step", "trainer/global_step", "train/global_step", "steps", "iteration", "iterations", "iter"),
    *("update", "num_updates", "total_timesteps", "time/total_timesteps", "timesteps_total", "num_timesteps", "timestep"),
    *("training_iteration", "time/iterations", "batch", "epoch", "epochs", "episode", "round"),
)  # the first of these that a table has is its step
TIMES = ("time_s", "timestamp", "_timestamp", "wall_time", "walltime", "wall time", "datetime", "date", "time")
METRIC = re.compile(
    r"loss|acc(?:uracy)?(?:\b|_)|(?:\b|_)lr(?:\b|_)|learning_rate|error|reward|return|score|perplexity|(?:\b|_)ppl(?:\b|_)"
    r"|(?:\b|_)f1(?:\b|_)|(?:\b|_)auc(?:\b|_)|(?:\b|_)m?iou(?:\b|_)|bleu|rouge|grad_norm|precision|recall|throughput|per_s(?:ec)?\b"
)
METRIC_FILE = re.compile(r"(?:metrics?|progress|history|loss(?:es)?|train(?:ing)?[_-]?log)\b")
MAX_COLUMNS = 1_000
JUDGED_ROWS = 20
BACKWARD_SHARE = 0.25  # of rows whose step is lower than that of the row before; with more it is not a step
FIRST_S = 946_684_800.0  # the year 2000: a smaller number is not a Unix time but seconds since the start
ISO = 0.0  # as a scale: a date and a time, as text
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
    rest = [place for place, name in enumerate(header) if name and header.index(name) == place and place not in (step, time)]
    series = tuple(place for place in rest if kinds[place] != "text")
    text = tuple(place for place in rest if kinds[place] == "text")
    numbers = sum(kinds[place] == "number" for place in rest)
    if not numbers:
        raise NotMetrics("does not look like metrics: it has no column of numbers beside step and time")
    if len(text) > len(series):
        raise NotMetrics(f"does not look like metrics: {len(text)} of its {len(header)} columns are text")
    if step is None and time is None and not METRIC_FILE.match(file.lower()) and not any(map(METRIC.search, lower)):
        raise NotMetrics("does not look like metrics: it has neither a step nor a time, and no column is named like a metric")
    return TableColumns(header, step, time, scale, series, text)


def step_of(cell: bytes) -> int | None:
    """`b"7.0" -> 7`; None for what is not a number that can be a step."""
    number = _number(cell)
    return int(number) if number is not None and abs(number) <= MAX_STEP else None


def time_of(cell: bytes, scale: float) -> float | None:
    """Unix seconds; None for what is not a time."""
    if scale == ISO:
        return _moment(cell.decode("utf-8", "replace").strip())
    number = _number(cell)
    if number is None or not 0.0 <= number * scale < MAX_TIME_S:
        return None
    return number if scale == 1.0 else round(number * scale, 6)


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
    if number is None:
        return ISO if _moment(first.decode("utf-8", "replace").strip()) is not None else None
    for scale in (1.0, 1e-3, 1e-6, 1e-9):
        if FIRST_S <= number * scale < MAX_TIME_S / 10:
            return scale
    return 1.0 if name == "time_s" and 0.0 <= number < MAX_TIME_S else None


def _moment(text: str) -> float | None:
    """ISO 8601, or as nvidia-smi writes it (2026/11/25 19:02:39.123); local unless it names a zone."""
    try:
        time_s = datetime.datetime.fromisoformat(text.replace("/", "-")).timestamp()
    except (ValueError, OverflowError):
        return None
    return time_s if 0.0 <= time_s < MAX_TIME_S else None


def _number(cell: bytes | str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
